"""Placement: which rank sits where, on which machine, and how it is started there.

- :mod:`dovetail.flow.placement.rules`: what is said of components together.
- :mod:`dovetail.flow.placement.counting`: how many ranks on how many nodes.
- :mod:`dovetail.flow.placement.seating`: the cores and GPUs of a node.
- :mod:`dovetail.flow.placement.agreement`: whether the rules agree with one another.
- :mod:`dovetail.flow.placement.parties`: components that have their nodes together.
- :mod:`dovetail.flow.placement.allocation`: the nodes of a machine.
- :mod:`dovetail.flow.placement.planner`: the whole.
- :mod:`dovetail.flow.placement.wires`: which streams and stores reach whom.
- :mod:`dovetail.flow.placement.result`: what comes out.
- :mod:`dovetail.flow.placement.lines`: the launch lines of each launcher.
- :mod:`dovetail.flow.placement.script`: the script for the scheduler.
- :mod:`dovetail.flow.placement.picture`: the drawing.

All of it computes: the same workflow, machine and number of nodes give the same placement.
"""
