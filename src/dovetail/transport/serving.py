"""Servers that engines need: described here, run by :mod:`dovetail.flow`.

An engine offers them by a method ``server(url, directory, name) -> ServerDescription | None``,
beside those of the :class:`~dovetail.transport.contract.Engine` contract.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from dovetail.errors import AccessDeniedError
from dovetail.transport.url import URL


@dataclass(frozen=True, slots=True)
class ServerDescription:
    """What to start, what it needs to be there, and how to reach it.

    It is started in its folder, asked to end by SIGTERM, and is ready once a store can be
    opened at its URL. It writes its log to standard output.
    """

    command: tuple[str, ...]
    """Without any secret: command lines can be read by everybody."""
    url: str
    """What opens a store on it, from any process of this user; without any secret."""
    folder: Path
    """Where it keeps what it writes."""
    url_of: Callable[[str], str] = field(repr=False, compare=False)
    """What opens another store or stream on it, by its name; without any secret."""
    files: Mapping[Path, str] = field(default_factory=dict, repr=False)
    """Files that it reads, and their content. They may hold secrets."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables, above those of whoever starts it."""
    elsewhere: tuple[Path, ...] = ()
    """What it makes outside its folder, to be removed after its end."""
    keeps: bool = False
    """What it holds is to outlive it: the folder stays."""

    def prepare(self) -> None:
        """Make the folder, and write the files for this user alone.

        Raises
        ------
        AccessDeniedError
            If a folder outside belongs to somebody else.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.elsewhere:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if path.parent.stat().st_uid != os.getuid():
                raise AccessDeniedError(f"{path.parent} is another user's: ask that it be removed")
        for path, text in self.files.items():
            with open(path, "w", opener=_private) as file:
                file.write(text)

    @property
    def leaves(self) -> tuple[Path, ...]:
        """What is to be removed after its end."""
        return (*(() if self.keeps else (self.folder,)), *self.elsewhere)

    def clear(self) -> None:
        """Remove what it leaves."""
        remove(self.leaves)


def remove(leaves: Iterable[str | os.PathLike[str]]) -> None:
    """Remove what a server leaves. Harmless if it is not there."""
    for leaf in leaves:
        path = Path(leaf)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            continue
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others may use the folder
            path.parent.rmdir()


@runtime_checkable
class OffersServer(Protocol):
    """An engine that can say which server it needs."""

    def server(self, url: URL, directory: Path, name: str) -> ServerDescription | None:
        """The server that a URL without a location asks for; None if it asks for none.

        Parameters
        ----------
        directory
            Where it may keep its things.
        name
            Of the store.

        Raises
        ------
        InvalidURLError, EngineUnavailableError
        """
        ...


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
