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


FORTRAN = (
    "-std=f2018", "-Wall", "-Wextra", "-Werror", "-Wno-function-elimination",
    "-Wno-maybe-uninitialized", "-fcheck=all,array-temps", "-O1", "-g",
)  # fmt: skip
"""Every warning is an error, and every check is made at run time."""
OF_THREADS = ("-fPIC", "-frecursive")
"""With the latter, a call from two threads at a time is no recursion."""


def variable(name: str) -> str:
    """A variable of dovetail.pc."""
    folder = os.fspath(native.pkgconfig_directory())
    return run(tool("pkg-config"), f"--variable={name}", "dovetail", PKG_CONFIG_PATH=folder)


def compile_fortran_module(folder: Path) -> list[Path]:
    """The module for Fortran, compiled into `folder`; return the objects."""
    sources = variable("fortran").split()
    return [
        compile_c11(Path(sources[0]), folder),
        *(compile_fortran(Path(source), folder) for source in sources[1:]),
    ]


def compile_c11(source: Path, folder: Path) -> Path:
    """What stands between C and Fortran, compiled into `folder`."""
    target = folder / source.with_suffix(".o").name
    headers = ("-I", native.include_directory())
    run("cc", "-std=c11", *STRICT, "-fPIC", *headers, "-c", "-o", target, source)
    return target


def compile_fortran(source: Path, folder: Path, *options: object) -> Path:
    target = folder / source.with_suffix(".o").name
    run("gfortran", *FORTRAN, *OF_THREADS, *options, "-J", folder, "-c", "-o", target, source)
    return target


def compile_fortran_driver(folder: Path) -> Path:
    """The functions of abi.py over the module for Fortran, as a library."""
    sources, library = HERE / "fortran", folder / "libdriver_fortran.so"
    objects = [*compile_fortran_module(folder), compile_c11(sources / "driver.c", folder)]
    # In the order in which one uses another.
    objects += [
        compile_fortran(sources / f"driver_{name}.f90", folder, "-I", sources)
        for name in ("texts", "ends", "stores", "values", "views", "writers", "readers", "steps")
    ]
    run("gfortran", "-shared", "-o", library, *objects, *flags())
    return library
