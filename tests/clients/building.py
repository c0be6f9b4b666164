"""Programs of other languages, built as a user builds them: with pkg-config, or with CMake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dovetail import native

HERE = Path(__file__).parent
STRICT = ("-Wall", "-Wextra", "-Werror", "-O1", "-g")


def tool(name: str) -> str:
    """A build tool: of this environment first, else the system's."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def run(*command: object, timeout: float = 100, **environment: str) -> str:
    """Run a command to its end; fail with all that it said."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
        text=True,
        timeout=timeout,
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{said[-6000:]}"
    return done.stdout


def flags() -> list[str]:
    """What pkg-config tells a compiler and a linker."""
    folder = os.fspath(native.pkgconfig_directory())
    return run(tool("pkg-config"), "--cflags", "--libs", "dovetail", PKG_CONFIG_PATH=folder).split()


def compile_cpp(source: Path, target: Path, *options: str) -> Path:
    compiler = os.environ.get("CXX", "c++")
    run(tool(compiler), "-std=c++17", *STRICT, *options, "-o", target, source, *flags())
    return target


def compile_c(source: Path, target: Path, *options: str) -> Path:
    compiler = os.environ.get("CC", "cc")
    run(tool(compiler), "-std=c99", "-pedantic", *STRICT, *options, "-o", target, source, *flags())
    return target
