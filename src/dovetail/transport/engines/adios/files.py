"""Where BP5 files lie, and what is asked of the folder that a URL names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dovetail.errors import InvalidURLError, KeyNotFoundError
from dovetail.transport.url import URL

STORE = "store"
"""In the folder of notes: the log of a stream with flow control."""
LOOK_AGAIN = 0.002
"""Seconds between two looks at what another process does."""


def path_of(url: URL) -> Path:
    """The file, a folder as BP5 makes them, that a ``bp5://`` URL names.

    Raises
    ------
    InvalidURLError
    """
    if not url.location.startswith("/") or "\0" in url.location:
        raise InvalidURLError(
            f"bp5://{url.location} must name an absolute path: write bp5:///folder/name.bp, with "
            f"three slashes"
        )
    path = Path(os.path.normpath(url.location))
    if path.exists() and not path.is_dir():
        raise InvalidURLError(f"{path} is a file, and no BP5 file, which is a folder")
    return path


def parameters_of(url: URL) -> dict[str, str]:
    """What ADIOS2 is told when it writes: minimum and maximum of each block cost a pass over it.

    Raises
    ------
    InvalidURLError
    """
    return {"StatsLevel": "1" if url.choice_option("statistics", "no", "yes") == "yes" else "0"}


def stream_of(recording: Path, ranks: int, rank: int) -> Path:
    """The BP5 file of one writer rank: the recording itself if there is but one."""
    return recording if ranks == 1 else recording / f"rank-{rank}.bp"


def is_bp5(path: Path) -> bool:
    """Whether a folder is a BP5 file, as far as its names tell."""
    return (path / "md.idx").is_file() and (path / "md.0").is_file()


def bytes_in(path: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def numbers_in(folder: Path) -> list[int]:
    """The numbers of the recordings in the folder of a stream."""
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()]


def free_bytes(path: Path) -> int:
    """Bytes that may still be written beside a path."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def remove(path: Path) -> None:
    """Remove a BP5 file with all that belongs to it.

    It vanishes at once: a reader never meets half of it.

    Raises
    ------
    KeyNotFoundError
    """
    gone = path.with_name(f".{path.name}.{os.getpid()}.removed")
    try:
        path.rename(gone)
    except FileNotFoundError:
        raise KeyNotFoundError(f"there is no recording {path}") from None
    shutil.rmtree(gone)
