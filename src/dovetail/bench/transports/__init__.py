"""Every transport beside what it is made of: the comparisons that this field publishes.

======================  ========================================================================
module                  holds
======================  ========================================================================
:mod:`.comparisons`     which comparisons there are, and how much of each is run
:mod:`.peers`           who takes part: our engines, and each of them driven by hand
:mod:`.places`          folders and servers, made when they are first needed
:mod:`.hosts`           two hosts on one machine
:mod:`.crew`            the processes of a scene, started and told what to play
:mod:`.worker`          one of these processes
:mod:`.parts`           what it does, one file a way of moving data
:mod:`.dragon_runtime`  processes inside a Dragon runtime
:mod:`.running`         one comparison, run
:mod:`.run`             all of them
:mod:`.verdicts`        the targets, judged
:mod:`.report`          the document and the text
:mod:`.pictures`        the plots
======================  ========================================================================
"""
