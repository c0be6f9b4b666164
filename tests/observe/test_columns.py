"""Recordings as columns say what :func:`dovetail.observe.read` says."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from dovetail import observe
from dovetail.errors import CorruptDataError
from dovetail.observe.columns import columns_of
from dovetail.observe.events import KINDS

NAMES = [
    "u", "", "a" * 24, "b" * 25, "b" * 24 + "c", "shm://closure-20260101-120000.fields",
    "d" * 80, "d" * 79 + "e", "f" * 81, "g" * 700, "größe", "u\0v",
]  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    chance = random.Random(1)
    path = observe.start(tmp_path)
    for number in range(2000):
        now = time.time_ns()
        observe.record(
            chance.choice([1, 4, 5, 9]),
            chance.choice(NAMES),
            now,
            now + number,
            number,
            number // 2,
        )
    observe.stop()
    return path


def as_events(path: Path) -> list[observe.Event]:
    columns = columns_of(path)
    assert columns is not None
    return sorted(
        observe.Event(start, duration, KINDS[kind], columns.names[name], nbytes, wait,
                      columns.host, columns.pid, thread)
        for kind, thread, start, duration, nbytes, wait, name in zip(
            *(column.tolist() for column in columns[2:9]), strict=True
        )
    )  # fmt: skip


def test_columns_hold_the_same_events(recording: Path) -> None:
    assert as_events(recording) == observe.read(recording.parent)
    columns = columns_of(recording)
    assert columns is not None
    assert len(columns.names) == len(NAMES)


@pytest.mark.parametrize("cut", [1, 63, 64, 65, 300, 5000])
def test_a_file_that_was_cut_short_gives_what_it_holds(recording: Path, cut: int) -> None:
    recording.write_bytes(recording.read_bytes()[: -64 * 60 - cut])
    assert as_events(recording) == observe.read(recording.parent)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"DVTL"])
def test_a_file_without_events_gives_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.trace"
    path.write_bytes(content if len(content) < 64 else b"")
    assert columns_of(path) is None


def test_damage_is_an_error(recording: Path) -> None:
    content = bytearray(recording.read_bytes())
    content[64] = 200
    recording.write_bytes(content)
    with pytest.raises(CorruptDataError, match="damaged at byte 64"):
        columns_of(recording)
