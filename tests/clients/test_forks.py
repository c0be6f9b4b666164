"""A forked child of a program that uses the library opens handles of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
import numpy as np
from clients import engine
import dovetail as dv

url = sys.argv[1]
with dv.open_store(url) as store:
    store.put("a", np.arange(3))
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        ended = 1
        try:
            with dv.open_store(url) as own:
                assert own.get_array("a").tolist() == [0, 1, 2]
                own.put("b", np.arange(4))
            if "redis" in url:
                try:
                    store.get("a")
                except dv.TransportClosedError as error:
                    assert "forked child" in str(error)
                    ended = 0
            else:
                ended = 0
            store.close()
        finally:
            os._exit(ended)
    assert os.waitpid(child, 0)[1] == 0
    assert store.get_array("b").tolist() == [0, 1, 2, 3]
    store.destroy()
"""


def run(url: str) -> None:
    folder = os.path.dirname(os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": folder},
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_child_opens_a_store_of_its_own(language: str, shm_url: str) -> None:
    run(f"{language}+{shm_url}")


@pytest.mark.requires("redis")
@pytest.mark.requires("hiredis")
def test_a_child_does_not_speak_on_connections_of_its_parent(unix_url: str) -> None:
    run(f"c+{unix_url}")
