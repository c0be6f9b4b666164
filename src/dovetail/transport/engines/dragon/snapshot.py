"""A store on disk: what is written when it is flushed, and read back in a new runtime.

A checkpoint is a folder of safetensors files, which any reader of that format opens, with
``index.json`` beside them: which file is which key, and the lists. A new one is written beside
the old one, in ``<folder>.new``, forced to the disk, and takes its place in one step.

Dragon's own ``persist`` is not used: it saves a checkpoint that has not retired in part, and
``destroy`` does not flush it.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "index.json"
_FORMAT = 1
_VALUES_AHEAD = 4
"""Values that wait in memory for the disk."""
_AT_FDCWD = -100
_EXCHANGE = 2


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read."""

    folder: Path
    files: Mapping[str, tuple[str, str]]
    """File and version of each key."""
    lists: dict[str, list[str]]

    def values(self) -> Iterator[tuple[str, str, bytes]]:
        """Key, version and bytes of each value."""
        for key, (file, version) in self.files.items():
            yield key, version, (self.folder / file).read_bytes()


class Writer:
    """Writes one checkpoint, in a thread of its own: a disk keeps nobody else waiting.

    Give it every value with :meth:`add`, then call :meth:`finish`; an earlier checkpoint stays
    whole until this one is.
    """

    def __init__(self, folder: Path, lists: Mapping[str, Sequence[str]]) -> None:
        self._folder = folder
        self._lists = {name: list(items) for name, items in lists.items()}
        self._files: dict[str, tuple[str, str]] = {}
        self._values: queue.Queue[tuple[str, str, Any] | None] = queue.Queue(maxsize=_VALUES_AHEAD)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether the disk is behind, so that :meth:`add` would wait."""
        return self._values.full()

    @property
    def written(self) -> bool:
        """Whether all is on disk, or is not going to be."""
        return not self._thread.is_alive()

    def add(self, key: str, version: str, value: Any) -> None:
        """Hand over one value."""
        self._values.put((key, version, value))

    def finish(self) -> None:
        """Say that there are no more values."""
        self._values.put(None)

    def abandon(self, failure: Exception) -> None:
        """Say that no more values will come, and that this is to be no checkpoint."""
        self._failure = failure
        self._values.put(None)

    def check(self) -> None:
        """Once written: raise what went wrong."""
        if self._failure is not None:
            raise self._failure

    def _write(self) -> None:
        fresh = self._folder.with_name(f"{self._folder.name}.new")
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700, parents=True)
        except OSError as error:
            self._failure = error
        while (entry := self._values.get()) is not None:
            if self._failure is None:  # else only so that nobody waits
                try:
                    self._write_value(fresh, *entry)
                except OSError as error:
                    self._failure = error
        if self._failure is None:
            try:
                content = {"format": _FORMAT, "files": self._files, "lists": self._lists}
                _write(fresh / INDEX, json.dumps(content).encode())
                _sync(fresh)
                _replace(fresh, self._folder)
                _sync(self._folder.parent)
            except OSError as error:
                self._failure = error

    def _write_value(self, fresh: Path, key: str, version: str, value: Any) -> None:
        name = f"{len(self._files):08d}.safetensors"
        _write(fresh / name, value)
        self._files[key] = (name, version)


def read(folder: Path) -> Saved:
    """Read a checkpoint's index.

    Raises
    ------
    OSError
    ValueError
        If it is none, or of another format.
    """
    try:
        content = json.loads((folder / INDEX).read_text())
        if content["format"] != _FORMAT:
            raise ValueError(f"it has the format {content['format']}, not {_FORMAT}")
        files = {
            key: (str(file), str(version)) for key, (file, version) in content["files"].items()
        }
        lists = {name: [str(item) for item in items] for name, items in content["lists"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / INDEX} is not the index of a checkpoint: {error!r}") from None
    for file, _ in files.values():
        if "/" in file:
            raise ValueError(f"{folder / INDEX} names {file!r}, which lies elsewhere")
    return Saved(folder, files, lists)


def _write(path: Path, content: Any) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def _sync(folder: Path) -> None:
    """Have all that was written to the file system of a folder on its disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # One call for thousands of files: each by itself would wait for the disk once more.
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _replace(fresh: Path, folder: Path) -> None:
    """Put one folder in the place of another; both names are there at every moment."""
    if not folder.exists():
        fresh.rename(folder)
        return
    exchanged = ctypes.CDLL(None, use_errno=True).renameat2(
        _AT_FDCWD, os.fsencode(fresh), _AT_FDCWD, os.fsencode(folder), _EXCHANGE
    )
    if exchanged != 0:  # a file system that cannot: for a moment only ``.new`` is there
        old = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        fresh.rename(folder)
        fresh = old
    shutil.rmtree(fresh)
