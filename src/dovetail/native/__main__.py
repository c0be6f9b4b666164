"""``python -m dovetail.native``: what builds of C, C++ and Fortran ask for, one line each."""

from __future__ import annotations

import argparse
import sys

from dovetail import _native, native
from dovetail.errors import DovetailError

_ANSWERS = {
    "cmake-dir": (native.cmake_directory, "dovetail_DIR of find_package(dovetail CONFIG)"),
    "include-dir": (native.include_directory, "the folder of dovetail/dovetail.h"),
    "pkgconfig-dir": (native.pkgconfig_directory, "the folder of dovetail.pc"),
    "library-dir": (native.library_directory, f"the folder of {native.LIBRARY}"),
    "version": (lambda: _native.__version__, "the version of the library"),
}


def main() -> int:
    """Print the answers in the order of the questions."""
    parser = argparse.ArgumentParser(
        prog="python -m dovetail.native",
        description="Where the library for C, C++ and Fortran is.",
        epilog="Example: cmake -Ddovetail_DIR=$(python -m dovetail.native --cmake-dir) …",
    )
    for name, (_, help_text) in _ANSWERS.items():
        parser.add_argument(
            f"--{name}", action="append_const", const=name, dest="asked", help=help_text
        )
    asked = parser.parse_args().asked
    if not asked:
        parser.print_help()
        return 2
    try:
        for name in asked:
            print(_ANSWERS[name][0]())
    except DovetailError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
