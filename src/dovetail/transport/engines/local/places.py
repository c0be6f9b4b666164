"""Where the local engine keeps things.

``shm://name`` lies in ``/dev/shm/dovetail-<user id>/``: a store in ``name.store``, a stream in
``name.stream``. ``file:///folder`` *is* the folder of a store; a stream lies in
``/folder.stream``.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from dovetail.errors import EngineUnavailableError, InvalidURLError
from dovetail.transport.url import URL

SHARED_MEMORY = Path("/dev/shm")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,199}")


def shared_root() -> Path:
    """The folder of this user in shared memory. It need not exist."""
    return SHARED_MEMORY / f"dovetail-{os.getuid()}"


def require_shared_memory() -> None:
    """Check that shared memory is there and that its folder is this user's own.

    Raises
    ------
    EngineUnavailableError
    """
    if not (SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)):
        raise EngineUnavailableError(
            f"shm:// needs a writable {SHARED_MEMORY}, which this system does not have. Use "
            f"file:///folder on a local disk instead"
        )
    root = shared_root()
    try:
        status = root.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise EngineUnavailableError(
            f"{root} is not a folder of this user ({os.getuid()}): ask that it be removed"
        )
    if status.st_mode & 0o077:
        root.chmod(0o700)


def folder_of(url: URL, purpose: str) -> Path:
    """The folder of a store or a stream.

    Raises
    ------
    InvalidURLError
    """
    if url.scheme == "shm":
        if not _NAME.fullmatch(url.location):
            raise InvalidURLError(
                f"shm://{url.location} needs a name of letters, digits and _.+@-, such as "
                f"shm://fields (at most 200, beginning with a letter, a digit or _)"
            )
        require_shared_memory()
        return shared_root() / f"{url.location}.{purpose}"
    if not url.location.startswith("/") or "\0" in url.location:
        raise InvalidURLError(
            f"file://{url.location} must name an absolute path: write file:///folder, with "
            f"three slashes"
        )
    folder = Path(os.path.normpath(url.location))
    if folder.exists() and not folder.is_dir():
        raise InvalidURLError(f"file://{url.location} is a file; name a folder")
    return folder if purpose == "store" else folder.with_name(f"{folder.name}.{purpose}")
