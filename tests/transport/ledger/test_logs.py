"""A log that has become long goes on in a new one, and nobody misses a word."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.stream_fixtures import open_and_read_all, read_all, write
from dovetail.transport.ledger import replica
from dovetail.transport.ledger.entries import Done

STEPS = 200


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(replica, "LOG_LENGTH", 15)
    return f"file://{tmp_path}/fields?over=store"


def logs_of(url: str) -> list[str]:
    folder = Path(url.removeprefix("file://").split("?", maxsplit=1)[0] + ".ledger")
    return sorted(item.name for item in (folder / ".dovetail/lists").iterdir())


@pytest.mark.parametrize(
    "policy", [dv.lockstep(), dv.buffered(1), dv.buffered(4), dv.work_queue(3)], ids=str
)
def test_nothing_is_lost_between_logs(url: str, policy: dv.Policy) -> None:
    with ThreadPoolExecutor(4) as thread:
        out = dv.open_stream(url, "w", policy=policy)
        readers = [dv.open_stream(url, "r") for _ in range(2)]
        reading = [thread.submit(read_all, reader) for reader in readers]
        for number in range(STEPS):
            write(out, number, 10)
        assert len(logs_of(url)) <= 3, "old logs are not removed"
        out.close()
        seen = [future.result(PATIENCE) for future in reading]
        for reader in readers:
            reader.close()
    if policy.kind == "work_queue":
        assert sorted(seen[0] + seen[1]) == list(range(STEPS))
    else:
        assert seen == [list(range(STEPS))] * 2


def test_a_late_joiner_finds_the_present_log(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(2)) as out:
        with dv.open_stream(url, "r") as reader:
            for number in range(STEPS):
                write(out, number, 10)
                next(reader).end()
        write(out, STEPS, 10)
        with dv.open_stream(url, "r") as late:
            assert next(late).index == STEPS
        assert dv.describe_stream(url).steps_complete == STEPS + 1


def test_a_reader_that_slept_through_several_logs_goes_on(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.latest()) as out:
        with dv.open_stream(url, "r") as sleeper, dv.open_stream(url, "r") as awake:
            write(out, 0, 10)
            inhand = next(sleeper)
            for number in range(1, STEPS):
                write(out, number, 10)
                next(awake).end()
            assert inhand.index == 0
            assert next(sleeper).index == STEPS - 1
    assert open_and_read_all(url)[-1:] in ([STEPS - 1], [])


def test_what_is_said_after_the_end_of_a_log_is_said_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(100)) as out:
        with dv.open_stream(url, "r") as reader:
            for number in range(40):
                write(out, number, 10)
            # The reader has not followed: what it says lands in a log that ended before.
            for number in range(40):
                step = next(reader)
                assert step.index == number
            step.end()
            for number in range(40, 60):
                write(out, number, 10)
            (group,) = dv.describe_stream(url).groups
            assert group.steps_ended == 40


def test_a_log_that_another_program_wrote_to_is_reported(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(4)) as out:
        write(out, 0, 10)
        folder = url.removeprefix("file://").split("?", maxsplit=1)[0] + ".ledger"
        with dv.open_store(f"file://{folder}") as store:
            store.append("log/0", "hello world")
        with pytest.raises(dv.CorruptDataError, match="dovetail stream rm"):
            dv.open_stream(url, "r", timeout=1)
        with pytest.raises(dv.CorruptDataError):
            write(out, 1, 10)
            write(out, 2, 10)
        with pytest.raises(dv.CorruptDataError):
            out.close()


def test_entries_of_strangers_change_nothing(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(4)) as out:
        write(out, 0, 10)
        folder = url.removeprefix("file://").split("?", maxsplit=1)[0] + ".ledger"
        with dv.open_store(f"file://{folder}") as store:
            store.append("log/0", str(Done("0" * 12, 5)))
        write(out, 1, 10)
        assert dv.describe_stream(url).steps_held == 2
    assert open_and_read_all(url) == [0, 1]


def test_who_looks_on_while_logs_come_and_go_is_not_told_that_the_stream_is_gone(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, looks = replica.Replica.dead, 0

    def dead_after_a_while(self: replica.Replica) -> set[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            for number in range(1, STEPS):
                write(out, number, 10)
        self.sync()
        return dead(self)

    with dv.open_stream(url, "w", policy=dv.latest()) as out:
        write(out, 0, 10)
        monkeypatch.setattr(replica.Replica, "dead", dead_after_a_while)
        assert dv.describe_stream(url).steps_complete == STEPS
    assert looks > 1
