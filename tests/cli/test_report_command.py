"""``dovetail report``, as a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dovetail as dv


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flow = dv.Workflow("short", components={"hello": {"command": ["echo", "hello"]}})
    return flow.run(tmp_path_factory.mktemp("runs") / "short").directory


def test_the_report_is_drawn_and_summarized(dovetail: Any, run: Path) -> None:
    (run / "report.html").unlink(missing_ok=True)
    lines = dovetail.output("report", run).splitlines()
    assert lines[0].startswith("short: succeeded after ")
    assert lines[-1] == f"report: {run / 'report.html'}"
    assert "hello" in (run / "report.html").read_text()


def test_as_json(dovetail: Any, run: Path) -> None:
    document = dovetail.json("report", run)
    assert document["report"] == str(run / "report.html")
    assert document["components"][0]["name"] == "hello"


def test_what_is_no_run_is_one_sentence(dovetail: Any, tmp_path: Path) -> None:
    done = dovetail("report", tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert "is not the directory of a run" in line


def test_the_summary_is_there_even_if_the_page_cannot_be_written(dovetail: Any, run: Path) -> None:
    page = run / "report.html"
    page.unlink(missing_ok=True)
    page.mkdir()
    try:
        done = dovetail("report", run)
    finally:
        page.rmdir()
    assert done.returncode == 1
    assert done.stdout.decode().startswith("short: succeeded after ")
    (line,) = done.stderr.decode().splitlines()
    assert "report.html" in line
