"""The wall clock set back and forth: versions stay distinct, waits keep their deadlines."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import clock_roles as roles
from faults.tally import Tally

import dovetail as dv
from dovetail.testing.children import PATIENCE, ChildServer
from dovetail.testing.values import sealed, unsealed


@pytest.fixture
def clock(tmp_path: Path) -> str:
    """The file that says by how much the clock is shifted."""
    file = tmp_path / "shift"
    file.write_text("0")
    return str(file)


@pytest.fixture
def shifted(tmp_path: Path, clock: str) -> Iterator[ChildServer]:
    """Children whose wall clock is shifted by the seconds in the file."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path / "clock_shift.so"
    source = Path(__file__).with_name("clock_shift.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True,
    )
    environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": clock}
    with ChildServer(environment=environment) as server:
        yield server


def jumps(chance: random.Random, count: int) -> list[int]:
    """Seconds to shift the clock by: mostly back, by up to a year."""
    return [chance.choice([-365, -30, -1, -1, 0, 1, 30]) * roles.DAY for _ in range(count)]


def test_versions(
    shm_url: str, shifted: ChildServer, clock: str, chance: random.Random, faults: Tally
) -> None:
    """Clock set back between two puts."""
    shifts = jumps(chance, faults.wanted)
    child = shifted.start(roles.put_while_the_clock_jumps, url=shm_url, file=clock, shifts=shifts)
    versions = child.receive()
    child.join()
    for trial in faults:
        assert versions[trial] not in versions[:trial]
    assert versions == sorted(versions)


def test_conversation(
    shm_url: str, shifted: ChildServer, clock: str, chance: random.Random, faults: Tally
) -> None:
    """Clock of one side set back while two wait for each other."""
    shifts = jumps(chance, faults.wanted)
    child = shifted.start(
        roles.converse_while_the_clock_jumps, url=shm_url, file=clock, shifts=shifts
    )
    assert child.receive() == "ready"
    version = None
    with dv.open_store(shm_url) as store:
        for number in faults:
            store.put("ping", sealed(number, 10))
            value = store.wait("pong", PATIENCE, newer_than=version)
            version = value.version
            assert unsealed(value) == number
    child.join()


def test_a_jump_of_the_clock_does_not_change_a_deadline(
    shm_url: str, shifted: ChildServer, clock: str
) -> None:
    child = shifted.start(roles.wait_while_the_clock_jumps, url=shm_url, file=clock)
    assert child.receive() == "sound"
    child.join()


def test_stream(
    shm_url: str, shifted: ChildServer, clock: str, chance: random.Random, faults: Tally
) -> None:
    """Clock set back between two steps of a stream."""
    shifts = jumps(chance, faults.wanted)
    child = shifted.start(
        roles.stream_while_the_clock_jumps, url=shm_url, file=clock, shifts=shifts
    )
    assert child.receive() == "sound"
    child.join()
    for _ in faults:
        pass
