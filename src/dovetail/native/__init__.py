"""The library for C, C++ and Fortran: where its headers are, and how build tools find it.

``python -m dovetail.native --cmake-dir`` prints what a build asks for.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dovetail.errors import EngineUnavailableError

LIBRARY = "libdovetail.so.1"


def home() -> Path:
    """The folder of headers, library and build files.

    Raises
    ------
    EngineUnavailableError
        If this installation came without the library.
    """
    # An editable installation keeps what was built apart from what was written.
    core = find_spec("dovetail._native")
    folders = [Path(__file__).parent]
    if core is not None and core.origin is not None:
        folders.append(Path(core.origin).parent / "native")
    for folder in folders:
        if (folder / "lib" / LIBRARY).is_file():
            return folder
    raise EngineUnavailableError(
        f"there is no {LIBRARY} in {' or '.join(str(folder / 'lib') for folder in folders)}: "
        f"install the whole package again"
    )


def include_directory() -> Path:
    """What a compiler needs after ``-I``: ``#include <dovetail/dovetail.h>``."""
    return home() / "include"


def library_directory() -> Path:
    """What a linker needs after ``-L``, and a loader after ``-rpath``."""
    return home() / "lib"


def cmake_directory() -> Path:
    """What CMake needs as ``dovetail_DIR``: ``find_package(dovetail CONFIG)``."""
    return library_directory() / "cmake" / "dovetail"


def pkgconfig_directory() -> Path:
    """What pkg-config needs in ``PKG_CONFIG_PATH``."""
    return library_directory() / "pkgconfig"
