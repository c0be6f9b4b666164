"""The names that libdovetail.so exports, beside those that are recorded in symbols.txt.

A program that was built against a release finds every name of that release for ever. So a name may
come, which is recorded with ``--record``; one that goes or changes its version breaks programs, and
takes a new SOVERSION.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dovetail import native

RECORD = Path(__file__).with_name("symbols.txt")


def exported() -> list[str]:
    """``name@@version`` of each exported name, and the versions, sorted."""
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", "--with-symbol-versions",
         native.library_directory() / native.LIBRARY],
        capture_output=True, check=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    return sorted(re.findall(r"^\S+ \S (\S+)$", listing, re.MULTILINE))


def main() -> int:
    """Compare, or record."""
    now = exported()
    if sys.argv[1:] == ["--record"]:
        RECORD.write_text("\n".join(now) + "\n")
        return 0
    before = RECORD.read_text().split()
    for name in sorted(set(before) - set(now)):
        print(f"{name} is exported no more: programs that use it would not start", file=sys.stderr)
    for name in sorted(set(now) - set(before)):
        print(
            f"{name} is exported and not recorded: python native/abi/symbols.py --record",
            file=sys.stderr,
        )
    return int(now != before)


if __name__ == "__main__":
    sys.exit(main())
