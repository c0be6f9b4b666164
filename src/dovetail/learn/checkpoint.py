"""Checkpoints: everything it takes to go on, in one file that is whole or not there.

A checkpoint is a safetensors file. What has no array form is JSON in its metadata, with a checksum
over everything. Nothing in it is ever unpickled, so a checkpoint of a stranger can be read.

It is written aside, flushed to the disk, and then renamed: a trainer that is killed at any
instruction leaves the checkpoint before, or this one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dovetail.data.dtypes import COMPLEX128, code_of, dtype_of
from dovetail.errors import CorruptDataError, FormatVersionError, KeyNotFoundError
from dovetail.learn.tree import Leaves, flatten, unflatten

VERSION = "1"
NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""How a file system says so: Lustre as it is often mounted. Who saves there saves alone."""
LARGEST_HEADER = 1 << 30
"""Bytes; more are not taken for a header."""

_VERSION = "dovetail.checkpoint.version"
_CHECKSUM = "dovetail.checkpoint.crc32"
_TREE = "dovetail.checkpoint.tree"
_DTYPE = "dovetail.dtype."
_NO_CHECKSUM = "0" * 8
_PLACE_OF_CHECKSUM = f'"{_CHECKSUM}":"'.encode()


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a checkpoint, replacing the one that is there.

    Parameters
    ----------
    path
        The file. Its folder is made if it is absent.
    state
        What to keep, by name: models, optimizers, datasets, loaders (anything with a
        ``state_dict()``, which is asked for it), and plain values, arrays and tensors, nested.
        Tensors of a device are copied to the host.

    Raises
    ------
    UnsupportedDataError
        If something in it has no such form; nothing is written then.
    BlockingIOError
        If another process is saving the same checkpoint.
    OSError
        If the file cannot be written; the checkpoint before stays.

    Examples
    --------
    >>> import dovetail as dv
    >>> save_checkpoint("checkpoint.safetensors", {"gradient_step": 17})
    >>> load_checkpoint("checkpoint.safetensors")
    {'gradient_step': 17}
    """
    path = Path(path)
    leaves: Leaves = {}
    asked = {
        name: value.state_dict() if hasattr(value, "state_dict") else value
        for name, value in state.items()
    }
    tree = flatten(asked, "", leaves)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _written_aside(path) as file:
        _write(file, tree, leaves)


def load_checkpoint(
    path: str | os.PathLike[str], into: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Read a checkpoint, and give what it holds back to those it came from.

    Parameters
    ----------
    path
        The file.
    into
        Models, optimizers, datasets … by the names under which they were saved: the
        ``load_state_dict()`` of each is called.

    Returns
    -------
    dict
        Everything else. Tensors are on the host; arrays are the caller's own.

    Raises
    ------
    FileNotFoundError
        If there is none.
    CorruptDataError
        If the file is no checkpoint, or is damaged.
    KeyNotFoundError, TypeError
        If it holds nothing under a name of `into`, or what is there cannot take a state; nobody
        was given anything then.
    """
    state = _read(Path(path))
    into = into or {}
    for name, receiver in into.items():
        if not hasattr(receiver, "load_state_dict"):
            raise TypeError(
                f"into[{name!r}] is a {type(receiver).__name__}, which has no load_state_dict(): "
                f"leave it out, and take it from what is returned"
            )
        if name not in state:
            raise KeyNotFoundError(
                f"the checkpoint {os.fspath(path)} has no {name!r}; it has {', '.join(state)}"
            )
    for name, receiver in into.items():
        receiver.load_state_dict(state.pop(name))
    return state


@contextlib.contextmanager
def _written_aside(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is on the disk.

    Its name is always the same, so that what a killed process left is written over.
    """
    aside = path.with_name(f".{path.name}.saving")
    with _locked(aside) as file:
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(aside: Path) -> Iterator[BinaryIO]:
    while True:
        with open(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(
                    error.errno, "another process is saving this checkpoint", str(aside)
                ) from None
            except OSError as error:
                if error.errno not in NO_LOCKS_HERE:
                    raise
            # Between the opening and the lock, another may have published this very file.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), aside.stat()):
                    yield file
                    return


def _write(file: BinaryIO, tree: Any, leaves: Leaves) -> None:
    metadata = {
        _VERSION: VERSION,
        _CHECKSUM: _NO_CHECKSUM,
        _TREE: json.dumps(tree, allow_nan=False, separators=(",", ":")),
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    # Largest items first, so that each array is aligned.
    ordered = sorted(leaves.items(), key=lambda leaf: -leaf[1].rows[0].dtype.itemsize)
    for name, leaf in ordered:
        dtype, shape = leaf.rows[0].dtype, leaf.shape
        if dtype == COMPLEX128:
            metadata[_DTYPE + name] = "complex128"
            dtype, shape = np.dtype(np.float64), (*shape, 2)
        end = offset + sum(row.nbytes for row in leaf.rows)
        header[name] = {"dtype": code_of(dtype), "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    file.write(struct.pack("<Q", len(text)) + text)
    checksum = zlib.crc32(text)
    for _, leaf in ordered:
        for row in leaf.rows:
            if row.nbytes:
                content = np.ascontiguousarray(row).reshape(-1).view(np.uint8).data
                checksum = zlib.crc32(content, checksum)
                file.write(content)
    file.seek(8 + text.index(_PLACE_OF_CHECKSUM) + len(_PLACE_OF_CHECKSUM))
    file.write(b"%08x" % checksum)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise CorruptDataError(f"{path} is no checkpoint: its header exceeds it")
        text = file.read(length)
        data = np.fromfile(file, np.uint8)
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__")
        version, saved = metadata[_VERSION], metadata[_CHECKSUM]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptDataError(
            f"{path} is no checkpoint: {type(error).__name__} in its header"
        ) from error
    if version != VERSION:
        raise FormatVersionError(
            f"{path} is a checkpoint of version {str(version)[:20]!r}; this Dovetail reads "
            f"version {VERSION}"
        )
    _check(path, text, data, saved)
    try:
        tree = json.loads(metadata[_TREE])
        return dict(unflatten(tree, lambda name: _array(name, header[name], metadata, data)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptDataError(f"{path} is no sound checkpoint: {error}") from error


def _check(path: Path, text: bytes, data: NDArray[np.uint8], saved: Any) -> None:
    filled = _PLACE_OF_CHECKSUM + str(saved).encode()
    blank = text.replace(filled, _PLACE_OF_CHECKSUM + _NO_CHECKSUM.encode(), 1)
    if f"{zlib.crc32(data.data, zlib.crc32(blank)):08x}" != saved:
        raise CorruptDataError(
            f"{path} is damaged: its checksum does not fit. Take an older checkpoint"
        )


def _array(
    name: str, entry: Mapping[str, Any], metadata: Mapping[str, str], data: NDArray[np.uint8]
) -> NDArray[Any]:
    begin, end = (int(offset) for offset in entry["data_offsets"])
    shape = tuple(int(extent) for extent in entry["shape"])
    dtype = dtype_of(entry["dtype"])
    if not 0 <= begin <= end <= data.size or min(shape, default=0) < 0:
        raise CorruptDataError(f"the array {name!r} does not lie inside the file")
    array: NDArray[Any] = data[begin:end].view(dtype)
    if metadata.get(_DTYPE + name) == "complex128":
        array, shape = array.view(COMPLEX128), shape[:-1]
    return array.reshape(shape)
