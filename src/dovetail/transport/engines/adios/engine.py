"""What ``bp5://`` and ``sst://`` stand for."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from dovetail.errors import CapabilityError, KeyNotFoundError
from dovetail.transport import ledger
from dovetail.transport.contract import (
    Capabilities,
    EngineStatus,
    Leftover,
    Participant,
    ReadStep,
    Store,
    StreamDescription,
    StreamReader,
    StreamWriter,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios import files, library, notes
from dovetail.transport.engines.local import ENGINE as LOCAL
from dovetail.transport.ledger.medium import Medium
from dovetail.transport.policies import Policy, PolicyKind
from dovetail.transport.url import URL

_POLICIES: frozenset[PolicyKind] = frozenset({"lockstep", "buffered", "latest", "work_queue"})
_FILES = "ADIOS2 BP5 files"
_MADE_OF = {
    "bp5": f"{_FILES} in a folder",
    "sst": "ADIOS2 SST, with a ledger of our own between ends of ours",
}


class AdiosEngine:
    """Streams in files and across networks, by ADIOS2."""

    schemes: tuple[str, ...] = ("bp5", "sst")

    def status(self, scheme: str) -> EngineStatus:
        version = library.installed()
        detail = f"adios2 {version}" if version else f"needs adios2: {library.INSTALL}"
        return EngineStatus(
            scheme, version is not None, detail, _MADE_OF[scheme], _capabilities(scheme)
        )

    def open_store(self, url: URL, timeout: float | None) -> Store:
        raise CapabilityError(
            f"{url.scheme}:// moves streams of steps and keeps no store: open a store with "
            f"shm://, file:// or another engine that has one"
        )

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> StreamWriter:
        if url.scheme == "sst":
            from dovetail.transport.engines.adios.sst import streams

            return streams.open_writer(url, policy, participant)
        if url.choice_option("record", "no", "yes") == "yes":
            return self.open_recording(url, participant)
        url.only("capacity", "record", "statistics")
        return ledger.open_writer(url, _medium(url, participant.size), policy, participant)

    def open_recording(self, url: URL, participant: Participant) -> StreamWriter:
        """The producing end of a recording, which waits for no reader."""
        from dovetail.transport.engines.adios.recording import Recorder

        url.only("capacity", "record", "statistics")
        capacity = url.bytes_option("capacity")
        return Recorder(
            str(url), files.path_of(url), capacity, files.parameters_of(url), participant
        )

    def open_reader(self, url: URL, participant: Participant) -> StreamReader:
        if url.scheme == "sst":
            from dovetail.transport.engines.adios.sst import streams

            return streams.open_reader(url, participant)
        from dovetail.transport.engines.adios.replay import Replay

        url.only("capacity", "replay")
        path = files.path_of(url)
        if url.choice_option("replay", "no", "yes") == "yes":
            return Replay(str(url), _newest_recording(path), participant)
        if _is_coupling(path, Deadline(participant.timeout)):
            return ledger.open_reader(url, _medium(url), participant)
        return Replay(str(url), path, participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        if url.scheme == "sst":
            from dovetail.transport.engines.adios.sst import streams

            return streams.describe_stream(url)
        from dovetail.transport.engines.adios import replay

        path = files.path_of(url)
        if _is_recording(path):
            return replay.describe(str(url), path)._replace(transport=_FILES)
        if not path.is_dir():
            raise KeyNotFoundError(f"there is no stream {url}")
        return ledger.describe_stream(url, _medium(url))._replace(transport=_FILES)

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        if url.scheme == "sst":
            from dovetail.transport.engines.adios.sst import streams

            return streams.tail_stream(url, timeout)
        from dovetail.transport.engines.adios import replay

        path = files.path_of(url)
        if _is_coupling(path, Deadline(timeout)):
            return ledger.tail_stream(url, _medium(url), timeout)
        return replay.tail(str(url), path, timeout)

    def destroy_stream(self, url: URL) -> None:
        if url.scheme == "sst":
            from dovetail.transport.engines.adios.sst import streams

            streams.destroy_stream(url)
            return
        path = files.path_of(url)
        if not path.is_dir():
            raise KeyNotFoundError(f"there is no stream {url}")
        if not _is_recording(path):
            with contextlib.suppress(KeyNotFoundError):  # it ended, and its recordings are left
                ledger.destroy_stream(url, _medium(url))
        files.remove(path)

    def leftovers(self, remove: bool) -> list[Leftover]:
        from dovetail.transport.engines.adios.sst import stores

        found = []
        for folder in stores.left_behind():
            with contextlib.suppress(FileNotFoundError):
                nbytes = files.bytes_in(folder)
                found.append(
                    Leftover(folder, "blocks", nbytes, "the process that served them died")
                )
                if remove:
                    shutil.rmtree(folder, ignore_errors=True)
        return found


def _is_recording(path: Path) -> bool:
    """Whether a folder is one recording, ours or another program's."""
    return files.is_bp5(path) or notes.read_manifest(path) is not None


def _is_coupling(path: Path, deadline: Deadline) -> bool:
    """Whether a path is a stream with flow control, once that is known.

    Returns
    -------
    bool
        Also true if nothing is there when the deadline has passed.
    """
    while not _is_recording(path):
        if (path / notes.FOLDER / files.STORE).is_dir() or deadline.passed:
            return True
        time.sleep(min(files.LOOK_AGAIN, deadline.left()))
    return False


def _newest_recording(path: Path) -> Path:
    """What is replayed: a recording, or the newest one of a stream with flow control.

    Raises
    ------
    KeyNotFoundError
    """
    if _is_recording(path):
        return path
    numbers = files.numbers_in(path) if path.is_dir() else []
    if not numbers:
        raise KeyNotFoundError(f"there is nothing to replay in {path}")
    return path / str(max(numbers))


def _medium(url: URL, size: int = 1) -> ledger.OpenMedium:
    """What makes the medium of one participant."""

    def open_medium() -> Medium:
        from dovetail.transport.engines.adios.coupling import FileMedium

        path = files.path_of(url)
        store = LOCAL.open_store(URL("file", str(path / notes.FOLDER / files.STORE)))
        return FileMedium(str(url), path, store, size, files.parameters_of(url))

    return open_medium


def _capabilities(scheme: str) -> Capabilities:
    return Capabilities(
        store=False,
        stream=True,
        zero_copy=scheme == "sst",
        woken_waits=scheme == "sst",
        rename=False,
        persistent=scheme == "bp5",
        several_nodes=True,
        policies=_POLICIES,
    )


ENGINE = AdiosEngine()
