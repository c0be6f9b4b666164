"""Values and keys as every engine takes them: checked, laid out as safetensors, read back."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dovetail import _native
from dovetail.data import Attributes, Dataset, Value
from dovetail.data.arrays import attributes_to_json
from dovetail.data.dataset import pieces_of
from dovetail.data.layout import Entry, Header, Piece, Room, decode, make_room
from dovetail.errors import (
    CorruptDataError,
    InvalidKeyError,
    TransportClosedError,
    UnsupportedDataError,
)
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Specification

VERSION_AT = 8 + len('{"__metadata__":{"dovetail.version":"')
"""Where the version token begins in a value of ours."""
VERSION_DIGITS = 32
_BLANK = "0" * VERSION_DIGITS


class Encoded(NamedTuple):
    """A value as safetensors, in parts that lie where they lay."""

    version: str
    """The version token in its header."""
    nbytes: int
    """Bytes of all parts."""
    data_nbytes: int
    """Bytes of its arrays."""
    parts: Sequence[Any]
    """Buffers of bytes: one after the other they are the value."""

    def joined(self) -> bytes:
        """The value in one piece: a copy."""
        return b"".join(self.parts)


def encode(value: Value, attrs: Attributes | None) -> Encoded:
    """A value as safetensors with a version token of its own.

    Contiguous arrays, in C or Fortran order, are not copied: the parts show their memory.

    Raises
    ------
    UnsupportedDataError
    """
    pieces, metadata = pieces_of(value, attrs)
    return encode_pieces(pieces, metadata)


def encode_pieces(pieces: Sequence[Piece], metadata: dict[str, str]) -> Encoded:
    """As :func:`encode`, from what the value is made of."""
    version = new_version()
    header, extents, total = _native.lay_out(pieces, metadata, version)
    parts: list[Any] = [header]
    placed = sorted(zip(extents, pieces, strict=True), key=lambda item: item[0][0])
    parts += [bytes_of(piece.buffer) for (_, nbytes), piece in placed if nbytes]
    return Encoded(version, total, sum(nbytes for _, nbytes in extents), parts)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array as they lie."""
    return array.reshape(-1, order="A").view(np.uint8).data


def read_header(prefix: Any, nbytes: int, what: str) -> tuple[Header, str]:
    """The header and the version token of a value of `nbytes`, of which `prefix` is a part.

    Parameters
    ----------
    prefix
        At least the first :func:`bytes_of_header` bytes.
    what
        How an error names the value.

    Raises
    ------
    CorruptDataError
    """
    try:
        header, version = _native.read_header(prefix, nbytes)
    except CorruptDataError as error:
        raise CorruptDataError(f"{what} is not sound safetensors: {error}") from None
    if not version:
        digest = hashlib.blake2b(memoryview(prefix)[: bytes_of_header(prefix, nbytes, what)])
        version = f"foreign-{nbytes}-{digest.hexdigest()[:16]}"
    return header, version


def bytes_of_header(prefix: Any, nbytes: int, what: str) -> int:
    """How many bytes length and header take, from the first 8 bytes of a value of `nbytes`."""
    try:
        return _native.header_end(prefix, nbytes)
    except CorruptDataError as error:
        raise CorruptDataError(f"{what} is not sound safetensors: {error}") from None


def read_value(buffer: Any, what: str) -> Dataset:
    """A value from its bytes: read-only views into `buffer`, which must not change any more.

    Raises
    ------
    CorruptDataError
    """
    block = memoryview(buffer).toreadonly()
    header, version = read_header(block, block.nbytes, what)
    return Dataset.from_block(block, header, version)


# --- versions --------------------------------------------------------------------------------


class _Versions:
    """A hybrid clock, and a number that no other process has."""

    def __init__(self) -> None:
        self._last = 0
        self._process = secrets.token_hex(8)
        self._lock = threading.Lock()

    def next(self) -> str:
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            return f"{self._last:016x}{self._process}"


_versions = _Versions()


def _renew() -> None:
    global _versions
    _versions = _Versions()


os.register_at_fork(after_in_child=_renew)


def new_version() -> str:
    """A version token that no other value has: 32 hexadecimal digits."""
    return _versions.next()


def time_of_version(version: str) -> float:
    """When a value of ours was made, in seconds since the epoch; 0 for foreign ones."""
    if len(version) != VERSION_DIGITS:
        return 0.0
    try:
        return int(version[:16], 16) * 1e-9
    except ValueError:
        return 0.0


# --- keys and arrays -------------------------------------------------------------------------


def check_key(*keys: Any) -> None:
    """Refuse what cannot be a key, or the name of a list.

    Raises
    ------
    InvalidKeyError
    """
    for key in keys:
        if not isinstance(key, str):
            raise InvalidKeyError(f"a key is text, not {key!r}")
        if "\0" in key:
            raise InvalidKeyError(f"the key {key[:80]!r} holds NUL, which no key can")
        if key.isascii():
            continue
        try:
            key.encode()
        except UnicodeEncodeError as reason:
            raise InvalidKeyError(
                f"the key {key!r} cannot be written as UTF-8: {reason.reason}"
            ) from None


def array_of(dataset: Dataset, key: str, out: NDArray[Any] | None) -> NDArray[Any]:
    """The array of a value that holds one, copied into `out` if that is given."""
    array = dataset.array
    if out is None:
        return array
    if out.shape != array.shape:
        raise UnsupportedDataError(
            f"the value of {key!r} has shape {array.shape}; out has {out.shape}"
        )
    np.copyto(out, array, casting="equiv")
    return out


# --- room --------------------------------------------------------------------------------------


class PrivateReservation(Closing):
    """Room for a value in this process's own memory, handed to an engine when it is filled."""

    version: str | None
    """The version token, once published."""

    def __init__(
        self,
        specification: Specification,
        attrs: Attributes | None,
        publish: Callable[[Encoded], None],
    ) -> None:
        metadata: dict[str, str] = {}
        pieces = [
            make_room(name, shape, dtype, metadata)
            for name, (shape, dtype) in specification.items()
        ]
        if attrs:
            metadata["dovetail.attrs"] = attributes_to_json(attrs)
        header, extents, total = _native.lay_out(pieces, metadata, _BLANK)
        self._memory = np.empty(total, np.uint8)
        self._memory[: len(header)] = np.frombuffer(header, np.uint8)
        self._nbytes = sum(nbytes for _, nbytes in extents)
        entries = [
            Entry(piece.name, piece.code, piece.shape, offset, nbytes)
            for piece, (offset, nbytes) in zip(pieces, extents, strict=True)
        ]
        room = Room()
        for variable in decode(entries, metadata).values():
            room.hand_out(variable, self._memory)
        self._room: Room | None = room
        self._publish = publish
        self.version = None

    def __getitem__(self, name: str) -> NDArray[Any]:
        if self._room is None:
            raise TransportClosedError(
                "the reservation is published or given up; read the value with get()"
            )
        return self._room[name]

    def close(self) -> None:
        """Give the room up: nothing is published."""
        self._leave(failed=True)

    def _leave(self, failed: bool) -> None:
        room, self._room = self._room, None
        if room is None:
            return
        room.seal()
        if failed:
            return
        version = new_version()
        stamp = np.frombuffer(version.encode(), np.uint8)
        self._memory[VERSION_AT : VERSION_AT + VERSION_DIGITS] = stamp
        view = self._memory.data.toreadonly()
        self._publish(Encoded(version, view.nbytes, self._nbytes, [view]))
        self.version = version
