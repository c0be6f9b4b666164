"""The interpreter ends while threads are inside the native core."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from faults.tally import Tally

import dovetail as dv

PROGRAM = Path(__file__).with_name("exit_program.py")


def test_exit(shm_url: str, faults: Tally) -> None:
    """Program that ends while daemon threads write, read and wait."""
    faults.wanted = max(1, faults.wanted // 10)  # each is a whole interpreter
    for _ in faults:
        ended = subprocess.run(
            [sys.executable, str(PROGRAM), shm_url],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        dv.destroy_stream(shm_url)
        with dv.open_store(f"{shm_url}-store") as store:
            store.destroy()
