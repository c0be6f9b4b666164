"""The functions of a client library, as ctypes sees them.

libdovetail itself has them (``dvt_store_put``), and so has each driver that is written against the
client of another language, under a prefix of its own (``cpp_store_put``).
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Sequence
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_int64,
    c_void_p,
)
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import dovetail as dv

END = 1
VERSION_BYTES = 64
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
POLICIES = ("lockstep", "buffered", "latest", "work_queue")
STATES = ("open", "ended", "failed", "lost")
GROUP_STATES = ("unused", "joining", "live", "left", "failed", "expelled", "lost")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

ERRORS: dict[int, type[Exception]] = {
    -1: ValueError,
    -2: dv.InvalidURLError,
    -3: dv.InvalidKeyError,
    -4: dv.UnsupportedDataError,
    -5: dv.CoverageError,
    -6: dv.CapabilityError,
    -7: dv.EngineUnavailableError,
    -8: dv.AccessDeniedError,
    -9: dv.KeyNotFoundError,
    -11: dv.CorruptDataError,
    -12: dv.FormatVersionError,
    -13: dv.TransportTimeoutError,
    -14: dv.TransportClosedError,
    -15: dv.StreamStoppedError,
    -16: dv.PeerLostError,
    -17: dv.ReaderExpelledError,
    -18: dv.StreamBusyError,
}
FULL, SYSTEM = -10, -19


class Array(Structure):
    _fields_ = (
        ("name", c_char_p),
        ("data", c_void_p),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("order", c_int32),
        ("reserved", c_int32),
        ("global_shape", POINTER(c_int64)),
        ("start", POINTER(c_int64)),
    )


class Ranks(Structure):
    _fields_ = (
        ("rank", c_int32),
        ("size", c_int32),
        ("comm_kind", c_int32),
        ("reserved", c_int32),
        ("comm", c_void_p),
    )


class StoreNumbers(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("puts", "gets", "bytes_put", "bytes_got")),
        *((name, c_double) for name in ("seconds_put", "seconds_got", "seconds_waited")),
        *((name, c_int64) for name in ("blocks_recycled", "bytes_held", "capacity")),
    )


class StreamNumbers(Structure):
    _fields_ = (
        ("steps", c_int64),
        ("bytes", c_int64),
        ("seconds_waited", c_double),
        ("seconds_in_calls", c_double),
        ("steps_dropped", c_int64),
        ("steps_redelivered", c_int64),
    )


class StreamInfo(Structure):
    _fields_ = (("url", c_char_p), ("policy", c_int32), ("window", c_int32), ("epoch", c_int64))


class GroupTold(Structure):
    _fields_ = (
        ("name", c_char * 64),
        ("ranks", c_int64),
        ("steps_ended", c_int64),
        ("state", c_int32),
        ("reserved", c_int32),
    )


class StreamTold(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("policy", "window", "state", "reserved")),
        *(
            (name, c_int64)
            for name in (
                "epoch", "ranks", "steps_complete", "steps_held", "bytes_held", "capacity",
                "groups_found",
            )
        ),
        ("groups", GroupTold * 32),
    )  # fmt: skip


ARRAY, HANDLE, TEXT = POINTER(Array), c_void_p, c_char_p
TO_HANDLE, EXTENTS = POINTER(c_void_p), POINTER(c_int64)
ARGUMENTS: dict[str, list[Any]] = {
    "store_open": [TEXT, TO_HANDLE],
    "store_open_within": [TEXT, c_double, TO_HANDLE],
    "store_scope": [HANDLE, TEXT, TO_HANDLE],
    "store_close": [HANDLE],
    "store_url": [HANDLE, POINTER(TEXT)],
    "store_path": [HANDLE, POINTER(TEXT)],
    "store_put": [HANDLE, TEXT, ARRAY, c_int, TEXT, c_char_p],
    "store_reserve": [HANDLE, TEXT, ARRAY, c_int, TEXT, TO_HANDLE],
    "reservation_array": [HANDLE, TEXT, ARRAY],
    "reservation_commit": [HANDLE, c_int, c_char_p],
    "reservation_close": [HANDLE],
    "store_get": [HANDLE, TEXT, TO_HANDLE],
    "store_wait": [HANDLE, TEXT, c_double, TEXT, TO_HANDLE],
    "store_stat": [HANDLE, TEXT, TO_HANDLE],
    "value_count": [HANDLE, POINTER(c_int)],
    "value_array": [HANDLE, c_int, ARRAY],
    "value_find": [HANDLE, TEXT, ARRAY],
    "value_read": [HANDLE, ARRAY],
    "value_attrs": [HANDLE, POINTER(TEXT)],
    "value_version": [HANDLE, POINTER(TEXT)],
    "value_nbytes": [HANDLE, POINTER(c_int64)],
    "value_time": [HANDLE, POINTER(c_double)],
    "value_close": [HANDLE],
    "store_exists": [HANDLE, TEXT, POINTER(c_int)],
    "store_delete": [HANDLE, TEXT],
    "store_rename": [HANDLE, TEXT, TEXT],
    "store_keys": [HANDLE, TEXT, TO_HANDLE],
    "store_append": [HANDLE, TEXT, TEXT, POINTER(c_int64)],
    "store_items": [HANDLE, TEXT, c_int64, TO_HANDLE],
    "store_wait_items": [HANDLE, TEXT, c_int64, c_int64, c_double, TO_HANDLE],
    "store_remove_list": [HANDLE, TEXT],
    "texts_close": [HANDLE],
    "store_get_statistics": [HANDLE, POINTER(StoreNumbers)],
    "store_flush": [HANDLE],
    "store_destroy": [HANDLE],
    "writer_open": [TEXT, c_int, c_int, POINTER(Ranks), c_double, c_int, TO_HANDLE],
    "writer_begin": [HANDLE, TEXT, POINTER(c_int64)],
    "writer_put": [HANDLE, ARRAY],
    "writer_empty": [HANDLE, ARRAY, TO_HANDLE],
    "writer_end": [HANDLE, c_int],
    "writer_abandon": [HANDLE],
    "writer_stopped": [HANDLE, POINTER(c_int)],
    "writer_close": [HANDLE, c_int],
    "lease_close": [HANDLE],
    "reader_open": [TEXT, POINTER(Ranks), TEXT, c_double, TO_HANDLE],
    "reader_next": [HANDLE, c_double, TO_HANDLE],
    "reader_stop": [HANDLE],
    "reader_close": [HANDLE, c_int],
    "step_index": [HANDLE, POINTER(c_int64)],
    "step_time": [HANDLE, POINTER(c_double)],
    "step_attrs": [HANDLE, POINTER(TEXT)],
    "step_count": [HANDLE, POINTER(c_int)],
    "step_array": [HANDLE, c_int, ARRAY],
    "step_view": [HANDLE, TEXT, EXTENTS, EXTENTS, ARRAY],
    "step_read": [HANDLE, ARRAY, EXTENTS],
    "step_end": [HANDLE],
    "step_close": [HANDLE],
    "tail_open": [TEXT, TO_HANDLE],
    "tail_next": [HANDLE, c_double, TO_HANDLE],
    "tail_close": [HANDLE],
    "writer_get_statistics": [HANDLE, POINTER(StreamNumbers)],
    "reader_get_statistics": [HANDLE, POINTER(StreamNumbers)],
    "writer_get_info": [HANDLE, POINTER(StreamInfo)],
    "reader_get_info": [HANDLE, POINTER(StreamInfo)],
    "stream_describe": [TEXT, POINTER(StreamTold)],
    "stream_destroy": [TEXT],
}
"""What each function takes; each returns a status."""


class Client:
    """The functions of one library, which raise what their status says."""

    def __init__(self, path: str, prefix: str) -> None:
        library = ctypes.CDLL(path)
        self._functions: dict[str, Callable[..., int]] = {}
        for name, arguments in ARGUMENTS.items():
            function = getattr(library, f"{prefix}_{name}")
            function.argtypes = arguments
            self._functions[name] = function
        self._last_error = getattr(library, f"{prefix}_last_error")
        self._last_error.restype = c_char_p
        self._last_errno = getattr(library, f"{prefix}_last_errno")
        self.texts_count = getattr(library, f"{prefix}_texts_count")
        self.texts_count.argtypes, self.texts_count.restype = [c_void_p], c_int64
        self.texts_at = getattr(library, f"{prefix}_texts_at")
        self.texts_at.argtypes, self.texts_at.restype = [c_void_p, c_int64], c_char_p

    def status(self, name: str, *arguments: Any) -> int:
        """The status that a function returns."""
        return self._functions[name](*arguments)

    def last_error(self) -> str:
        return self._last_error().decode()

    def call(self, name: str, *arguments: Any) -> int:
        """0 or END; anything else is raised."""
        status = self.status(name, *arguments)
        if status >= 0:
            return status
        text = self.last_error()
        if status == FULL:
            raise dv.StoreFullError(errno.ENOSPC, text)
        if status == SYSTEM:
            raise OSError(self._last_errno(), text)
        raise ERRORS.get(status, AssertionError)(text)

    def handle(self, name: str, *arguments: Any) -> c_void_p:
        """What a function that opens something gives."""
        handle = c_void_p()
        self.call(name, *arguments, byref(handle))
        return handle

    def get(self, kind: Any, name: str, *arguments: Any) -> Any:
        """What a function tells."""
        place = kind()
        self.call(name, *arguments, byref(place))
        return place if isinstance(place, Structure) else place.value

    def texts(self, name: str, *arguments: Any) -> list[str]:
        handle = self.handle(name, *arguments)
        found = [self.texts_at(handle, i).decode() for i in range(self.texts_count(handle))]
        self.call("texts_close", handle)
        return found


class Held:
    """A handle that is closed when nobody has it any more."""

    def __init__(self, client: Client, kind: str, handle: c_void_p) -> None:
        self.handle = handle
        self._close = (client, f"{kind}_close")

    def __del__(self) -> None:
        client, close = self._close
        client.status(close, self.handle)


class _Lent:
    def __init__(self, owner: Any, interface: dict[str, Any]) -> None:
        self.owner = owner
        self.__array_interface__ = interface


@cache
def dtype_of(number: int) -> np.dtype[Any]:
    name = DTYPES[number - 1]
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def number_of(dtype: np.dtype[Any]) -> int:
    """As the client counts them; 0 for what it does not know."""
    return DTYPES.index(dtype.name) + 1 if dtype.name in DTYPES else 0


def extents(numbers: Sequence[int]) -> Any:
    return (c_int64 * max(1, len(numbers)))(*numbers)


def lent(array: Array, owner: Any, *, writable: bool = False) -> NDArray[Any]:
    """What a client shows, as NumPy sees it; it keeps `owner`."""
    dtype = dtype_of(array.dtype)
    stored = np.dtype("u2") if dtype == BFLOAT16 else dtype
    shape = tuple(array.shape[: array.rank])
    interface = {
        "version": 3,
        "typestr": stored.str,
        "shape": shape,
        "strides": tuple(array.strides[: array.rank]) if array.strides else None,
        "data": (array.data or 1, not writable),
    }
    if 0 in shape:
        return np.empty(shape, dtype)
    root = np.asarray(_Lent(owner, interface))
    return root.view(dtype) if stored is not dtype else root.view()


def given(
    name: str,
    array: NDArray[Any],
    shape: Sequence[int] | None = None,
    start: Sequence[int] | None = None,
) -> Array:
    """A NumPy array as a client takes it. Keep the array for as long."""
    described = room(name, array.shape, array.dtype, shape, start)
    described.data = array.ctypes.data
    described.strides = extents(array.strides)
    described.keeps = array  # type: ignore[attr-defined]
    return described


def room(
    name: str,
    count: Sequence[int],
    dtype: np.dtype[Any],
    shape: Sequence[int] | None = None,
    start: Sequence[int] | None = None,
) -> Array:
    """An array without bytes."""
    described = Array(
        name=name.encode(), dtype=number_of(dtype), rank=len(count), shape=extents(count)
    )
    if any(numbers is not None and len(numbers) != len(count) for numbers in (shape, start)):
        raise dv.CoverageError(f"{name!r}: count={count}, shape={shape} and start={start} differ")
    if shape is not None:
        described.global_shape = extents(shape)
    if start is not None:
        described.start = extents(start)
    return described
