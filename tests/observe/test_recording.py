"""What is recorded can be read, whatever happens to the process that recorded it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dovetail import observe

ENDLESS = """
import sys
from dovetail import observe

observe.start(sys.argv[1])
print("started", flush=True)
number = 0
while True:
    observe.record(observe.PUT, f"key/{number}", number, number + 7, 8 * number, 3)
    number += 1
    if number == 40_000:
        print("many", flush=True)
"""

ON_A_SMALL_DISK = """
import os, subprocess, sys, warnings
from dovetail import observe

folder, overlaid = sys.argv[1], sys.argv[2] == "overlaid"
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", folder], check=True)
if overlaid:  # writes to a mapping could fail there: events are written otherwise
    for name in ("lower", "upper", "work", "all"):
        os.mkdir(f"{folder}/{name}")
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    folder += "/all"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", folder], check=True)
observe.start(folder)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for number in range(60_000):
        observe.record(observe.GET, "key", number, number + 1, 8, 0)
print([str(warning.message) for warning in caught])
observe.stop()
events = observe.read(folder)
print(len(events))
print(events == sorted(events), events[-1].start_ns + 1 == len(events))
"""


@pytest.fixture(autouse=True)
def _stopped() -> Iterator[None]:
    yield
    observe.stop()


def run(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_is_recorded_by_default(tmp_path: Path) -> None:
    assert observe.recording is False
    observe.record(observe.PUT, "key", 1, 2, 3, 0)
    assert observe.read(tmp_path) == []


def test_an_event_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    path = observe.start(tmp_path / "made" / "for" / "it")
    assert observe.recording is True
    began = time.time_ns()
    observe.record(observe.WRITE_STEP, "shm://fields", began, began + 250, 1 << 40, 120)
    observe.stop()
    assert observe.recording is False

    (event,) = observe.read(path.parent)
    assert event == observe.Event(
        began,
        250,
        "write_step",
        "shm://fields",
        1 << 40,
        120,
        os.uname().nodename[:31],
        os.getpid(),
        threading.get_native_id(),
    )
    assert event.end_ns == began + 250


def test_a_recording_is_private_and_ends_with_its_last_event(tmp_path: Path) -> None:
    path = observe.start(tmp_path / "trace")
    observe.record(observe.PUT, "key", 1, 2, 3, 0)
    observe.stop()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == 2 * 64


@pytest.mark.parametrize(
    "name",
    ["", "k", "x" * 24, "x" * 25, "x" * 80, "x" * 81, "é" * 40, "🌊" * 200, "a\nb\tc"],
    ids=lambda name: f"{len(name.encode())} bytes",
)
def test_names_of_any_length_come_back(tmp_path: Path, name: str) -> None:
    observe.start(tmp_path)
    observe.record(observe.PUT, name, 1, 2, 3, 0)
    observe.record(observe.GET, "after", 5, 6, 3, 0)
    assert [event.name for event in observe.read(tmp_path)] == [name, "after"]


def test_a_very_long_name_is_cut_between_characters(tmp_path: Path) -> None:
    observe.start(tmp_path)
    observe.record(observe.PUT, "x" + "é" * 10_000, 1, 2, 3, 0)
    (event,) = observe.read(tmp_path)
    assert event.name == "x" + "é" * 515


def test_text_that_no_file_can_hold_does_not_fail_the_call(tmp_path: Path) -> None:
    observe.start(tmp_path)
    observe.record(observe.PUT, "\ud800", 1, 2, 3, 0)
    assert [event.name for event in observe.read(tmp_path)] == ["?"]


@pytest.mark.parametrize("kind", [0, 128, 255])
def test_a_kind_outside_its_range_is_refused(tmp_path: Path, kind: int) -> None:
    observe.start(tmp_path)
    with pytest.raises(ValueError, match="1 to 127"):
        observe.record(kind, "key", 1, 2, 3, 0)


def test_a_recording_without_events_leaves_no_file(tmp_path: Path) -> None:
    assert observe.start(tmp_path).exists()
    observe.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_second_start_goes_on_in_a_new_file(tmp_path: Path) -> None:
    first = observe.start(tmp_path)
    observe.record(observe.PUT, "first", 1, 2, 3, 0)
    second = observe.start(tmp_path)
    observe.record(observe.PUT, "second", 2, 3, 3, 0)
    assert first != second
    assert [event.name for event in observe.read(tmp_path)] == ["first", "second"]


def test_many_threads_record_into_one_file(tmp_path: Path) -> None:
    threads, each = 8, 5_000
    observe.start(tmp_path)

    def work(worker: int) -> None:
        name = f"worker {worker} " + "x" * worker * 15
        for number in range(each):
            observe.record(observe.PUT, name, number, number + worker, worker, 0)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(threads)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()

    events = observe.read(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    for worker in range(threads):
        mine = [event for event in events if event.nbytes == worker]
        assert [event.start_ns for event in mine] == list(range(each))
        assert {event.name for event in mine} == {f"worker {worker} " + "x" * worker * 15}
        assert len({event.thread for event in mine}) == 1


def test_starting_and_stopping_while_others_record_harms_nobody(tmp_path: Path) -> None:
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            observe.record(observe.PUT, "x" * 100, 1, 2, 3, 0)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for thread in workers:
        thread.start()
    for _ in range(20):
        observe.start(tmp_path)
        observe.stop()
    enough.set()
    for thread in workers:
        thread.join()
    assert all(event.name == "x" * 100 for event in observe.read(tmp_path))


def test_a_forked_child_records_into_a_file_of_its_own(tmp_path: Path) -> None:
    output = run(
        """
import os, sys
from dovetail import observe

observe.start(sys.argv[1])
observe.record(observe.PUT, "before", 1, 2, 0, 0)
for child in range(3):
    if os.fork() == 0:
        assert observe.recording
        if child < 2:
            observe.record(observe.PUT, f"child {child}", 10 + child, 20, 0, 0)
        if os.fork() == 0:
            observe.record(observe.PUT, f"grandchild {child}", 20 + child, 30, 0, 0)
            os._exit(0)
        os.wait()
        os._exit(0)
for _ in range(3):
    assert os.wait()[1] == 0
observe.record(observe.PUT, "after", 30, 31, 0, 0)
print(os.getpid())
""",
        str(tmp_path),
    )
    events = observe.read(tmp_path)
    assert [event.name for event in events] == [
        "before",
        *("child 0", "child 1"),
        *("grandchild 0", "grandchild 1", "grandchild 2"),
        "after",
    ]
    pids = {event.name: event.pid for event in events}
    assert pids["before"] == pids["after"] == int(output)
    assert len(set(pids.values())) == 6
    assert len(list(tmp_path.iterdir())) == 6


def test_a_child_forked_while_threads_record_is_not_stuck(tmp_path: Path) -> None:
    run(
        """
import os, sys, threading, warnings
from dovetail import observe

warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: that is the point
observe.start(sys.argv[1])
enough = threading.Event()

def work():
    while not enough.is_set():
        observe.record(observe.PUT, "x" * 300, 1, 2, 3, 0)

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(20):
    child = os.fork()
    if child == 0:
        observe.record(observe.GET, "child", number, number, 0, 0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
enough.set()
for thread in threads:
    thread.join()
""",
        str(tmp_path),
    )
    events = [event for event in observe.read(tmp_path) if event.kind == "get"]
    assert [event.start_ns for event in events] == list(range(20))


def test_what_was_recorded_before_a_kill_can_be_read(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        assert process.stdout.readline() == "many\n"
        while_it_runs = len(observe.read(tmp_path))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    events = observe.read(tmp_path)
    assert len(events) >= while_it_runs >= 40_000
    assert [(event.name, event.nbytes) for event in events] == [
        (f"key/{number}", 8 * number) for number in range(len(events))
    ]


def test_the_environment_turns_it_on(tmp_path: Path) -> None:
    run(
        "from dovetail import observe; observe.record(observe.PUT, 'key', 1, 2, 3, 0)",
        DOVETAIL_TRACE=str(tmp_path / "runs" / "trace"),
    )
    assert [event.name for event in observe.read(tmp_path / "runs" / "trace")] == ["key"]


def test_an_unusable_directory_in_the_environment_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = run(
        """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from dovetail import observe
print([str(warning.message) for warning in caught], observe.recording)
""",
        DOVETAIL_TRACE=str(tmp_path / "file"),
    )
    assert "DOVETAIL_TRACE: nothing is recorded" in output
    assert output.endswith("False\n")


def test_an_unusable_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        observe.start(tmp_path / "file")
    assert observe.recording is False


def test_a_recording_that_reaches_its_limit_ends_with_one_warning(tmp_path: Path) -> None:
    observe.start(tmp_path, limit=1 << 20)
    with pytest.warns(RuntimeWarning, match=r"ends here.*limit of") as caught:
        for number in range(20_000):
            observe.record(observe.PUT, "key", number, number, 0, 0)
    assert len(caught) == 1
    assert len(observe.read(tmp_path)) == (1 << 20) // 64 - 1


@pytest.mark.requires("tmpfs")
@pytest.mark.parametrize("kind", ["mapped", "overlaid"])
def test_a_full_disk_ends_the_recording_with_one_warning(tmp_path: Path, kind: str) -> None:
    done = subprocess.run(
        ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount"]
        + [sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path), kind],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    warned, count, *sound = done.stdout.split("\n")
    assert warned.count("No space left on device") == 1
    assert 16_000 < int(count) < 20_000
    assert sound == ["True True", ""]
