"""The report of recordings whose every number is known, and of damaged directories."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.conftest import Staged

import dovetail as dv
from dovetail import observe, report
from dovetail.report.activity import BINS, Clock


@given(
    st.lists(
        st.tuples(st.floats(0, 99), st.floats(0, 99), st.floats(0, 1e6)), min_size=1, max_size=20
    )
)
def test_what_is_spread_over_a_run_is_neither_lost_nor_made(
    events: list[tuple[float, float, float]],
) -> None:
    start, duration, amount = (np.array(column) for column in zip(*events, strict=True))
    duration = np.minimum(duration, 100 - start)
    spread = Clock(1e9, 100.0).spread(
        (1e18 + start * 1e9).astype(np.int64), (duration * 1e9).astype(np.int64), amount
    )
    assert len(spread) == BINS
    assert (spread >= 0).all()
    assert spread.sum() == pytest.approx(amount.sum())


def test_time_is_divided_by_what_the_main_thread_did(staged: Staged) -> None:
    staged.record(observe.READ_STEP, "shm://staged", 10, 20, nbytes=1000, wait=15)
    staged.record(observe.PUT, "a", 50, 5, nbytes=500)
    background = threading.Thread(
        target=staged.record, args=(observe.READ_STEP, "shm://staged", 0, 100, 700, 90)
    )
    background.start()
    background.join()
    (lane,) = report.account_of(staged.directory).lanes
    assert lane.seconds == pytest.approx(100)
    assert lane.waiting_seconds == pytest.approx(15)
    assert lane.moving_seconds == pytest.approx(10)
    assert lane.shares == pytest.approx((0.75, 0.1, 0.15))
    assert lane.nbytes == 2200
    at = np.arange(BINS) * 100 / BINS
    assert lane.waiting[(at >= 10) & (at < 30)] == pytest.approx(0.75)
    assert lane.moving[(at >= 50) & (at < 55)] == pytest.approx(1)
    assert lane.computing[at < 10] == pytest.approx(1)


def test_rates_and_waits_of_a_stream(staged: Staged) -> None:
    for number in range(10):
        staged.record(observe.WRITE_STEP, "shm://staged", 10 * number, 2, 4000, wait=0.5)
    (side,) = report.account_of(staged.directory).streams
    assert (side.stream, side.side, side.component) == ("fields", "writes", "me")
    assert (side.steps, side.nbytes) == (10, 40_000)
    assert side.seconds == pytest.approx(92)
    assert side.calling_seconds == pytest.approx(20)
    assert side.waiting_seconds == pytest.approx(5)
    assert side.longest_wait == pytest.approx(0.5)


def test_reads_that_brought_nothing_are_no_steps(staged: Staged) -> None:
    staged.record(observe.READ_STEP, "shm://staged", 0, 1, nbytes=10)
    staged.record(observe.READ_STEP, "shm://staged", 1, 1, wait=1)
    (side,) = report.account_of(staged.directory).streams
    assert side.steps == 1


def test_starvation_leaves_the_first_wait_out(staged: Staged) -> None:
    staged.record(observe.STARVE, "held-out samples", 2, 8, wait=8)
    staged.record(observe.STARVE, "reservoir", 10, 10, wait=10)
    staged.record(observe.STARVE, "reservoir", 40, 3, wait=3)
    staged.record(observe.STARVE, "reservoir", 60, 1, wait=1)
    staged.record(observe.STALL, "plate", 60, 2, wait=2)
    account = report.account_of(staged.directory)
    (starvation,) = account.starvation
    assert starvation.first_wait == pytest.approx(18)
    assert (starvation.waits, starvation.seconds) == (2, pytest.approx(4))
    assert starvation.share == pytest.approx(4 / 80)
    (stall,) = account.stalls
    assert (stall.producer, stall.component, stall.waits) == ("plate", "me", 1)
    assert stall.seconds == pytest.approx(2)


def test_reasons_of_one_call_are_one_fallback(staged: Staged) -> None:
    staged.record(observe.CALL_MODEL, "closure", 1, 0.1)
    for reason in ("input range", "non-finite output"):
        staged.record(observe.FALL_BACK, f"closure: {reason}", 1, 0.1)
    (guarded,) = report.account_of(staged.directory).guarded
    assert (guarded.calls, guarded.fallbacks, guarded.share) == (1, 1, 1.0)
    assert dict(guarded.reasons) == {"input range": 1, "non-finite output": 1}


def test_the_page_does_not_grow_with_the_events(staged: Staged, parse: Callable[..., Any]) -> None:
    def size() -> int:
        return report.write(staged.directory).stat().st_size

    for number in range(2_000):
        staged.record(observe.WRITE_STEP, "shm://staged", number % 100, 0.01, 100)
        staged.record(observe.PUT, f"fields/{number}", number % 100, 0.001, 100)
    few = size()
    for number in range(30_000):
        staged.record(observe.PUT, f"fields/{number}", number % 100, 0.0001, 100)
        staged.record(observe.TAKE_MODEL, f"closure@{number}", number % 100, 0)
    assert size() < 2 * few + 50_000
    (store,) = report.account_of(staged.directory).stores
    assert (store.keys, store.puts) == ("fields/*", 32_000)


def test_processes_that_are_no_rank_are_named_as_such(staged: Staged) -> None:
    staged.record(observe.PUT, "a", 1, 0.1, 100)
    document = json.loads((staged.directory / "run.json").read_bytes())
    document["components"]["me"]["attempts"][0]["pid"] = os.getpid() + 1
    (staged.directory / "run.json").write_text(json.dumps(document))
    account = report.account_of(staged.directory)
    assert [store.component for store in account.stores] == ["other processes"]
    assert account.lanes[0].events == 0
    report.write(account)
    assert "other processes" not in report.summary(account)


def test_a_pid_that_was_given_twice_is_told_apart_by_the_time(staged: Staged) -> None:
    staged.record(observe.PUT, "a", 60, 1, 100)
    document = json.loads((staged.directory / "run.json").read_bytes())
    me = document["components"]["me"]
    start = me["started"]
    first = me["attempts"][0] | {"ended": start + 50}
    document["components"]["me"]["attempts"] = [first]
    other = me | {"attempts": [first | {"started": start + 55, "ended": start + 100}]}
    document["components"]["other"] = other
    (staged.directory / "run.json").write_text(json.dumps(document))
    me_lane, other_lane = report.account_of(staged.directory).lanes
    assert (me_lane.events, other_lane.events) == (0, 1)


def test_a_run_that_goes_on_can_be_drawn(staged: Staged, parse: Callable[..., Any]) -> None:
    document = json.loads((staged.directory / "run.json").read_bytes())
    document |= {"status": "running", "ended": None}
    document["components"]["me"] |= {"status": "running", "ended": None}
    document["components"]["me"]["attempts"][0]["ended"] = None
    waiting = {"status": "pending", "started": None, "attempts": []}
    document["components"]["later"] = document["components"]["me"] | waiting
    (staged.directory / "run.json").write_text(json.dumps(document))
    account = report.account_of(staged.directory)
    assert account.run.seconds > 150
    assert "pending" in parse(report.write(account)).texts
    assert "later" in report.summary(account)


def test_what_is_damaged_is_named_and_the_rest_is_shown(
    staged: Staged, parse: Callable[..., Any]
) -> None:
    staged.record(observe.PUT, "a", 1, 0.1, 100)
    folder = staged.directory
    (folder / "trace" / "broken.trace").write_bytes(b"x" * 200)
    (folder / "exhibits").mkdir()
    (folder / "exhibits" / "0-broken.json").write_text("{")
    secret = folder / "secret.png"
    secret.write_bytes(b"secret")
    (folder / "exhibits" / "1-thief.json").write_text(
        json.dumps({"title": "Thief", "picture": "../secret.png"})
    )
    account = report.account_of(folder)
    assert account.events == 1
    named = " ".join(account.troubles)
    assert len(account.troubles) == 3
    for name in ("broken.trace", "0-broken.json", "1-thief.json"):
        assert name in named
    assert "What could not be read" in parse(report.write(account)).texts
    assert "could not be read: the recording broken.trace" in report.summary(account)


def test_what_is_no_run_is_refused_with_a_hint(staged: Staged, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "first").mkdir(parents=True)
    (runs / "first" / "run.json").write_bytes((staged.directory / "run.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"holds 1: the last one is .*runs/first"):
        report.write(runs)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no run\.json"):
        report.summary(empty)
    (staged.directory / "run.json").write_text('{"name": "cut')
    with pytest.raises(dv.CorruptDataError, match=r"run\.json is damaged"):
        report.write(staged.directory)


def test_components_of_many_ranks_share_a_lane(staged: Staged) -> None:
    from dovetail.report.timeline import MOST_LANES, shown

    staged.record(observe.PUT, "a", 0, 100, 100)
    (lane,) = report.account_of(staged.directory).lanes
    assert shown([lane]) == [lane]
    (one,) = shown([lane] * (MOST_LANES + 1))
    assert (one.component, one.rank) == ("me", -1)
    assert one.shares == pytest.approx(lane.shares)
    assert one.nbytes == 100 * (MOST_LANES + 1)


def test_a_trainer_that_reads_beside_its_work_and_never_waits_is_said_not_to_starve(
    staged: Staged,
) -> None:
    staged.record(observe.PUBLISH_MODEL, "closure@1", 50, 0.1, 100)
    staged.record(observe.READ_STEP, "shm://staged", 0, 1, 10)
    assert report.account_of(staged.directory).starvation == ()
    reader = threading.Thread(
        target=staged.record, args=(observe.READ_STEP, "shm://staged", 1, 1, 10)
    )
    reader.start()
    reader.join()
    (starvation,) = report.account_of(staged.directory).starvation
    assert (starvation.first_wait, starvation.waits, starvation.share) == (0, 0, 0)
    assert "me never waited for samples" in report.summary(staged.directory)


@pytest.mark.parametrize(
    "exhibit",
    [
        '{"title": "t", "table": {"columns": ["a", "b"], "rows": [[1], [1, 2]]}}',
        '{"title": "t", "order": 1' + 400 * "0" + "}",
        100_000 * "[",
    ],
)
def test_an_exhibit_of_another_make_harms_only_itself(staged: Staged, exhibit: str) -> None:
    (staged.directory / "exhibits").mkdir()
    (staged.directory / "exhibits" / "0-t.json").write_text(exhibit)
    account = report.account_of(staged.directory)
    (trouble,) = account.troubles
    assert "0-t.json" in trouble
    report.write(account)


def test_text_that_has_no_form_in_utf8_is_shown_escaped(staged: Staged) -> None:
    (staged.directory / "exhibits").mkdir()
    (staged.directory / "exhibits" / "0-t.json").write_text('{"title": "t\\udcff"}')
    assert "t\\udcff" in report.write(staged.directory).read_text(encoding="utf-8")
    assert "t\\xdcff" in report.summary(staged.directory)


def test_a_clock_that_was_set_back_makes_no_time_negative(staged: Staged) -> None:
    staged.record(observe.PUT, "a", 50, -20, 100)
    staged.record(observe.GET, "b", 10, 1, 100, wait=5)
    (lane,) = report.account_of(staged.directory).lanes
    assert lane.moving_seconds == pytest.approx(0)
    assert lane.waiting_seconds == pytest.approx(1)
    report.write(staged.directory)
    report.summary(staged.directory)


def test_a_run_that_was_killed_ends_with_its_last_sign_of_life(staged: Staged) -> None:
    path = staged.directory / "run.json"
    document = json.loads(path.read_bytes())
    child = subprocess.Popen(["true"])
    child.wait()
    document |= {"status": "running", "ended": None, "supervisor": child.pid}
    document |= {"host": socket.gethostname()}
    document["components"]["me"] |= {"status": "running", "ended": None}
    document["components"]["me"]["attempts"][0]["ended"] = None
    path.write_text(json.dumps(document))
    os.utime(path, (0, document["started"] + 30))
    run = report.account_of(staged.directory).run
    assert (run.status, run.components[0].status) == ("failed", "stopped")
    assert "was killed" in (run.reason or "")
    assert run.seconds == pytest.approx(30)
    assert run.components[0].attempts[0].ended == run.ended
    document["host"] = "another"  # where nobody can tell
    path.write_text(json.dumps(document))
    assert report.account_of(staged.directory).run.status == "running"


@pytest.mark.parametrize(
    "damage",
    [{"started": "now"}, {"started": None}, {"started": float("nan")}, {"components": {"me": {}}}],
)
def test_a_run_whose_times_make_no_sense_is_damaged(staged: Staged, damage: Any) -> None:
    path = staged.directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | damage))
    with pytest.raises(dv.CorruptDataError, match="is damaged"):
        report.account_of(staged.directory)


def test_logs_that_are_gone_or_oddly_named_are_left_out(staged: Staged) -> None:
    logs = staged.directory / "logs"
    logs.mkdir()
    (logs / "me.0.log").write_text("hello\n")
    (logs / "me.1.log").symlink_to("nowhere")
    (logs / "me.\N{SUPERSCRIPT TWO}.log").write_text("")
    (component,) = report.account_of(staged.directory).run.components
    assert component.logs == ("logs/me.0.log",)
    assert component.last_lines == ("hello",)


def test_many_kinds_of_keys_are_shown_as_one_and_none_of_their_bytes_is_lost(
    staged: Staged,
) -> None:
    names = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]
    for name in names:
        staged.record(observe.PUT, name, 1, 0.1, 100)
    account = report.account_of(staged.directory)
    assert len(account.stores) == 41
    assert (account.stores[-1].keys, account.stores[-1].puts) == ("…", 24)
    assert account.nbytes == 100 * len(names)


def test_a_stream_under_two_urls_keeps_all_its_rows(
    staged: Staged, parse: Callable[..., Any]
) -> None:
    for side in (observe.WRITE_STEP, observe.READ_STEP):
        staged.record(side, "shm://staged", 1, 1, 100)
        staged.record(side, "shm://staged?capacity=1MiB", 1, 1, 100)
    texts = parse(report.write(staged.directory)).texts
    assert (texts.count("writes"), texts.count("reads")) == (2, 2)


def test_a_trainer_that_is_no_rank_starves_for_a_share_of_its_recording(staged: Staged) -> None:
    staged.record(observe.STARVE, "reservoir", 0, 10, wait=10)
    staged.record(observe.STARVE, "reservoir", 20, 5, wait=5)
    staged.record(observe.PUT, "a", 29, 1)
    document = json.loads((staged.directory / "run.json").read_bytes())
    document["components"]["me"]["attempts"][0]["pid"] = os.getpid() + 1
    (staged.directory / "run.json").write_text(json.dumps(document))
    (starvation,) = report.account_of(staged.directory).starvation
    assert starvation.component == "other processes"
    assert starvation.share == pytest.approx(5 / 20)
