"""``dovetail serve`` runs a server, says how to reach it, and leaves nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dovetail as dv
from dovetail.testing.children import PATIENCE, wait_until

pytestmark = pytest.mark.requires("redis")


@contextmanager
def serving(command: list[str], *words: str | Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The command, and what it says once it is ready."""
    with subprocess.Popen(
        [*command, "serve", *map(str, words), "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended early"
        try:
            yield process, json.loads("".join(lines))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def test_it_prints_a_url_that_opens_stores_and_streams(dovetail: Any) -> None:
    with serving(dovetail.command, "redis://?capacity=20MiB", "--name", "fields") as (ended, said):
        with dv.open_store(said["url"]) as store:
            store.put("u", 3)
            assert store.get_array("u") == 3
        with dv.open_stream(said["url"], "w", policy=dv.buffered(2)) as out:
            with out.step() as step:
                step["u"] = 4
        with dv.open_stream(said["url"], "r") as steps:
            assert [int(step["u"]) for step in steps] == [4]
        folder = Path(said["folder"])
        assert folder.is_dir()
    assert ended.returncode == 0
    assert not folder.parent.exists()
    assert not Path(f"/proc/{said['pid']}").exists()


def test_what_a_persistent_server_holds_is_there_again(dovetail: Any, tmp_path: Path) -> None:
    words = ["redis://?persistent=yes", "-d", tmp_path / "kept"]
    with serving(dovetail.command, *words) as (_, said), dv.open_store(said["url"]) as store:
        store.put("u", 3)
    with serving(dovetail.command, *words) as (_, said), dv.open_store(said["url"]) as store:
        assert store.get_array("u") == 3
        assert store.capabilities.persistent


def test_killed_it_takes_its_server_along(dovetail: Any, tmp_path: Path) -> None:
    with serving(dovetail.command, "redis://", "-d", tmp_path) as (process, said):
        process.kill()
        wait_until(lambda: not Path(f"/proc/{said['pid']}").exists(), "the server to end")


def test_a_server_that_dies_is_reported_with_its_last_lines(dovetail: Any, tmp_path: Path) -> None:
    import os

    command = [*dovetail.command, "serve", "redis://", "-d", str(tmp_path), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if '"pid"' in line:
                os.kill(int(line.split(":")[1].strip(" ,\n")), signal.SIGKILL)
            if line == "}\n":
                break
        assert process.wait(PATIENCE) == 1
        assert "the server ended with status -9. The last lines of" in process.stderr.read()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("shm://", "starts no server"),
        ("redis://localhost", "starts no server"),
        ("redis://?capasity=1GiB", "did you mean 'capacity'"),
        ("rediss://", "needs a host"),
    ],
)
def test_what_is_no_server_is_refused(dovetail: Any, url: str, said: str) -> None:
    assert said in dovetail.error("serve", url)
