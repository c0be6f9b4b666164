"""The local engine: stores and streams in shared memory (``shm://``) and in folders (``file://``).

It needs no server and no lock that outlives a process. A value is a safetensors file, published
by renaming; space is recycled, mapped and filled in place by the native core.
"""

from dovetail.transport.engines.local.engine import ENGINE

__all__ = ["ENGINE"]
