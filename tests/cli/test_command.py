"""The command as a whole: help, version, engines, clean, traces."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dovetail as dv
from dovetail import observe

COMMANDS = [
    *(["store", verb] for verb in ("ls", "stat", "get", "put", "load", "rm", "destroy")),
    *(["stream", verb] for verb in ("info", "tail", "rm")),
    *(["bench", what] for what in ("store", "stream", "learn")),
    ["run"],
    ["plan"],
    ["validate"],
    ["report"],
    ["engines"],
    ["clean"],
    ["trace"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_by_an_example(dovetail: Any, words: list[str]) -> None:
    text = dovetail.output(*words, "--help")
    assert "--json" in text
    assert re.search(rf"Example: .*dovetail {' '.join(words)}", re.sub(r"\s+", " ", text))


def test_the_version(dovetail: Any) -> None:
    assert dovetail.output("--version") == f"dovetail {dv.__version__}\n"
    assert dovetail.json("--version")["version"] == dv.__version__


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["store"], ["store", "ls"], ["--odd"]])
def test_wrong_usage_has_status_2(dovetail: Any, arguments: list[str]) -> None:
    assert dovetail(*arguments).returncode == 2


def test_the_command_loads_nothing_heavy(dovetail: Any) -> None:
    code = (
        "import sys, dovetail.cli.app; print(sorted({'torch', 'numpy', 'mpi4py'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_engines_say_what_they_offer(dovetail: Any) -> None:
    engines = {engine["scheme"]: engine for engine in dovetail.json("engines")["engines"]}
    assert {"shm", "file"} <= set(engines)
    shm = engines["shm"]
    assert shm["available"] is True
    assert shm["detail"]
    assert shm["made_of"]
    assert shm["capabilities"]["zero_copy"] is True
    assert shm["capabilities"]["policies"] == ["buffered", "latest", "lockstep", "work_queue"]
    assert "shm://" in dovetail.output("engines")


ABANDON = """
import os, signal, sys
import numpy as np
import dovetail as dv

store = dv.open_store(sys.argv[1])
store.put("kept", np.ones(1000))
room = store.reserve("never", {"value": ((100_000,), "f8")})
room["value"][:] = 1
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_clean_removes_what_the_dead_left_and_nothing_else(dovetail: Any, shm_url: str) -> None:
    with dv.open_store(shm_url) as living:
        room = living.reserve("coming", {"value": ((100,), "f8")})
        done = subprocess.run([sys.executable, "-c", ABANDON, shm_url], check=False, timeout=60)
        assert done.returncode == -9
        name = shm_url.removeprefix("shm://")

        def ours(document: Any) -> list[Any]:
            return [entry for entry in document["leftovers"] if name in entry["path"]]

        found = dovetail.json("clean", "--dry-run")
        assert found["removed"] is False
        assert found["nbytes"] == sum(entry["nbytes"] for entry in found["leftovers"])
        assert sum(entry["nbytes"] for entry in ours(found)) >= 800_000
        assert all(entry["kind"] and entry["reason"] for entry in ours(found))

        assert sum(entry["nbytes"] for entry in ours(dovetail.json("clean"))) >= 800_000
        assert ours(dovetail.json("clean")) == []
        assert living.keys() == ["kept"]
        with room as values:
            values["value"][:] = 2
        assert living.get_array("coming")[0] == 2


def test_a_trace_is_summarized_and_listed(dovetail: Any, tmp_path: Path) -> None:
    observe.start(tmp_path)
    for number in range(10):
        observe.record(observe.PUT, f"key {number % 2}", number * 1000, number * 1000 + 50, 100, 0)
    observe.record(observe.WAIT, "key 0", 500, 100_500, 8, 100_000)
    observe.stop()

    put, wait = dovetail.json("trace", tmp_path)["summary"]
    assert (put["kind"], put["name"], put["events"], put["nbytes"]) == ("put", None, 10, 1000)
    assert put["seconds"] == pytest.approx(500e-9)
    assert put["median_seconds"] == pytest.approx(50e-9)
    assert wait["wait_seconds"] == pytest.approx(1e-4)
    by_name = dovetail.json("trace", tmp_path, "--by-name")["summary"]
    assert [(row["kind"], row["name"], row["events"]) for row in by_name] == [
        ("put", "key 0", 5),
        ("put", "key 1", 5),
        ("wait", "key 0", 1),
    ]
    events = dovetail.json("trace", tmp_path, "--events")["events"]
    assert len(events) == 11
    assert events[0]["start_ns"] == 0
    assert events[0]["pid"] == os.getpid()
    assert dovetail.output("trace", tmp_path).splitlines()[0].split()[:3] == [
        "KIND",
        "NAME",
        "EVENTS",
    ]
    assert len(dovetail.output("trace", tmp_path, "--events").splitlines()) == 12


def test_a_store_command_can_be_traced(dovetail: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345678")
    url = f"file://{tmp_path}/store"
    done = dovetail(
        "store", "put", url, "key", tmp_path / "file", DOVETAIL_TRACE=str(tmp_path / "trace")
    )
    assert done.returncode == 0
    (event,) = observe.read(tmp_path / "trace")
    assert (event.kind, event.name, event.nbytes) == ("put", "key", 8)


def test_a_trace_that_is_not_there_is_an_error(dovetail: Any, tmp_path: Path) -> None:
    assert "nothing was recorded" in dovetail.error("trace", tmp_path / "absent")
