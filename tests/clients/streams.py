"""Both ends of a stream, by way of a client of another language."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Mapping, Sequence
from ctypes import byref, c_char_p, c_double, c_int, c_int64, c_void_p
from typing import Any, Self

import numpy as np
from clients import abi
from clients.stores import ClientRoom, array_in, json_of
from numpy.typing import NDArray

import dovetail as dv
from dovetail.data import Dataset
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, StreamStatistics
from dovetail.transport.deadlines import seconds
from dovetail.transport.policies import Policy

AS_OPENED = -2.0


def ranks_in(participant: Participant) -> abi.Ranks:
    if participant.comm is None:
        return abi.Ranks(participant.rank, participant.size)
    from mpi4py import MPI

    return abi.Ranks(comm_kind=1, comm=MPI._addressof(participant.comm))


class _Step:
    def __init__(self, writer: ClientWriter, attrs: Any) -> None:
        self._writer, self._client = writer, writer.client
        json_text = json_of(attrs)
        self.index = writer.client.get(c_int64, "writer_begin", writer.handle, json_text)
        self._room: ClientRoom | None = ClientRoom()

    def _open(self) -> ClientRoom:
        if self._room is None:
            raise dv.TransportClosedError(f"step {self.index} has ended")
        return self._room

    def put(self, name: str, array: Any, shape: Any = None, start: Any = None) -> None:
        self._open()
        described = abi.given(*array_in(name, array), shape, start)
        self._client.call("writer_put", self._writer.handle, described)

    def __setitem__(self, name: str, array: Any) -> None:
        self.put(name, array)

    def empty(
        self, name: str, count: Sequence[int], dtype: Any, shape: Any = None, start: Any = None
    ) -> NDArray[Any]:
        room = self._open()
        described = abi.room(name, count, np.dtype(dtype), shape, start)
        lease = c_void_p()
        self._client.call("writer_empty", self._writer.handle, described, byref(lease))
        return room.lend(name, described, abi.Held(self._client, "lease", lease))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        room, self._room = self._room, None
        if room is None:
            return
        writable = room.seal()
        if kind is None:
            self._client.call("writer_end", self._writer.handle, int(writable))
        else:
            self._client.status("writer_abandon", self._writer.handle)


class _End(Closing):
    """What both ends have."""

    kind: str

    def __init__(self, client: abi.Client, url: str, handle: c_void_p) -> None:
        self.client, self.handle, self.url = client, handle, url
        self._last: StreamStatistics | None = None
        info = client.get(abi.StreamInfo, f"{self.kind}_get_info", handle)
        self.policy = Policy(abi.POLICIES[info.policy], info.window)  # type: ignore[arg-type]
        self.epoch = info.epoch

    def statistics(self) -> StreamStatistics:
        if self._last is not None:
            return self._last
        told = self.client.get(abi.StreamNumbers, f"{self.kind}_get_statistics", self.handle)
        return StreamStatistics(
            told.steps, told.bytes, told.seconds_waited, told.seconds_in_calls,
            told.steps_dropped, told.steps_redelivered,
        )  # fmt: skip

    def close(self) -> None:
        self._leave(failed=False)

    def _leave(self, failed: bool) -> None:
        if self._last is None:
            self._last = self.statistics()
            self.client.call(f"{self.kind}_close", self.handle, int(failed))

    def __del__(self) -> None:
        if hasattr(self, "_last") and self._last is None:
            self.client.status(f"{self.kind}_close", self.handle, 0)


class ClientWriter(_End):
    kind = "writer"

    @property
    def stopped(self) -> bool:
        return bool(self.client.get(c_int, "writer_stopped", self.handle))

    def step(self, attrs: Any = None) -> _Step:
        return _Step(self, attrs)


class ClientStep(Mapping[str, NDArray[Any]]):
    def __init__(self, client: abi.Client, handle: c_void_p) -> None:
        self._client = client
        self._held = abi.Held(client, "step", handle)
        self.index = client.get(c_int64, "step_index", handle)
        self.time = client.get(c_double, "step_time", handle)

    @property
    def attrs(self) -> dict[str, Any]:
        return json.loads(self._client.get(c_char_p, "step_attrs", self._held.handle))

    def keys(self) -> list[str]:  # type: ignore[override]
        count = self._client.get(c_int, "step_count", self._held.handle)
        arrays = [
            self._client.get(abi.Array, "step_array", self._held.handle, i) for i in range(count)
        ]
        return [array.name.decode() for array in arrays]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return self._client.get(c_int, "step_count", self._held.handle)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> NDArray[Any]:
        array = self._client.get(
            abi.Array, "step_view", self._held.handle, name.encode(), None, None
        )
        return abi.lent(array, self._held)

    def read(self, name: str, start: Sequence[int], count: Sequence[int]) -> NDArray[Any]:
        if len(start) != len(count):
            raise dv.CoverageError(f"{name!r}: start={start} and count={count} differ in length")
        if len(start) != self._rank_of(name):
            raise dv.CoverageError(f"{name!r} has {self._rank_of(name)} axes")
        handle, first, extent = self._held.handle, abi.extents(start), abi.extents(count)
        array = self._client.get(abi.Array, "step_view", handle, name.encode(), first, extent)
        view = abi.lent(array, self._held)
        copied = np.empty(count, view.dtype, order="F")
        self._client.call("step_read", handle, abi.given(name, copied), first)
        assert copied.tobytes() == view.tobytes()
        return view

    def _rank_of(self, name: str) -> int:
        for i in range(len(self)):
            array = self._client.get(abi.Array, "step_array", self._held.handle, i)
            if array.name.decode() == name:
                return array.rank
        raise dv.KeyNotFoundError(f"no array {name!r}")

    def dataset(self) -> Dataset:
        return Dataset({name: self[name] for name in self}, self.attrs)

    def torch(self, name: str) -> Any:
        return self.dataset().torch(name)

    def end(self) -> None:
        self._client.call("step_end", self._held.handle)


class ClientReader(_End):
    kind = "reader"
    _finished = False
    _current: ClientStep | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ClientStep:
        step = self.next_step()
        if step is None:
            raise StopIteration
        return step

    def next_step(self, timeout: float | None = None) -> ClientStep | None:
        if self._finished:
            return None
        handle = c_void_p()
        deadline = AS_OPENED if timeout is None else seconds(timeout)
        if self.client.call("reader_next", self.handle, deadline, byref(handle)) == abi.END:
            self._finished = True
            return None
        # To close a step is to end it; here that waits until the next one is asked for.
        self._current = ClientStep(self.client, handle)
        return self._current

    def stop(self) -> None:
        if self._last is None:
            self.client.call("reader_stop", self.handle)
            self.close()


def tail(client: abi.Client, url: bytes, timeout: float | None) -> Iterator[ClientStep]:
    held = abi.Held(client, "tail", client.handle("tail_open", url))
    while True:
        step = ctypes.c_void_p()
        if client.call("tail_next", held.handle, seconds(timeout), byref(step)) == abi.END:
            return
        yield ClientStep(client, step)
