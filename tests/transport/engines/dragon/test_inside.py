"""A program that runs inside a Dragon runtime has its server there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dovetail.transport.engines.dragon import server

pytestmark = pytest.mark.requires("dragon")

_PROGRAM = Path(__file__).with_name("inside_program.py")
_RUN = 'mount -t tmpfs -o mode=1777,size=12g tmpfs /dev/shm && exec "$@"'


@pytest.mark.parametrize("ending", ["destroy", "leave"])
def test_processes_of_a_runtime_share_a_store_in_it(folder_of_servers: Path, ending: str) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DRAGON_")
    }
    scripts = Path(sys.executable).parent
    environment["PATH"] = f"{scripts}:{environment['PATH']}"
    ended = subprocess.run(
        [*server.isolation(), "sh", "-c", _RUN, "sh", str(scripts / "dragon"), "-s",
         str(_PROGRAM), "dragon://inside/a?memory=64MiB", ending],
        env=environment,
        cwd=folder_of_servers,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )  # fmt: skip
    assert "all is well" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0
