"""Where DAOS containers are mounted on this node, by ``dfuse``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dovetail.errors import EngineUnavailableError

MOUNTS = Path("/proc/self/mounts")
USUAL = Path("/tmp")
"""Where ``launch-dfuse.sh pool:container`` mounts: in ``pool/container`` below."""
_TYPE = "fuse.daos"
_ATTRIBUTE = "user.daos"
"""In which the root of a container says what it is: ``DAOS.POSIX://pool/container``, as UUIDs."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


def mounted() -> list[Path]:
    """The mount points of all containers on this node."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    entries = [line.split(" ") for line in lines]
    return [Path(_unescaped(entry[1])) for entry in entries if len(entry) > 2 and entry[2] == _TYPE]


def mount_of(pool: str, container: str) -> Path:
    """Where a container is mounted.

    Raises
    ------
    EngineUnavailableError
        If it is not, as far as can be told.
    """
    points = mounted()
    usual = USUAL / pool / container
    if usual in points:
        return usual
    named = [point for point in points if point.parts[-2:] == (pool, container)]
    named = named or [point for point in points if _identity(point) == (pool, container)]
    if len(named) == 1:
        return named[0]
    how = (
        f"the DAOS container {container!r} of pool {pool!r} is mounted more than once here, at "
        f"{_listed(named)}: say which with ?mount="
        if named
        else f"the DAOS container {container!r} of pool {pool!r} is not mounted on this node"
    )
    raise EngineUnavailableError(f"{how}. {_how_to_mount(pool, container, points)}")


def require_mount(folder: Path, pool: str, container: str) -> Path:
    """Refuse a mount point that is none: what is written there would stay on this node.

    Raises
    ------
    EngineUnavailableError
    """
    points = mounted()
    if folder not in points:
        raise EngineUnavailableError(
            f"mount={folder}: no DAOS container is mounted there. "
            f"{_how_to_mount(pool, container, points)}"
        )
    return folder


def _how_to_mount(pool: str, container: str, points: list[Path]) -> str:
    seen = f"mounted here are {_listed(points)}" if points else "no container is"
    return (
        f"Mount it on every node of the job ({seen}): 'module load daos; launch-dfuse.sh "
        f"{pool}:{container}' mounts it at {USUAL / pool / container}; elsewhere 'dfuse --pool="
        f"{pool} --container={container} --mountpoint=FOLDER' does, and ?mount=FOLDER says where"
    )


def _identity(point: Path) -> tuple[str, ...] | None:
    """The pool and the container of a mount point, if it tells."""
    try:
        text = os.getxattr(point, _ATTRIBUTE).decode(errors="replace")
    except OSError:
        return None
    return tuple(text.rstrip("\0").partition("://")[2].split("/"))


def _listed(points: list[Path]) -> str:
    return ", ".join(str(point) for point in points)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
