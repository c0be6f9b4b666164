"""Machines: what a node is made of, how processes are started there, and what its scheduler says.

- :mod:`dovetail.flow.machines.profile`: what is said of a machine, in YAML as in Python.
- :mod:`dovetail.flow.machines.catalogue`: where profiles are found.
- :mod:`dovetail.flow.machines.here`: this machine, as the kernel describes it.
- :mod:`dovetail.flow.machines.hwloc`: the same as ``lstopo`` sees it.
- :mod:`dovetail.flow.machines.checking`: whether a profile fits the machine that we are on.
- ``shipped/``: the profiles that come with Dovetail.
"""

from dovetail.flow.machines.catalogue import find_machine, machine_names, read_machine
from dovetail.flow.machines.profile import Machine

__all__ = ["Machine", "find_machine", "machine_names", "read_machine"]
