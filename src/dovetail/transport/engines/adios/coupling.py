"""Flow control over BP5 files: what the participants of a ``bp5://`` stream share.

==================  ============================================================================
in the folder       holds
==================  ============================================================================
``1``, ``2``, …     for each writer that opened the stream, a recording of all that it put
``dovetail/store``  a store of the local engine: the log of the stream, and where each block lies
``dovetail/alive``  signs of life
``dovetail/epoch``  which recording belongs to which writer of the stream as it is now
==================  ============================================================================

What readers have ended is forgotten by the stream, and stays in the recordings.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from dovetail.data.layout import Entry, Header, Piece, decode
from dovetail.errors import CorruptDataError, KeyNotFoundError
from dovetail.transport.contract import Store
from dovetail.transport.engines.adios import files, notes
from dovetail.transport.engines.adios.lifelines import FileLifeline, FileLifelines
from dovetail.transport.engines.adios.reading import VariableReader
from dovetail.transport.engines.adios.recording import RankFile
from dovetail.transport.engines.adios.replay import Cursor
from dovetail.transport.engines.adios.writing import Placed
from dovetail.transport.ledger.medium import Appended, Block, BlockStore, StoreMedium
from dovetail.transport.rooms import Rooms
from dovetail.transport.values import bytes_of

ALIGNMENT = 64
"""Bytes: where each array of a block begins."""


class FileMedium(StoreMedium):
    """A stream in a folder: its blocks are steps of BP5 files.

    Parameters
    ----------
    folder
        The folder of the stream.
    store
        What keeps the log, and says where each block lies.
    size
        How many writer ranks there are, if this is one of them.
    """

    def __init__(
        self, label: str, folder: Path, store: BlockStore, size: int, parameters: dict[str, str]
    ) -> None:
        super().__init__(store, label)
        self._folder = folder
        self._notes: Store = store
        self._size = size
        self._parameters = parameters
        self._signs = FileLifelines(folder / notes.FOLDER / "alive")
        self._files: dict[tuple[int, int], _Written] = {}
        self._cursors: dict[tuple[str, int], Cursor] = {}
        self._rooms = Rooms()
        self._failed = False

    # --- writing ----------------------------------------------------------------------------

    def append(self, log: int, entry: str, start: int) -> Appended:
        if entry.startswith("C.") and entry.endswith(".1"):
            self._failed = True
        return super().append(log, entry, start)

    def publish(
        self,
        name: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        log: int,
        entry: str,
        start: int,
    ) -> Appended:
        self._write(name, pieces, metadata)
        return self.append(log, entry, start)

    def _write(self, name: str, pieces: Sequence[Piece], metadata: dict[str, str]) -> None:
        epoch, rank, _ = map(int, name.split("/"))
        written = self._files.get((epoch, rank))
        if written is None:
            written = self._files[epoch, rank] = self._begin(epoch, rank)
        placed, described = [], []
        for piece in pieces:
            data = bytes_of(piece.buffer)
            entry = Entry(piece.name, piece.code, tuple(piece.shape), 0, data.nbytes)
            described.append([*entry[:3], data.nbytes])
            variable = decode([entry], metadata)[piece.name]
            placed.append(Placed(variable, variable.view(data)))
        attributes = metadata.get("dovetail.attrs", "{}")
        written.file.write(written.steps, attributes, placed)
        where = {
            "recording": written.recording,
            "rank": rank,
            "ranks": self._size,
            "step": written.steps,
            "pieces": described,
            "metadata": metadata,
        }
        written.steps += 1
        self._notes.put(f"b/{name}", {}, where)

    def _begin(self, epoch: int, rank: int) -> _Written:
        recording = self._recording_of(epoch)
        folder = self._folder / recording
        (folder / notes.FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        files.stream_of(folder, self._size, rank).mkdir(exist_ok=True)
        notes.write_manifest(folder, self._size)
        return _Written(recording, RankFile(folder, rank, self._size, self._parameters))

    def _recording_of(self, epoch: int) -> str:
        """The recording of an epoch: whichever rank comes first chooses it."""
        known = self._folder / notes.FOLDER / "epoch" / str(epoch)
        known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not known.exists():
            number = max(files.numbers_in(self._folder), default=0) + 1
            try:
                (self._folder / str(number)).mkdir()
            except FileExistsError:
                continue
            fresh = known.with_name(f".{secrets.token_hex(8)}")
            fresh.write_text(str(number), encoding="utf-8")
            try:
                os.link(fresh, known)
            except FileExistsError:  # another rank was first
                (self._folder / str(number)).rmdir()
            finally:
                fresh.unlink()
        return known.read_text(encoding="utf-8")

    # --- reading ----------------------------------------------------------------------------

    def get_block(self, name: str) -> Block | None:
        try:
            where = self._notes.get(f"b/{name}").attrs
        except KeyNotFoundError:
            return None
        try:
            reader = self._at(where["recording"], where["rank"], where["ranks"], where["step"])
            return self._fetch(reader, where["pieces"], where["metadata"])
        except CorruptDataError:
            if not (self._folder / where["recording"]).exists():
                return None
            raise

    def _fetch(self, reader: VariableReader, pieces: list[Any], metadata: dict[str, str]) -> Block:
        """All arrays of the step at which `reader` stands, in one piece of memory."""
        entries, offset = [], 0
        for name, code, shape, nbytes in pieces:
            entries.append(Entry(name, code, tuple(shape), offset, nbytes))
            offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
        memory = self._rooms.take(offset)
        header = Header(0, entries, metadata)
        reader.fetch_all(decode(entries, metadata), memory)
        memory.flags.writeable = False
        return Block(memory, header)

    def _at(self, recording: str, rank: int, ranks: int, step: int) -> VariableReader:
        cursor = self._cursors.get((recording, rank))
        if cursor is None or cursor.at > step:
            if cursor is not None:
                cursor.close()
            path = files.stream_of(self._folder / recording, ranks, rank)
            cursor = self._cursors[recording, rank] = Cursor([path])
        while not cursor.stands_at(step):
            cursor.leave()
            if cursor.forward() != "ok":
                raise CorruptDataError(
                    f"step {step} of rank {rank} is missing in {self._folder / recording}"
                )
        return cursor.readers[0]

    # --- the rest ---------------------------------------------------------------------------

    def lifeline(self, name: str) -> FileLifeline:
        return self._signs.lifeline(name)

    def alive(self, names: Collection[str]) -> set[str]:
        return self._signs.alive(names)

    def remove(self) -> None:
        shutil.rmtree(self._folder / notes.FOLDER / "epoch", ignore_errors=True)
        super().remove()

    def capacity(self) -> int:
        return files.bytes_in(self._folder) + files.free_bytes(self._folder)

    def close(self) -> None:
        written, self._files = self._files, {}
        for one in written.values():
            one.file.close(self._failed)
        cursors, self._cursors = self._cursors, {}
        for cursor in cursors.values():
            cursor.close()
        super().close()


class _Written:
    """The file that this rank writes in one epoch."""

    def __init__(self, recording: str, file: RankFile) -> None:
        self.recording = recording
        self.file = file
        self.steps = 0
