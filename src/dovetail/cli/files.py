"""Values as files: safetensors, NumPy's .npy and .npz, and raw bytes.

JSON attributes survive in safetensors alone. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dovetail.data import Dataset
from dovetail.data.dataset import pieces_of
from dovetail.data.dtypes import BFLOAT16
from dovetail.data.layout import Entry, Header, size_in_bytes
from dovetail.errors import CorruptDataError, UnsupportedDataError

SUFFIXES = (".safetensors", ".npy", ".npz")
"""The suffixes that are understood; a file of any other is read as raw bytes."""


def read_file(path: Path) -> Dataset:
    """The value in a file: views of it where they can be, so that a put copies once.

    Parameters
    ----------
    path
        ``.safetensors``, ``.npy``, ``.npz``; anything else is an array of uint8.

    Raises
    ------
    CorruptDataError
        If the file is not what its suffix says.
    UnsupportedDataError
        If its arrays are of a dtype that cannot be stored.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix not in SUFFIXES:
        size = path.stat().st_size
        return Dataset(np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8))
    try:
        if path.suffix == ".npy":
            return Dataset(np.load(path, mmap_mode="r", allow_pickle=False))
        with np.load(path, allow_pickle=False) as archive:
            return Dataset({name: archive[name] for name in archive.files})
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, UnsupportedDataError):
            raise
        if "allow_pickle" in str(error):
            raise UnsupportedDataError(
                f"{path} holds Python objects, which are never unpickled: save plain arrays"
            ) from error
        raise CorruptDataError(f"{path} is no sound {path.suffix} file: {error}") from error


def write_file(path: Path, dataset: Dataset) -> None:
    """Write a value to a file, which appears whole or not at all.

    Parameters
    ----------
    path
        Ends in ``.safetensors``, ``.npy`` (for a value of one array) or ``.npz``.

    Raises
    ------
    UnsupportedDataError
        If this kind of file cannot hold the value.
    """
    if path.suffix not in SUFFIXES:
        raise UnsupportedDataError(
            f"the suffix of {path} says nothing of its format; use {', '.join(SUFFIXES)}"
        )
    if path.suffix != ".safetensors":
        for name, array in dataset.items():
            if array.dtype == BFLOAT16:
                raise UnsupportedDataError(
                    f"{name!r} is bfloat16, which {path.suffix} files cannot hold; "
                    f"write {path.with_suffix('.safetensors')}"
                )
    with _appearing_whole(path) as file:
        if path.suffix == ".npy":
            np.save(file, dataset.array)
        elif path.suffix == ".npz":
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in dataset.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        else:
            _write_safetensors(file, dataset)


@contextlib.contextmanager
def _appearing_whole(path: Path) -> Iterator[BinaryIO]:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _write_safetensors(file: BinaryIO, dataset: Dataset) -> None:
    pieces, metadata = pieces_of(dataset, None)
    arrays = sorted(
        ((piece, np.asarray(piece.buffer)) for piece in pieces),
        key=lambda pair: -pair[1].dtype.itemsize,
    )
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for piece, array in arrays:
        header[piece.name] = {
            "dtype": piece.code,
            "shape": list(piece.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, array in arrays:
        if array.nbytes:
            file.write(array.reshape(-1).view(np.uint8).data)


def _read_safetensors(path: Path) -> Dataset:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < 8:
            raise CorruptDataError(f"{path} is shorter than a safetensors header")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin = 8 + int.from_bytes(content[:8], "little")
    if begin > len(content):
        raise CorruptDataError(f"{path} is no safetensors file: its header exceeds it")
    try:
        header = json.loads(content[8:begin])
        metadata = header.pop("__metadata__", None) or {}
        entries = [
            Entry(
                name,
                array["dtype"],
                tuple(int(extent) for extent in array["shape"]),
                begin + int(array["data_offsets"][0]),
                int(array["data_offsets"][1]) - int(array["data_offsets"][0]),
            )
            for name, array in header.items()
        ]
        entries.sort(key=lambda entry: entry.offset)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise CorruptDataError(f"{path} has no sound safetensors header: {error!r}") from error
    end = begin
    for entry in entries:
        if entry.offset != end or entry.nbytes < 0 or min(entry.shape, default=0) < 0:
            raise CorruptDataError(f"{path}: the array {entry.name!r} does not lie where it should")
        end += entry.nbytes
    if end != len(content):
        raise CorruptDataError(f"{path} has {len(content)} bytes; its header says {end}")
    dataset = Dataset.from_block(content, Header(0, entries, metadata))
    for name, variable in dataset.variables.items():
        expected = size_in_bytes(variable.shape, variable.dtype)
        if variable.nbytes != expected:
            raise CorruptDataError(
                f"{path}: {name!r} has {variable.nbytes} bytes; its shape says {expected}"
            )
    return dataset
