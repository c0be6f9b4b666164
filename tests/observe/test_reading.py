"""Recordings that were cut short are read as far as they go; rubbish is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from dovetail import CorruptDataError, FormatVersionError, observe

NAMES = ["short", "x" * 70, "y" * 200, "last"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = observe.start(tmp_path)
    for number, name in enumerate(NAMES):
        observe.record(observe.GET, name, number, number + 1, 0, 0)
    observe.stop()
    return path


def test_a_missing_directory_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing was recorded"):
        observe.read(tmp_path / "absent")


def test_files_of_other_kinds_are_left_alone(recording: Path) -> None:
    (recording.parent / "notes.txt").write_text("not a trace")
    assert len(observe.read(recording.parent)) == len(NAMES)


def test_every_prefix_of_a_recording_gives_its_first_events(recording: Path) -> None:
    content = recording.read_bytes()
    seen = set()
    for size in range(len(content) + 1):
        recording.write_bytes(content[:size])
        names = [event.name for event in observe.read(recording.parent)]
        assert names == NAMES[: len(names)]
        seen.add(len(names))
    assert seen == set(range(len(NAMES) + 1))


def test_slots_that_were_claimed_and_never_filled_are_skipped(recording: Path) -> None:
    content = bytearray(recording.read_bytes())
    content[128] = 0  # the second event: its continuation is an orphan now
    recording.write_bytes(content + bytes(64 * 100))
    assert [event.name for event in observe.read(recording.parent)] == [
        name for name in NAMES if name != NAMES[1]
    ]


def test_events_of_several_processes_are_merged_by_time(recording: Path) -> None:
    content = bytearray(recording.read_bytes())
    content[16] ^= 1  # another pid
    (recording.parent / "other.trace").write_bytes(content)
    events = observe.read(recording.parent)
    assert [event.name for event in events] == [name for name in NAMES for _ in range(2)]
    assert len({event.pid for event in events}) == 2


def test_an_unknown_kind_is_given_as_its_number(recording: Path) -> None:
    content = bytearray(recording.read_bytes())
    content[64] = 77
    recording.write_bytes(content)
    assert observe.read(recording.parent)[0].kind == "77"


@pytest.mark.parametrize("rubbish", [b"no", b"no trace " * 100, b"DVTLTRCf"])
def test_rubbish_is_an_error(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "rubbish.trace").write_bytes(rubbish)
    with pytest.raises(CorruptDataError, match="not a recording"):
        observe.read(tmp_path)


@pytest.mark.parametrize(("byte", "value"), [(64, 200), (65, 1)])
def test_damage_is_an_error_that_says_where(recording: Path, byte: int, value: int) -> None:
    content = bytearray(recording.read_bytes())
    content[byte] = value
    recording.write_bytes(content)
    with pytest.raises(CorruptDataError, match="damaged at byte 64"):
        observe.read(recording.parent)


def test_another_version_of_the_format_is_named(recording: Path) -> None:
    content = bytearray(recording.read_bytes())
    content[8] = 9
    recording.write_bytes(content)
    with pytest.raises(FormatVersionError, match="version 9"):
        observe.read(recording.parent)
