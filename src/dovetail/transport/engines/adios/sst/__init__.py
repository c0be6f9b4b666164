"""Streams across a network by ADIOS2's SST.

Between ends of ours a stream keeps every policy: a small process, the *home* of the stream, keeps
its ledger; a *carrier* beside each writer rank serves blocks over SST, also when the producer has
left; a *mirror* beside each reader receives them into shared memory. ADIOS2 lives in such processes
only, and never holds up a simulation or a trainer; but for plain SST that ranks share by MPI.

========================  ======================================================================
module                    holds
========================  ======================================================================
:mod:`.home`              the process that keeps the ledger
:mod:`.contact`           how it is found, and started
:mod:`.line`              talking to it
:mod:`.carrier`           the process that serves the blocks of a writer rank
:mod:`.mirror`            the process that receives the blocks of a reader
:mod:`.processes`         starting such processes
:mod:`.stores`            the shared memory in which they keep blocks, and who removes it
:mod:`.sender`            the process that writes one SST stream
:mod:`.medium`            what the ends of a stream share; :mod:`.outgoing` and :mod:`.incoming`
                          blocks
:mod:`.plain`             plain SST: recipes and foreign programs; :mod:`.plain_writer`,
                          :mod:`.plain_reader`, and the process :mod:`.receiver`
:mod:`.joint_writer`      plain SST that ranks share by MPI; :mod:`.joint_reader`
:mod:`.watched`           waits of SST that end at a deadline, by the process :mod:`.sentry`
:mod:`.network`           what SST needs of the network, and says of it
:mod:`.probe`             the process that finds out whether a data transport is here
========================  ======================================================================
"""
