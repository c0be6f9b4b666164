"""Benchmarks run, on tiny sizes: their reports are whole and sane. No speed is asserted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dovetail.bench.measure import Label, Measurement
from dovetail.bench.partner import expect, partner
from dovetail.bench.peers import all_peers
from dovetail.bench.targets import KiB, MiB, judge
from dovetail.errors import DovetailError

STORE_OPERATIONS = {
    "shm": {"put", "get", "put+get", "reserve", "reserve+fill"},
    "memcpy": {"copyto", "memmove", "one target", "shared"},
    "unix socket": {"put"},
    "redis": {"put", "get", "put+get"},
    "redis by hand": {"put", "get", "put+get"},
}
STREAM_OPERATIONS = {
    "shm": {"one way", "delivered", "summed", "in place", "observed"},
    "memcpy": {"copyto", "memmove", "one target", "shared"},
    "unix socket": {"one way", "delivered", "summed"},
    "redis": {"one way", "delivered", "summed"},
    "redis by hand": {"one way", "delivered", "summed"},
}
HERE = {peer.name for peer in all_peers() if peer.missing() is None}


COMMAND = [sys.executable, "-c", "from dovetail.cli import main; main()", "bench"]


def left_behind() -> set[Path]:
    return {
        *Path("/dev/shm").glob("dovetail-*/bench-*"),
        *Path(tempfile.gettempdir()).glob("dovetail-bench-*"),
    }


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=110,
    )


def report_of(what: str, sizes: str, file: Path, *more: str) -> tuple[Any, str]:
    done = bench(
        what, "--sizes", sizes, "--repeat", "2", "--milliseconds", "1", "--output", file, *more
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout


@pytest.mark.parametrize(
    ("what", "operations"),
    [("store", STORE_OPERATIONS), ("stream", STREAM_OPERATIONS)],
    ids=["store", "stream"],
)
def test_a_report_holds_every_peer_at_every_size(
    tmp_path: Path, what: str, operations: dict[str, set[str]]
) -> None:
    before = left_behind()
    report, table = report_of(what, "8,3,4KiB", tmp_path / "report.json")

    assert (report["format"], report["benchmark"]) == (1, what)
    assert report["machine"]["cores"] == os.cpu_count()
    assert report["machine"]["kernel"] == os.uname().release
    assert set(report["settings"]["peers"]) == HERE
    assert len(report["settings"]["cores"]) == 2
    assert set(report["skipped"]) == set(operations) - HERE

    measured: dict[tuple[str, int], set[str]] = {}
    for entry in report["measurements"]:
        measured.setdefault((entry["peer"], entry["nbytes"]), set()).add(entry["operation"])
        seconds = entry["seconds"]
        assert 0 < seconds["fastest"] <= seconds["lower_quartile"] <= seconds["median"]
        assert seconds["median"] <= seconds["upper_quartile"] < 60
        assert entry["repeats"] == 2
        assert entry["batch"] >= 1
    measured.pop(("observe", 0), None)
    assert measured == {(peer, size): operations[peer] for peer in HERE for size in (8, 3, 4096)}

    assert all(ratio["ratio"] > 0 and ratio["of"] == "shm" for ratio in report["ratios"])
    assert {ratio["peer"] for ratio in report["ratios"]} == HERE - {"shm", "memcpy"}
    assert all(target["holds"] in (True, False, None) for target in report["targets"])
    for name in operations:
        assert name in table
    assert "TARGET" in table
    assert not left_behind() - before


@pytest.mark.requires("torch")
def test_the_report_of_learning_is_whole(tmp_path: Path) -> None:
    before = left_behind()
    report, table = report_of("learn", "64,4KiB", tmp_path / "report.json")
    measured = {
        (entry["peer"], entry["operation"], entry["nbytes"]) for entry in report["measurements"]
    }
    operations = {
        *(("shm", operation) for operation in ("drawn", "each once", "starved", "fetched")),
        ("in memory", "drawn"),
    }
    assert measured == {(*operation, size) for operation in operations for size in (64, 4096)}
    assert all(entry["seconds"]["fastest"] > 0 for entry in report["measurements"])
    assert {ratio["operation"] for ratio in report["ratios"]} == {"drawn"}
    starvation, fetching, rates = report["targets"]
    assert starvation["holds"] in (True, False, None)
    assert fetching["holds"] is rates["holds"] is None
    assert "of 4 KiB" in rates["measured"]
    assert "starves at most" in table
    assert not left_behind() - before


def test_a_run_can_be_restricted_and_printed_as_json() -> None:
    done = bench(
        *("store", "--sizes", "64", "--repeat", "1", "--milliseconds", "1"),
        *("--peers", "memcpy, shm", "--json"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["settings"]["peers"] == ["memcpy", "shm"]
    assert report["skipped"] == {}
    targets = {target["target"]: target for target in report["targets"]}
    (beside_redis,) = (target for name, target in targets.items() if "Redis" in name)
    assert beside_redis["holds"] is None
    assert beside_redis["measured"].startswith("not measured")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", ["store", "stream"])
def test_a_run_that_is_stopped_leaves_nothing(what: str, number: signal.Signals) -> None:
    before = left_behind()
    with subprocess.Popen(
        [*COMMAND, what, "--sizes", "8", "--repeat", "1000000", "--milliseconds", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while len(left_behind() - before) < 2:  # shared memory, and a socket in a folder
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
        assert not left_behind() - before
        with pytest.raises(ProcessLookupError):
            while True:  # Python's own resource tracker ends just after
                os.killpg(process.pid, 0)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["store", "--sizes", "8furlongs"], 2),
        (["store", "--sizes", "0"], 2),
        (["store", "--repeat", "0"], 2),
        (["stream", "--peers", "pigeon"], 1),
        (["learn", "--peers", "memcpy"], 1),
        (["learn", "--output", "no-such-folder/learn.json"], 2),
    ],
)
def test_wrong_wishes_are_refused(arguments: list[str], status: int) -> None:
    done = bench(*arguments)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def measured(**seconds: dict[tuple[str, int], float]) -> list[Measurement]:
    return [
        Measurement(Label(peer.replace("_", " "), operation, size), *[value] * 4, 1, 1)
        for peer, values in seconds.items()
        for (operation, size), value in values.items()
    ]


def test_targets_are_judged_by_what_was_measured() -> None:
    copies = {
        ("copyto", 8 * MiB): 1e-3,
        ("memmove", 8 * MiB): 2e-3,
        ("one target", 8 * MiB): 5e-4,
        ("shared", 8 * MiB): 1.2e-3,
    }
    ours = {
        ("put", 8 * MiB): 1.3e-3,
        ("reserve", KiB): 1e-5,
        ("reserve", 8 * MiB): 1e-5,
        ("get", KiB): 5e-6,
        ("get", 8 * MiB): 11e-6,
        ("put+get", KiB): 9e-6,
    }
    redis = {("put+get", KiB): 1e-4}
    verdicts = judge("store", measured(memcpy=copies, shm=ours, redis=redis))
    assert [verdict.holds for verdict in verdicts] == [True, True, False, True, True, None]
    assert verdicts[0].measured.startswith("0.77 of memcpy")
    by_hand = measured(memcpy=copies, shm=ours, redis=redis, redis_by_hand={("put+get", KiB): 8e-5})
    assert judge("store", by_hand)[4].holds is False


def test_the_targets_of_a_stream_are_judged() -> None:
    copies = {
        ("copyto", 32 * MiB): 1e-2,
        ("memmove", 32 * MiB): 1e-2,
        ("one target", 32 * MiB): 1e-2,
        ("shared", 32 * MiB): 1e-2,
    }
    ours = {("delivered", 32 * MiB): 2e-2, ("one way", KiB): 1e-5, ("observed", MiB): 5e-5}
    socket = {("one way", KiB): 1e-5}
    verdicts = judge("stream", measured(memcpy=copies, shm=ours, unix_socket=socket))
    assert [verdict.holds for verdict in verdicts] == [False, True, True]


def test_starvation_is_judged_where_the_simulation_is_fast_enough() -> None:
    def verdict(starved: float, each_once: float = 2e-4) -> Any:
        ours = {
            ("starved", KiB): starved,
            ("fetched", KiB): 2 * starved,
            ("each once", KiB): each_once,
            ("drawn", KiB): 1e-5,
        }
        return judge("learn", measured(shm=ours, in_memory={("drawn", KiB): 2e-5}))

    assert verdict(1e-4)[0].holds is True
    assert verdict(1e-3)[0].holds is False
    assert verdict(1e-3, each_once=1e-3)[0].holds is None
    assert verdict(1e-3)[1].measured == "28.6 % at the most, at the same sizes"
    assert verdict(1e-4)[2].measured == "100,000 (50,000) of 1 KiB"


def test_nothing_measured_is_nothing_judged() -> None:
    benchmarks = ("store", "stream", "learn")
    assert {verdict.holds for what in benchmarks for verdict in judge(what, [])} == {None}


def test_a_partner_that_fails_says_why() -> None:
    with partner(len) as control, pytest.raises(RuntimeError, match="TypeError"):
        expect(control, "ready")


def test_an_unknown_peer_names_those_that_are_known() -> None:
    from dovetail.bench import bench_store

    with pytest.raises(DovetailError, match="memcpy"):
        bench_store(sizes=[8], peers=["pigeon"])
