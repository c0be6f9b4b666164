"""A crew inside a Dragon runtime of its own, with a dictionary between them.

Run as a program inside a runtime (``dragon -s``), this module makes the dictionary and the
processes.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from dovetail.bench.transports import worker
from dovetail.bench.transports.parts import dragon as part
from dovetail.transport.engines.dragon.server import isolation

MOUNTED = 12 << 30
"""Bytes up to which the /dev/shm of a runtime may grow."""


def command(count: int, address: str) -> list[str]:
    """What starts a runtime, and in it a crew that comes to a socket.

    It has mounts of its own, since its clean-up removes what others have in /dev/shm.
    """
    program = Path(sys.executable).with_name("dragon")
    mount = f"mount -t tmpfs -o mode=1777,size={MOUNTED} tmpfs /dev/shm"
    # Dragon calls its own commands by name.
    setting = f"{mount} && PATH={shlex.quote(str(program.parent))}:$PATH"
    job = [str(program), "-s", sys.executable, "-m", __name__, str(count), address]
    return [*isolation(), "sh", "-c", f'{setting} exec "$@"', "sh", *job]


def work(address: str, rank: int, descriptor: str, queues: dict[str, Any]) -> None:
    """One process of the crew."""
    part.runtime = part.Runtime(descriptor, queues)
    worker.main(address, rank)


def main(count: int, address: str) -> None:
    """Make the dictionary and the processes; stay until they have ended."""
    import dragon.data.ddict.orchestrator as orchestrator_module
    from dragon.data.ddict.ddict import DDict
    from dragon.native.process import Process
    from dragon.native.queue import Queue

    from dovetail.transport.engines.dragon.dictionary import polling_burns, quiet_orchestrator

    if polling_burns():
        orchestrator_module.start = quiet_orchestrator
    values = DDict(1, 1, _memory(), timeout=part.PATIENCE)
    names = ["gathered", *(f"{way}-{rank}" for way in ("there", "back") for rank in range(count))]
    queues = {name: Queue() for name in names}
    descriptor = values.serialize()
    here = str(Path.cwd())
    processes = [
        Process(work, (address, rank, descriptor, queues), cwd=here) for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    values.destroy()


def _memory() -> int:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(256 << 20, min(3 << 30, available // 6))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
