"""The DragonHPC engine: stores in the distributed dictionary of a Dragon runtime (``dragon://``).

A server is a Dragon runtime and the keeper of its dictionary; clients are any processes. The
server's side (:mod:`keeper`, :mod:`dictionary`) runs inside the runtime, and is the only part that
imports Dragon.
"""

from dovetail.transport.engines.dragon.engine import ENGINE, stop_server

__all__ = ["ENGINE", "stop_server"]
