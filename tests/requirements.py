"""What some tests need beyond Python, a compiler and make: is it here, and if not, why not.

A test says ``@pytest.mark.requires("redis-server")``. Where that is missing the test is skipped,
or fails if ``DOVETAIL_TEST_REQUIRE`` is ``all`` or names it (a comma list).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"the program {name} is not installed"


def _module(name: str) -> Callable[[], str | None]:
    return lambda: None if importlib.util.find_spec(name) else f"pip install {name}"


def _namespaces() -> str | None:
    """Own user, mount and pid namespaces: for small file systems and foreign pids."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare"):
        return "the program unshare is not installed"
    attempt = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc",
         "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )  # fmt: skip
    return None if attempt.returncode == 0 else attempt.stderr.strip()


def _mounting() -> str | None:
    return None if os.geteuid() == 0 or _namespaces() is None else "neither root nor namespaces"


def _mpi() -> str | None:
    """mpi4py and the mpiexec that PyPI's mpich puts beside the interpreter."""
    if not os.path.exists(os.path.join(os.path.dirname(sys.executable), "mpiexec")):
        return "pip install mpi4py mpich"
    return _module("mpi4py")()


def _freezer() -> str | None:
    """A kernel that can freeze processes so that not even SIGKILL ends them: cgroup v1."""
    if os.geteuid() != 0:
        return "only root can freeze processes"
    controllers = Path("/proc/cgroups")
    known = controllers.read_text() if controllers.exists() else ""
    return None if "\nfreezer" in known else "this kernel has no freezer of cgroup v1"


_CHECKS: dict[str, Callable[[], str | None]] = {
    "redis-server": _program("redis-server"),
    "hiredis": lambda: (
        None if os.path.exists("/usr/include/hiredis/hiredis.h") else "install libhiredis-dev"
    ),
    "strace": _program("strace"),
    "unshare": _namespaces,
    "tmpfs": _mounting,
    "mpi": _mpi,
    "torch": _module("torch"),
    "fluidsim": _module("fluidsim"),
    "freezer": _freezer,
}


@cache
def missing(name: str) -> str | None:
    """Why a requirement is not met here; ``None`` if it is."""
    if name not in _CHECKS:
        raise LookupError(f"no requirement {name!r}; there are {', '.join(sorted(_CHECKS))}")
    return _CHECKS[name]()


def required() -> frozenset[str]:
    """The requirements that must be met here, by name; ``all`` stands for every one."""
    names = os.environ.get("DOVETAIL_TEST_REQUIRE", "").split(",")
    return frozenset(name.strip() for name in names if name.strip())
