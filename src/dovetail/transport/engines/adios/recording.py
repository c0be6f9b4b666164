"""Recordings: the producing end of ``bp5://…?record=yes``. It waits for no reader."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dovetail import observe
from dovetail.data import Attributes
from dovetail.data.arrays import attributes_to_json
from dovetail.errors import (
    DovetailError,
    StoreFullError,
    StreamBusyError,
    StreamStoppedError,
    TransportClosedError,
    TransportTimeoutError,
)
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, StreamStatistics
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios import files, notes
from dovetail.transport.engines.adios.library import open_engine, reason_of
from dovetail.transport.engines.adios.writing import Copies, GatheredStep, Placed, VariableWriter
from dovetail.transport.policies import LARGEST_WINDOW, Policy

EVERY_STEP = Policy("buffered", LARGEST_WINDOW)
"""What a recording does: every reader sees every step. Its producer never waits."""

SPARE = 1 << 20
"""Bytes that are left free in the file system: for metadata, and for others."""


class RankFile:
    """The BP5 file of one writer rank, and the mark that says how far it is.

    Raises
    ------
    DovetailError
        If it cannot be written there.
    """

    def __init__(self, path: Path, rank: int, size: int, parameters: dict[str, str]) -> None:
        self._path = path
        self._mark = notes.RankMark(path, rank)
        try:
            # "Append", since "Write" would begin by removing the folder and our mark in it.
            stream = files.stream_of(path, size, rank)
            self._file = VariableWriter(open_engine("BP5", str(stream), "Append", parameters))
        except BaseException as error:
            self._mark.close(failed=True)
            if isinstance(error, RuntimeError):
                raise DovetailError(f"{path} cannot be written: {reason_of(error)}") from error
            raise

    def write(self, index: int, attributes: str, placed: Sequence[Placed]) -> None:
        """One step: when this returns it can be read.

        Raises
        ------
        StoreFullError
            If it does not fit into the file system; nothing of it is written then.
        """
        nbytes = sum(array.nbytes for _, array in placed)
        free = files.free_bytes(self._path)
        if nbytes + SPARE > free:
            raise StoreFullError(
                f"a step of {nbytes} bytes does not fit beside {self._path}: {free} bytes are "
                f"free. The steps before are kept"
            )
        try:
            self._file.write(index, attributes, placed)
        except RuntimeError as error:
            raise DovetailError(
                f"step {index} could not be written to {self._path}: {reason_of(error)}"
            ) from error
        self._mark.advance()

    def close(self, failed: bool) -> None:
        try:
            self._file.close()
        finally:
            self._mark.close(failed)


class Recorder(Closing):
    """The producing end of a recording: one rank of it."""

    def __init__(
        self,
        url: str,
        path: Path,
        capacity: int | None,
        parameters: dict[str, str],
        participant: Participant,
    ) -> None:
        self._url = url
        self._path = path
        self._capacity = capacity
        self._steps = 0
        self._nbytes = 0
        self._in_calls_ns = 0
        self._began = 0
        self._copies = Copies()
        self._closed = False
        rank, size = participant.rank, participant.size
        if rank == 0:
            _begin(path, size)
        else:
            _join(path, rank, size, Deadline(participant.timeout), url)
        self._file = RankFile(path, rank, size, parameters)
        if rank == 0:
            notes.write_manifest(path, size)

    @property
    def url(self) -> str:
        return self._url

    @property
    def policy(self) -> Policy:
        return EVERY_STEP

    @property
    def stopped(self) -> bool:
        self._check()
        return notes.stopped(self._path)

    def step(self, attrs: Attributes | None = None) -> GatheredStep:
        self._check()
        entered = time.perf_counter_ns()
        self._began = time.time_ns() if observe.recording else 0
        if notes.stopped(self._path):
            raise StreamStoppedError(f"a reader of {self._url} wants no more: end the work")
        attributes = attributes_to_json(attrs) if attrs else "{}"
        step = GatheredStep(
            self._steps,
            self._url,
            self._copies,
            lambda placed: None if placed is None else self._write(attributes, placed),
        )
        self._in_calls_ns += time.perf_counter_ns() - entered
        return step

    def _write(self, attributes: str, placed: list[Placed]) -> None:
        self._check()
        entered = time.perf_counter_ns()
        nbytes = sum(array.nbytes for _, array in placed)
        if self._capacity is not None and self._nbytes + nbytes > self._capacity:
            raise StoreFullError(
                f"a step of {nbytes} bytes does not fit into {self._url}: {self._nbytes} of "
                f"{self._capacity} bytes are taken. The steps before are kept"
            )
        self._file.write(self._steps, attributes, placed)
        self._steps += 1
        self._nbytes += nbytes
        self._in_calls_ns += time.perf_counter_ns() - entered
        if self._began:
            observe.record(observe.WRITE_STEP, self._url, self._began, time.time_ns(), nbytes, 0)

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(self._steps, self._nbytes, 0.0, self._in_calls_ns * 1e-9, 0, 0)

    def close(self) -> None:
        self._leave(failed=False)

    def _leave(self, failed: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._file.close(failed)

    def _check(self) -> None:
        if self._closed:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")

    def __repr__(self) -> str:
        return f"<StreamWriter {self._url}{' (closed)' if self._closed else ''}>"


def _begin(path: Path, size: int) -> None:
    """Make the folder of a recording.

    Raises
    ------
    StreamBusyError
        If there is something in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / notes.FOLDER).mkdir(mode=0o700)
    except FileExistsError:
        raise StreamBusyError(
            f"{path} is a recording, and a recording is never written over: name another, or "
            f"remove it (dv.destroy_stream('bp5://{path}'))"
        ) from None
    others = [entry.name for entry in path.iterdir() if entry.name != notes.FOLDER]
    if others:
        (path / notes.FOLDER).rmdir()
        raise StreamBusyError(
            f"{path} holds {', '.join(sorted(others)[:3])}, and is no recording of Dovetail: name "
            f"a path that is not there yet, or remove it"
        )
    for rank in range(size if size > 1 else 0):
        files.stream_of(path, size, rank).mkdir()


def _join(path: Path, rank: int, size: int, deadline: Deadline, url: str) -> None:
    """Wait for rank 0."""
    while True:
        ranks = notes.read_manifest(path)
        if ranks == size and not (path / notes.FOLDER / f"rank-{rank}").exists():
            return
        if ranks is not None:
            raise StreamBusyError(
                f"{url} is a recording of {ranks} writer ranks already, and rank {rank} of {size} "
                f"has no place in it: remove it, or name another"
            )
        if deadline.passed:
            raise TransportTimeoutError(
                f"rank 0 of {size} did not open {url} within {deadline}: are all ranks running?"
            )
        time.sleep(files.LOOK_AGAIN)
