"""Which folder a ``daos://`` URL stands for.

``daos://pool/container`` is the root of the container, and ``daos://pool/container/path`` a folder
in it: a store *is* that folder; a stream lies in ``path.ledger`` beside it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from dovetail.errors import InvalidURLError
from dovetail.transport.engines.daos.mounts import mount_of, require_mount
from dovetail.transport.url import URL

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,126}")


def folder_of(url: URL, purpose: str) -> Path:
    """The folder of a store or of a stream's ledger.

    Raises
    ------
    InvalidURLError
        If the URL names no container, or a folder outside of it.
    EngineUnavailableError
        If the container is not mounted here.
    """
    pool, _, rest = url.location.partition("/")
    container, _, inside = rest.partition("/")
    if not (_LABEL.fullmatch(pool) and _LABEL.fullmatch(container)):
        raise InvalidURLError(
            f"daos://{url.location} must name a pool and a container, by label or UUID: "
            f"daos://pool/container, or daos://pool/container/folder"
        )
    path = os.path.normpath(inside or ".")
    if "\0" in inside or path.startswith(("..", "/")):
        raise InvalidURLError(f"daos://{url.location} leads out of the container {container!r}")
    given = url.options.get("mount")
    if given is not None and not given.startswith("/"):
        raise InvalidURLError(f"mount={given!r} is no absolute path")
    mount = (
        mount_of(pool, container)
        if given is None
        else require_mount(Path(os.path.normpath(given)), pool, container)
    )
    if purpose == "store":
        return mount / path
    return mount / ("stream.ledger" if path == "." else f"{path}.ledger")
