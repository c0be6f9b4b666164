"""How named arrays lie in safetensors, and what goes into its string metadata.

The format (8-byte length, JSON header, raw bytes) has neither attributes, nor Fortran order,
nor complex128, nor blocks of global arrays. Each is kept in the header's string metadata:

==========================  =================================================================
key                         meaning
==========================  =================================================================
``dovetail.version``        version token, 32 hexadecimal digits (written by the native core)
``dovetail.attrs``          the attributes, as JSON
``dovetail.order.NAME``     ``F``: Fortran order; the stored shape is the reversed logical one
``dovetail.dtype.NAME``     ``complex128``: stored as F64 with a last axis of 2
``dovetail.shape.NAME``     shape of the global array that NAME is a block of, as JSON
``dovetail.start.NAME``     where in it the block begins (0-based, logical order), as JSON
==========================  =================================================================
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dovetail.data.arrays import host_array
from dovetail.data.dtypes import BFLOAT16, COMPLEX128, PLAIN_CODES, code_of, dtype_of
from dovetail.errors import CorruptDataError, UnsupportedDataError

RESERVED = "dovetail."
PADDING = "dovetail.pad."
"""Arrays of this prefix only align the next one; readers skip them."""


class Piece(NamedTuple):
    """One array, ready to be copied into a value by the native core."""

    name: str
    code: str
    shape: tuple[int, ...]
    """As stored: reversed for Fortran order."""
    buffer: Any
    """A contiguous buffer, or ``None`` where the room is to be filled in place."""


class Entry(NamedTuple):
    """One array of a value's header, as the native core read it."""

    name: str
    code: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class Header(NamedTuple):
    """The header of a value, as the native core read it."""

    number: int
    """The same for equal headers, and no other in this process; 0 if that is not known."""
    entries: Sequence[Entry]
    metadata: Mapping[str, str]


class Variable(NamedTuple):
    """A named array of a stored value, as its header describes it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Logical shape of what is stored here: the whole array, or this block of it."""
    order: Literal["C", "F"]
    offset: int
    """Bytes from the start of the value."""
    nbytes: int
    global_shape: tuple[int, ...] | None = None
    """Shape of the global array, if this is a block of one."""
    start: tuple[int, ...] | None = None
    """Where the block begins in the global array, 0-based, in logical order."""

    def view(self, buffer: Any) -> NDArray[Any]:
        """This array inside a value's bytes, without a copy.

        Raises
        ------
        CorruptDataError
            If NumPy has no array of this shape.
        """
        base: NDArray[Any]
        try:
            if self.nbytes == 0:
                return np.empty(self.shape, self.dtype)
            if self.dtype == BFLOAT16:
                bits = np.frombuffer(buffer, np.uint16, self.nbytes // 2, self.offset)
                base = bits.view(BFLOAT16)
            else:
                count = self.nbytes // self.dtype.itemsize
                base = np.frombuffer(buffer, self.dtype, count, self.offset)
            return base if len(self.shape) == 1 else base.reshape(self.shape, order=self.order)
        except ValueError as error:
            raise CorruptDataError(
                f"{self.name!r} cannot be an array of shape {self.shape}: {error}"
            ) from error


def encode(name: str, value: Any, metadata: dict[str, str]) -> Piece:
    """One array as a Piece; what the format lacks is added to `metadata`.

    Copies only what :func:`~dovetail.data.arrays.host_array` must.
    """
    check_name(name)
    return piece_of(name, value, metadata)


def piece_of(name: str, value: Any, metadata: dict[str, str]) -> Piece:
    """As :func:`encode`, for a name that is known to be fit."""
    if type(value) is np.ndarray and value.flags.c_contiguous:
        plain = PLAIN_CODES.get(value.dtype)
        if plain is not None:
            return Piece(name, plain, value.shape, value)
    array = host_array(value)
    if not array.flags.c_contiguous:
        metadata[f"dovetail.order.{name}"] = "F"
        array = array.T
    shape = array.shape
    if array.dtype == COMPLEX128:
        metadata[f"dovetail.dtype.{name}"] = "complex128"
        return Piece(name, "F64", (*shape, 2), array)
    code = code_of(array.dtype)
    return Piece(name, code, shape, array.view(np.uint16) if code == "BF16" else array)


def make_room(name: str, shape: Sequence[int], dtype: DTypeLike, metadata: dict[str, str]) -> Piece:
    """A Piece without bytes yet, for an array in C order that is filled in place."""
    check_name(name)
    extents = tuple(int(extent) for extent in shape)
    if any(extent < 0 for extent in extents):
        raise UnsupportedDataError(f"{name!r}: the shape {extents} has a negative extent")
    wanted = np.dtype(dtype)
    if wanted == COMPLEX128:
        metadata[f"dovetail.dtype.{name}"] = "complex128"
        return Piece(name, "F64", (*extents, 2), None)
    return Piece(name, code_of(wanted), extents, None)


def check_name(name: Any) -> None:
    """Refuse array names that the format or this library keeps for itself."""
    if not isinstance(name, str):
        raise UnsupportedDataError(f"array names are text; got {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedDataError(
            f"the array name {name!r} cannot be written as UTF-8: {error.reason}"
        ) from None
    if name == "__metadata__" or name.startswith(RESERVED):
        raise UnsupportedDataError(
            f"an array cannot be named {name!r}: __metadata__ and names that begin with "
            f"{RESERVED!r} are reserved"
        )


_decoded: dict[int, dict[str, Variable]] = {}
_MOST_DECODED = 256


def variables_of(header: Header) -> dict[str, Variable]:
    """As :func:`decode`; what was decoded lately is shared: not to be changed."""
    number, entries, metadata = header
    variables = _decoded.get(number)
    if variables is None:
        variables = decode(entries, metadata)
        if number:
            if len(_decoded) >= _MOST_DECODED:
                _decoded.clear()
            _decoded[number] = variables
    return variables


def decode(entries: Sequence[Entry], metadata: Mapping[str, str]) -> dict[str, Variable]:
    """The variables that a header describes.

    Raises
    ------
    CorruptDataError
        If the metadata contradicts the header, or a dtype is not one that NumPy has.
    """
    if not metadata:  # the common case
        return {
            entry[0]: Variable(entry[0], dtype_of(entry[1]), entry[2], "C", entry[3], entry[4])
            for entry in entries
            if not entry[0].startswith(PADDING)
        }
    return {
        entry[0]: _variable(Entry(*entry), metadata)
        for entry in entries
        if not entry[0].startswith(PADDING)
    }


def _variable(entry: Entry, metadata: Mapping[str, str]) -> Variable:
    name, code, shape, offset, nbytes = entry
    dtype = dtype_of(code)
    if _one_of(metadata, "dtype", name, "complex128"):
        if code != "F64" or not shape or shape[-1] != 2:
            raise CorruptDataError(
                f"{name!r} is marked complex128, but is stored as {code} of shape {shape}"
            )
        dtype, shape = COMPLEX128, shape[:-1]
    order: Literal["C", "F"] = "C"
    if _one_of(metadata, "order", name, "F"):
        order, shape = "F", shape[::-1]
    whole = _extents(metadata.get(f"dovetail.shape.{name}"), len(shape), name)
    start = _extents(metadata.get(f"dovetail.start.{name}"), len(shape), name)
    if (whole is None) != (start is None):
        raise CorruptDataError(f"{name!r} has only one of global shape and start")
    if whole is not None and start is not None:
        inside = all(
            begin + count <= extent
            for begin, count, extent in zip(start, shape, whole, strict=True)
        )
        if not inside:
            raise CorruptDataError(
                f"{name!r}: a block of shape {shape} at {start} is not inside {whole}"
            )
    return Variable(name, dtype, shape, order, offset, nbytes, whole, start)


def _one_of(metadata: Mapping[str, str], key: str, name: str, known: str) -> bool:
    """Whether a metadata key has its one known meaning."""
    text = metadata.get(f"dovetail.{key}.{name}")
    if text is not None and text != known:
        raise CorruptDataError(f"the {key} {text[:40]!r} of {name!r} is unknown to this version")
    return text is not None


def _extents(text: str | None, rank: int, name: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    extents = _json(text, name)
    sound = (
        isinstance(extents, list)
        and len(extents) == rank
        and all(type(extent) is int and extent >= 0 for extent in extents)
    )
    if not sound:
        raise CorruptDataError(f"{name!r}: {text[:80]!r} is no list of {rank} extents")
    return tuple(extents)


def attributes_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The attributes kept in a value's metadata.

    Foreign metadata (of files that others wrote) appears as attributes of its own names.
    """
    attrs: dict[str, Any] = {
        key: text for key, text in metadata.items() if not key.startswith(RESERVED)
    }
    ours = metadata.get("dovetail.attrs")
    if ours is not None:
        parsed = _json(ours, "dovetail.attrs")
        if not isinstance(parsed, dict):
            raise CorruptDataError("dovetail.attrs is not a JSON object")
        attrs.update(parsed)
    return attrs


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"the metadata of {name!r} is not JSON: {error}") from error


class Room:
    """Arrays handed out to be filled in place, until what they are part of is published."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def hand_out(self, variable: Variable, memory: Any) -> NDArray[Any]:
        """A writable array of its own over a variable's place in `memory`."""
        array = self._arrays[variable.name] = variable.view(memory).view()
        return array

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def seal(self) -> bool:
        """Make what was handed out read-only; True if others can still write through it.

        Those are views that the caller made of an array, and other references than a variable
        in which the caller keeps it. They show in the reference counts.
        """
        writable = False
        while self._arrays:
            _, array = self._arrays.popitem()
            array.flags.writeable = False
            # The array itself: this name, the caller's, the call. Its base: the array, the call.
            if sys.getrefcount(array) > 3 or sys.getrefcount(array.base) > 2:
                writable = True
        return writable


def size_in_bytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Bytes of an array of `shape` and `dtype`."""
    return math.prod(shape) * dtype.itemsize
