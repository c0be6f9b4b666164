"""Ordinary ADIOS2 programs read what is written here, and write what is read here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pytest
from transport.engines.adios import programs

import dovetail as dv
from dovetail.testing.stream_fixtures import SOON
from dovetail.transport.contract import ReadStep, StreamWriter

pytestmark = [pytest.mark.requires("adios2"), pytest.mark.timeout(240)]

STEPS = 4
Program = Callable[..., Popen[str]]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def cpp_writer(tmp_path_factory: pytest.TempPathFactory) -> Program:
    program = programs.compiled(programs.CPP_WRITER, tmp_path_factory.mktemp("writer"))
    return lambda *arguments: programs.run(program, *arguments)


@pytest.fixture(scope="session")
def cpp_reader(tmp_path_factory: pytest.TempPathFactory) -> Program:
    program = programs.compiled(programs.CPP_READER, tmp_path_factory.mktemp("reader"))
    return lambda *arguments: programs.run(program, *arguments)


@pytest.fixture(params=["python", "c++"])
def writer(request: pytest.FixtureRequest) -> Program:
    if request.param == "python":
        return lambda *arguments: programs.python(programs.WRITER, *arguments)
    return request.getfixturevalue("cpp_writer")  # type: ignore[no-any-return]


@pytest.fixture(params=["python", "c++"])
def reader(request: pytest.FixtureRequest) -> tuple[str, Program]:
    if request.param == "python":
        return "python", lambda *arguments: programs.python(programs.READER, *arguments)
    return "c++", request.getfixturevalue("cpp_reader")


def produce(out: StreamWriter) -> None:
    for k in range(STEPS):
        with out.step(attrs={"k": k}) as step:
            step["u"] = np.arange(12.0).reshape(3, 4) + k
            step["f"] = np.asfortranarray([[0, 1, 2], [3, 4, 5]])
            step["h"] = np.full(3, 0.5, np.float16)
            step["z"] = np.array(1j * k)


def check_printed(kind: str, lines: list[str]) -> None:
    if kind == "python":
        assert lines == [f"{k} (3, 4) {66.0 + 12 * k} {complex(1j * k)}" for k in range(STEPS)]
    else:
        assert lines == [f'{{"k":{k}}} 3x4 {66 + 12 * k} {k}' for k in range(STEPS)]


def check_read(steps: Iterator[ReadStep]) -> None:
    seen = 0
    for k, step in enumerate(steps):
        field = np.arange(12.0).reshape(3, 4) + k
        assert np.array_equal(step["u"], field)
        assert np.array_equal(step.read("u", (1, 1), (2, 2)), field[1:3, 1:3])
        assert step["count"].shape == ()
        assert step["count"] == k
        assert step["local"].tolist() == [k, k]
        attrs: dict[str, Any] = dict(step.attrs)
        assert attrs["note"] == f"step {k}"
        assert attrs["units"] == "K"
        assert attrs["spacing"] == [0.5, 0.25]
        assert set(step) == {"u", "count", "local"}
        seen += 1
    assert seen == STEPS


# --- BP5 ---------------------------------------------------------------------------------------


def test_an_ordinary_program_reads_a_recording(reader: tuple[str, Program], tmp_path: Path) -> None:
    kind, start = reader
    with dv.open_stream(f"bp5://{tmp_path}/run.bp?record=yes", "w") as out:
        produce(out)
    check_printed(kind, programs.finished(start("BP5", tmp_path / "run.bp")))


def test_an_ordinary_program_reads_what_went_through_a_stream(
    reader: tuple[str, Program], tmp_path: Path
) -> None:
    kind, start = reader
    with dv.open_stream(f"bp5://{tmp_path}/run.bp", "w", policy=dv.buffered(STEPS)) as out:
        produce(out)
    check_printed(kind, programs.finished(start("BP5", tmp_path / "run.bp" / "1")))


def test_a_file_of_an_ordinary_program_is_a_stream(writer: Program, tmp_path: Path) -> None:
    programs.finished(writer("BP5", tmp_path / "theirs.bp", STEPS))
    url = f"bp5://{tmp_path}/theirs.bp"
    with dv.open_stream(url, "r") as steps:
        check_read(steps)
    assert dv.describe_stream(url).steps_complete == STEPS
    with pytest.raises(dv.StreamBusyError):
        dv.open_stream(f"{url}?record=yes", "w")


def test_blocks_that_leave_a_gap_are_an_error_in_a_file_of_others_too(tmp_path: Path) -> None:
    programs.finished(programs.python(programs.WRITER, "BP5", tmp_path / "gap.bp", 1, "gap"))
    with dv.open_stream(f"bp5://{tmp_path}/gap.bp", "r") as steps:
        step = next(steps)
        assert step.read("u", (0, 0), (2, 4)).shape == (2, 4)
        with pytest.raises(dv.CoverageError, match="u"):
            step["u"]


def test_a_file_that_another_program_has_not_ended_is_silent(tmp_path: Path) -> None:
    programs.finished(programs.python(programs.WRITER, "BP5", tmp_path / "open.bp", STEPS, "dies"))
    with dv.open_stream(f"bp5://{tmp_path}/open.bp", "r", timeout=SOON) as steps:
        for _ in range(STEPS):
            next(steps)
        with pytest.raises(dv.TransportTimeoutError):
            next(steps)


# --- SST ---------------------------------------------------------------------------------------


@pytest.fixture
def name() -> str:
    return f"interop-{os.getpid()}-{next(_numbers)}"


def test_an_ordinary_program_reads_a_stream(
    reader: tuple[str, Program], name: str, tmp_path: Path
) -> None:
    kind, start = reader
    program = start("SST", tmp_path / name)
    with dv.open_stream(f"sst://{name}?contact={tmp_path}&recipe=sync", "w") as out:
        produce(out)
    check_printed(kind, programs.finished(program))
    assert list(tmp_path.glob(f"{name}*")) == []


def test_a_stream_of_an_ordinary_program_is_read(
    writer: Program, name: str, tmp_path: Path
) -> None:
    program = writer("SST", tmp_path / name, STEPS)
    with dv.open_stream(f"sst://{name}?contact={tmp_path}", "r") as steps:
        check_read(steps)
    programs.finished(program)
