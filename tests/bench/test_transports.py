"""Every comparison of transports runs, on tiny sizes: its report is whole and sane. No speed is
asserted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dovetail.bench.measure import Measurement, OperationFailedError
from dovetail.bench.transports import hosts
from dovetail.bench.transports.comparisons import QUICK, Case, Comparison, KiB, MiB, comparisons
from dovetail.bench.transports.crew import crew, forked, under_mpi
from dovetail.bench.transports.peers import Peer, store_peers, stream_peers
from dovetail.bench.transports.places import Place, disk_folder
from dovetail.bench.transports.report import overheads
from dovetail.bench.transports.run import bench_transports
from dovetail.bench.transports.running import Outcome
from dovetail.bench.transports.seats import Layout, Seat, seats_of
from dovetail.bench.transports.verdicts import judge
from dovetail.errors import InvalidURLError

COMMAND = [sys.executable, "-c", "from dovetail.cli import main; main()", "bench", "transports"]
TINY = ["--quick", "--sizes", "1KiB", "--ranks", "2", "--files", "20", "--repeat", "2"]
COMPARISONS = {comparison.name: comparison for comparison in comparisons(QUICK)}
FIGURES = Path(__file__).parents[2] / "docs/figures.py"
PICTURES = {
    "streaming": ["streaming-latency", "streaming-throughput"],
    "staging-colocated": ["staging-colocated", "overheads"],
    "staging-clustered": ["staging-clustered", "overheads"],
    "gathering": ["gathering"],
    "scaling": ["scaling"],
    "loading": ["loading"],
}


def left_behind() -> set[Path]:
    return {
        *Path("/dev/shm").glob("dovetail-*/bench-*"),
        *Path("/dev/shm").glob("dovetail-bench-*"),
        *Path(tempfile.gettempdir()).glob("dovetail-bench-*"),
        *Path(tempfile.gettempdir(), f"dovetail-{os.getuid()}", "sst").glob("bench-*"),
    }


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, check=False, text=True, timeout=115
    )


def operations_of(comparison: Comparison, peer: Peer) -> set[str]:
    """What a peer must have been measured at: what it offers of what is compared."""
    of_streams = {"one way", "delivered"}
    mine = of_streams if peer.part.endswith(":stream") else {"put", "get", "handed over"}
    if comparison.name in ("gathering", "loading") and not peer.part.endswith(":stream"):
        mine = {"gathered", "loaded"}
    return mine & set(comparison.operations)


FEWER = {
    "scaling": ["shm", "file in memory", "redis", "redis by hand", "mpi", "mpi by hand", "sst"]
}
"""Where all the others are measured by the same parts in another comparison."""


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_report_of_a_comparison_is_whole(tmp_path: Path, name: str) -> None:
    comparison = COMPARISONS[name]
    if comparison.between_hosts and (why := hosts.missing()):
        pytest.skip(f"needs hosts: {why}")
    before = left_behind()
    wish = ["--only", name]
    if name in FEWER:
        kept = [peer for peer in comparison.peers if peer.name in FEWER[name]]
        comparison = replace(comparison, peers=kept)
        wish += ["--peers", ",".join(FEWER[name])]
    done = bench(*TINY, *wish, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "transports.json").read_text())
    assert (report["format"], report["benchmark"]) == (1, "transports")
    (entry,) = report["comparisons"]
    assert entry["name"] == name

    here = [peer for peer in comparison.peers if peer.missing() is None]
    absent = {peer.name for peer in comparison.peers if peer not in here}
    assert set(entry["skipped"]) == absent | set(comparison.skipped), entry["skipped"]

    measured: dict[str, set[str]] = {}
    for one in entry["measurements"]:
        measured.setdefault(one["peer"], set()).add(one["operation"])
        seconds = one["seconds"]
        assert 0 < seconds["fastest"] <= seconds["lower_quartile"] <= seconds["median"]
        assert seconds["median"] <= seconds["upper_quartile"] < 60
        assert one["repeats"] == 2
        assert one["bytes_per_second"] > 0
    expected: dict[str, set[str]] = {}
    for peer in here:  # a name may stand for a store and for a stream
        expected.setdefault(peer.name, set()).update(operations_of(comparison, peer))
    assert measured == expected

    for over in report["overheads"]:
        assert over["ratio"] > 0
        assert over["by_hand"] in measured
    assert all(target["holds"] in (True, False, None) for target in report["targets"])
    for peer in here:
        assert peer.name in done.stdout
    assert "TARGET" in (tmp_path / "transports.txt").read_text()
    for picture in PICTURES[name]:
        assert (tmp_path / f"{picture}.svg").read_text().startswith("<?xml")
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert not left_behind() - before
    check_page(tmp_path, report)


def check_page(run: Path, report: dict[str, Any]) -> None:
    """The page of the documentation that is made from a run shows all that was compared."""
    pages = run / "pages"
    pages.mkdir()
    subprocess.run([sys.executable, FIGURES, run, pages], check=True, timeout=60)
    text = (pages / "figures.md").read_text()
    for over in report["overheads"]:
        assert (f"### {over['engine']}\n" in text) == (over["producers"] == 1)
    for picture in run.glob("*.svg"):
        assert f"(figures/{picture.name})" in text
        assert (pages / "figures" / picture.name).exists()


def test_a_run_can_be_restricted_and_printed_as_json() -> None:
    done = bench(*TINY, "--only", "staging-colocated", "--peers", "shm", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (entry,) = report["comparisons"]
    assert {one["peer"] for one in entry["measurements"]} == {"shm"}
    assert {one["nbytes"] for one in entry["measurements"]} == {1024}
    targets = {target["target"]: target for target in report["targets"]}
    (latency,) = (target for name, target in targets.items() if "one way" in name)
    assert latency["holds"] is None
    assert latency["measured"].startswith("not measured")


def test_without_two_hosts_it_is_said_that_there_were_none() -> None:
    done = bench(*TINY, "--only", "staging-clustered", "--no-hosts", "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)["comparisons"]
    assert entry["measurements"] == []
    assert "not asked for" in entry["skipped"]["redis"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_leaves_nothing(number: signal.Signals) -> None:
    before = left_behind()
    with subprocess.Popen(
        [*COMMAND, "--only", "staging-colocated", "--peers", "shm,file in memory,redis"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while len(left_behind() - before) < 3:  # a store, a folder in memory, one for a server
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
        assert not left_behind() - before
        with pytest.raises(ProcessLookupError):
            while True:  # Python's own helpers end just after
                os.killpg(process.pid, 0)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--sizes", "8furlongs"], 2),
        (["--ranks", "0"], 2),
        (["--ranks", "some"], 2),
        (["--files", "0"], 2),
        (["--only", "racing"], 1),
        (["--peers", "pigeon"], 1),
        (["--only", "loading", "--disk", "/dev/shm"], 1),
    ],
)
def test_wrong_wishes_are_refused(arguments: list[str], status: int) -> None:
    done = bench(*arguments)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_peer_names_those_that_are_known() -> None:
    with pytest.raises(InvalidURLError, match="sst by hand"):
        bench_transports(QUICK, peers=["pigeon"])


# --- processes ---------------------------------------------------------------------------------


def test_blocks_and_shares_tile_the_array() -> None:
    for layout in (Layout(1, 1), Layout(3, 2), Layout(2, 3), Layout(4, 1)):
        seats = seats_of(layout)
        producers = [seat for seat in seats if seat.side == "producer"]
        consumers = [seat for seat in seats if seat.side == "consumer"]
        for parts in (
            [seat.block(6) for seat in producers],
            [seat.share(6) for seat in consumers],
        ):
            cells = [cell for start, count in parts for cell in range(start, start + count)]
            assert cells == list(range(6 * layout.producers))


@contextmanager
def part_that_fails_at(seat: Seat, when: str) -> Iterator[dict[str, Any]]:
    def work(count: int) -> None:
        if when == "play":
            raise ZeroDivisionError("as it plays")

    if when == "open":
        raise ZeroDivisionError("as it opens")
    yield {"work": work}
    if when == "close":
        raise ZeroDivisionError("as it closes")


@pytest.mark.parametrize("when", ["open", "play", "close"])
def test_a_process_that_fails_says_why(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with crew(forked, Layout(2, 1)) as members:
        part = f"{__name__}:part_that_fails_at"
        with (
            pytest.raises(OperationFailedError, match=f"ZeroDivisionError: as it {when}s"),
            members.scene(part, {"when": when}) as offered,
        ):
            assert offered["work"](3) > 0
        with pytest.raises(OperationFailedError), members.scene(part, {"when": "never"}):
            pytest.fail("a crew that failed was used again")


def test_a_crew_plays_scene_after_scene() -> None:
    with crew(forked, Layout(2, 2)) as members:
        for _ in range(3):
            with members.scene(f"{__name__}:part_that_fails_at", {"when": "never"}) as offered:
                assert set(offered) == {"work"}
                assert 0 < offered["work"](1) < 60


@pytest.mark.requires("mpi")
def test_the_seats_of_an_mpi_crew_are_its_ranks() -> None:
    with (
        crew(under_mpi, Layout(2, 2)) as members,
        members.scene("dovetail.bench.transports.parts.mpi:stream", {"nbytes": 24}) as offered,
    ):
        assert offered["delivered"](5) > 0
        assert offered["one way"](5) > 0


@pytest.mark.parametrize("side", ["producer", "consumer"])
def test_hosts_reach_one_another_and_nobody_else(side: str) -> None:
    if why := hosts.missing():
        pytest.skip(f"needs hosts: {why}")
    with hosts.two_hosts() as (first, second):
        here, there = (first, second) if side == "producer" else (second, first)
        listener = subprocess.Popen(
            [*there.prefix, sys.executable, "-c", LISTEN, there.address],
            stdout=subprocess.PIPE,
            text=True,
        )
        with listener:
            assert listener.stdout is not None
            port = listener.stdout.readline().strip()
            said = subprocess.run(
                [*here.prefix, sys.executable, "-c", CONNECT, there.address, port],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
            assert said.stdout == "hello"
            assert listener.wait(30) == 0


LISTEN = """
import socket, sys
with socket.create_server((sys.argv[1], 0)) as server:
    print(server.getsockname()[1], flush=True)
    server.settimeout(30)
    server.accept()[0].sendall(b"hello")
"""
CONNECT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as connection:
    print(connection.recv(100).decode(), end="")
"""


def test_the_disk_that_is_measured_is_no_memory() -> None:
    assert disk_folder(Path("/dev/shm")) is None
    folder = disk_folder()
    if folder is not None:
        with Place(folder) as place:
            assert place.disk.parent == folder
            assert place.memory.parent == Path("/dev/shm")
        assert not place.disk.exists()


# --- what is made of it ------------------------------------------------------------------------


def outcome(name: str, peers: list[Peer], seconds: dict[tuple[str, str, int], float]) -> Outcome:
    operations = tuple(dict.fromkeys(operation for _, operation, _ in seconds))
    comparison = Comparison(name, name, peers, [Layout(1, 1)], [KiB], operations)
    return Outcome(
        comparison,
        [
            Measurement(Case(peer, operation, nbytes, 1, 1), *[value] * 4, 1, 1)
            for (peer, operation, nbytes), value in seconds.items()
        ],
        {},
    )


def test_ours_is_judged_beside_the_best_by_hand() -> None:
    staged = outcome(
        "staging-colocated",
        store_peers("staging"),
        {
            ("redis", "put", KiB): 80e-6,
            ("redis-py", "put", KiB): 90e-6,
            ("redis by hand", "put", KiB): 40e-6,
            ("redis", "put", MiB): 1.2e-3,
            ("redis-py", "put", MiB): 1.1e-3,
            ("redis by hand", "put", MiB): 1.15e-3,
            ("redis", "get", KiB): 50e-6,
            ("redis by hand", "get", KiB): 45e-6,
            ("shm", "put", KiB): 4e-6,
            ("shm", "get", KiB): 4e-6,
        },
    )
    streamed = outcome(
        "streaming",
        stream_peers(),
        {
            ("sst", "one way", KiB): 9e-5,
            ("sst by hand", "one way", KiB): 6e-5,
            ("sst as shipped", "one way", KiB): 4e-2,
            ("shm", "delivered", 32 * MiB): 1e-2,
            ("sst as shipped", "delivered", 32 * MiB): 9e-2,
        },
    )
    costs = overheads([staged, streamed])
    assert {(over.case.peer, over.by_hand) for over in costs} == {
        ("redis", "redis by hand"),
        ("redis", "redis-py"),
        ("sst", "sst by hand"),
    }
    verdicts = {one.target: one for one in judge([staged, streamed], costs, cores=2)}

    def holds(beginning: str) -> bool | None:
        (verdict,) = (one for target, one in verdicts.items() if target.startswith(beginning))
        return verdict.holds

    assert holds("redis, 64 KB and less") is True
    assert holds("redis, 1 MB and more") is True
    assert holds("sst, 1 KB step") is True
    assert holds("sst, any size") is False
    assert holds("shm, 32 MB steps") is True
    assert holds("shm, put+get, 1 KB: at least 10 × faster than Redis") is True
    assert holds("shm, put+get, 1 KB: at least 10 × faster than DragonHPC") is None
    crowded = judge([staged, streamed], costs, cores=1)
    assert not any(one.target.startswith("redis") for one in crowded)


def test_nothing_measured_is_nothing_judged() -> None:
    assert {verdict.holds for verdict in judge([], [], cores=2)} == {None}
