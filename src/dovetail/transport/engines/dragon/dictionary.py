"""DragonHPC's distributed dictionary as the keeper drives it: bytes in, memory of Dragon out.

This module is imported inside a Dragon runtime only. Three things in it are not obvious:

- The process that orchestrates a dictionary waits for failures of its managers in a loop whose
  pause Dragon 0.15 does not make: it burns a core, and slows everything else down tenfold.
  :func:`quiet_orchestrator` runs it without that loop; whether the managers live shows when they
  are asked.
- Values go through picklers of our own that hand bytes through as they are, and where Dragon's
  file-like object shows the stream behind it, whole blocks of shared memory without a copy.
- Every operation has a deadline, since a manager without room may also fall silent.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import dragon.data.ddict.ddict as dictionary_module
import dragon.data.ddict.orchestrator as orchestrator_module
import dragon.managed_memory as managed_memory
import numpy as np
import psutil
from dragon.native.queue import Queue

from dovetail.transport.engines.dragon.index import pool_for

SECONDS_TO_CREATE = 300.0
"""Deadline for bringing up a dictionary, on busy nodes too."""
SECONDS_TO_ANSWER = 20.0
"""Deadline of every operation of a dictionary on one node."""
SECONDS_TO_ANSWER_ACROSS = 120.0
"""The same on several nodes."""


class RefusedError(Exception):
    """The dictionary could not take a value: it is full, or fell silent as full ones do."""


class BrokenError(Exception):
    """A part of the dictionary has died, and what it held with it: it is of no use any more."""


class Staging:
    """The shared memory through which large values pass: the runtime's default pool.

    Clients map it. They are told offsets, and touch no lock of Dragon's: whatever kills them,
    the runtime goes on.
    """

    def __init__(self) -> None:
        self._pool: Any = managed_memory.MemoryPool.attach_default()
        probe = self._pool.alloc(64)
        first = _address(probe)
        probe.free()
        start, end, offset, path = _mapping_of(first)
        self._start, self._offset = start, offset
        self.nbytes = offset + end - start
        """Bytes to map from the beginning of the file."""
        self.descriptor = os.open(path, os.O_RDWR)
        """The file of the pool, to be passed to clients."""
        self.room = int(self._pool.free_space) // 2
        """Bytes of blocks that may be under way at once."""

    def allocate(self, nbytes: int) -> Any:
        """Memory for a value. Raises RefusedError if there is none."""
        try:
            return self._pool.alloc(nbytes)
        except Exception as error:
            raise RefusedError(
                f"Dragon gave no memory to pass {nbytes} bytes through: {error}"
            ) from None

    def offset_of(self, memory: Any) -> int:
        """Where in the file a piece of memory lies; -1 if it lies elsewhere."""
        place = _address(memory) - self._start + self._offset
        return place if 0 <= place <= self.nbytes - memory.size else -1


class Dictionary:
    """A dictionary, created with this object and destroyed with :meth:`destroy`."""

    def __init__(self, nodes: int, managers: int, memory: int) -> None:
        _install_adapters()
        before = _processes_of_dragon()
        if polling_burns():
            orchestrator_module.start = quiet_orchestrator
        each = pool_for(memory // (nodes * managers))
        self._whole: Any = dictionary_module.DDict(
            managers, nodes, each * nodes * managers, timeout=SECONDS_TO_CREATE
        )
        patience = SECONDS_TO_ANSWER if nodes == 1 else SECONDS_TO_ANSWER_ACROSS
        self._patient: Any = dictionary_module.DDict.attach(self.descriptor, timeout=patience)
        self._values: Any = self._patient.pickler(_Keys(), _Values())
        self.managers = nodes * managers
        self._processes = [one for one in _processes_of_dragon() if one not in before]
        """Its managers on this node, and the process that orchestrates them."""

    @property
    def descriptor(self) -> str:
        """What a Dragon program attaches to."""
        return str(self._whole.serialize())

    def shard_of(self, key: bytes) -> int:
        """The manager that a key belongs to."""
        return int(self._values.which_manager(key))

    def put(self, key: bytes, value: Any) -> None:
        """Store bytes, or memory of Dragon's, which then belongs to the dictionary.

        Raises
        ------
        RefusedError, BrokenError
        """
        with self._explained():
            self._values[key] = value

    def get(self, key: bytes) -> Value:
        """A value. Raises KeyError, RefusedError if the dictionary fell silent, or BrokenError."""
        with self._explained():
            found: Value = self._values[key]
        return found

    def take(self, key: bytes) -> Value:
        """Remove a value and give it out. Raises as :meth:`get`."""
        with self._explained():
            found: Value = self._values.pop(key)
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Dragon raises into what it means."""
        try:
            yield
        except dictionary_module.DDictKeyError as error:
            raise KeyError(error) from None
        except (dictionary_module.DDictError, RuntimeError, TimeoutError) as error:
            if not all(map(_runs, self._processes)):
                raise BrokenError(_first_line(error)) from None
            raise RefusedError(_first_line(error)) from None
        except Exception as error:  # of a channel that went with the process at its other end
            raise BrokenError(_first_line(error)) from None

    def destroy(self) -> None:
        """End the dictionary and its processes."""
        self._values.detach()
        self._patient.detach()
        self._whole.destroy()


class Value(NamedTuple):
    """What the dictionary gave out: pieces of Dragon's memory, and bytes where it copied."""

    pieces: list[Any]

    @property
    def memory(self) -> Any | None:
        """The one piece of memory that the value lies in, if it does."""
        if len(self.pieces) == 1 and not isinstance(self.pieces[0], bytes):
            return self.pieces[0]
        return None

    def copied(self) -> bytes:
        """The value in memory of this process; the value itself is then gone."""
        try:
            return b"".join(
                piece if isinstance(piece, bytes) else bytes(piece.get_memview())
                for piece in self.pieces
            )
        finally:
            self.free()

    def free(self) -> None:
        """Give the memory back."""
        for piece in self.pieces:
            if not isinstance(piece, bytes):
                piece.free()


def polling_burns() -> bool:
    """Whether this Dragon's ``Queue.poll`` returns at once instead of waiting."""
    queue = Queue()
    started = time.monotonic()
    queue.poll(timeout=0.1)
    waited = time.monotonic() - started
    queue.destroy()
    return waited < 0.05


def quiet_orchestrator(*arguments: Any) -> None:
    """Orchestrate a dictionary without the loop that burns a core."""
    start: Callable[..., None] = _original_start
    orchestrator_module.ProcessGroup = functools.partial(
        orchestrator_module.ProcessGroup, ignore_error_on_exit=True
    )
    start(*arguments)


_original_start = orchestrator_module.start


class _Keys:
    """Keys are bytes already."""

    def dumps(self, key: bytes) -> bytes:
        return key

    def loads(self, key: bytes) -> bytes:
        return bytes(key)


class _Values:
    """Values are bytes, or memory of Dragon's."""

    def dump(self, value: Any, file: Any) -> None:
        if isinstance(value, (bytes, bytearray, memoryview)):
            file.write(value)
        elif isinstance(file, _Writing):
            file.give(value)
        else:
            file.write(value.get_memview())
            value.free()

    def load(self, file: Any) -> Value:
        pieces = []
        try:
            while True:
                pieces.append(file.take() if isinstance(file, _Reading) else file.read())
        except EOFError:
            return Value(pieces)


class _Writing:
    """Stands in for Dragon's write adapter, which hides the stream that it writes to."""

    def __init__(self, sendh: Any, hint: int, timeout: float | None = None, **_: Any) -> None:
        self._stream, self._hint, self._timeout = sendh, hint, timeout

    def write(self, data: Any) -> None:
        self._stream.send_bytes(data, arg=self._hint, timeout=self._timeout)

    def give(self, memory: Any) -> None:
        self._stream.send_mem(
            memory, arg=self._hint, transfer_ownership=True, timeout=self._timeout
        )


class _Reading:
    """Stands in for Dragon's read adapter, which copies all that it reads."""

    def __init__(self, recvh: Any, timeout: float | None = None, **_: Any) -> None:
        self._stream, self._timeout = recvh, timeout

    def take(self) -> Any:
        memory, _ = self._stream.recv_mem(timeout=self._timeout)
        return memory


def _install_adapters() -> None:
    """Put ours in place of Dragon's, where this version has them under the names of 0.15.

    A version that has not goes through its own, with one copy more.
    """
    if hasattr(dictionary_module, "PickleWriteAdapter"):
        dictionary_module.PickleWriteAdapter = _Writing
    if hasattr(dictionary_module, "PickleReadAdapter"):
        dictionary_module.PickleReadAdapter = _Reading


def _address(memory: Any) -> int:
    return int(np.frombuffer(memory.get_memview(), np.uint8).ctypes.data)


def _mapping_of(address: int) -> tuple[int, int, int, str]:
    """Start, end, offset and file of the mapping that holds an address of this process."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, _, offset, _, _, *path = line.split(maxsplit=5)
            start, end = (int(edge, 16) for edge in span.split("-"))
            if start <= address < end:
                return start, end, int(offset, 16), path[0].strip()
    raise LookupError(f"no mapping of this process holds the address {address:#x}")


def _processes_of_dragon() -> list[psutil.Process]:
    """The Python processes of this runtime on this node, beside this one."""
    runtime = psutil.Process().parent()
    found = [] if runtime is None else runtime.children(recursive=True)
    return [one for one in found if one.pid != os.getpid()]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
