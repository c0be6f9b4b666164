"""Runs to be reported on: real ones, and directories whose every number is known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import dovetail as dv
from dovetail import observe
from dovetail.flow.record import ComponentRecord, RankRecord, RunRecord

HERE = Path(__file__).parent
SECOND = 1_000_000_000


def run(output: Path, components: dict[str, Any], **parts: Any) -> Path:
    """Run a workflow of the components in ``parts.py``; the directory it leaves."""
    flow = dv.Workflow("test", components=components, folder=HERE, grace=5.0, **parts)
    try:
        flow.run(output)
    except dv.WorkflowFailedError:
        pass
    return output


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranks that simulate, one that learns, one that uses what was learned; one restart."""
    return run(
        tmp_path_factory.mktemp("report") / f"learned-{os.getpid()}",
        {
            "simulation": {
                "function": "parts:simulate",
                "process_count": 2,
                "writes": ["fields"],
            },
            "trainer": {"function": "parts:train", "reads": ["fields"], "stores": ["models"]},
            "user": {"function": "parts:follow", "stores": ["models"]},
            "shaky": {"function": "parts:fail_once", "on_failure": "restart(1)"},
        },
        streams={"fields": "shm://?capacity=64MiB"},
        stores={"models": "shm://"},
    )


@dataclass
class Staged:
    """A run of this very process, from a moment on, for 100 seconds."""

    directory: Path
    started_ns: int

    def record(
        self, kind: int, name: str, start: float, seconds: float, nbytes: int = 0, wait: float = 0.0
    ) -> None:
        """An event that many seconds after the start."""
        begin = self.started_ns + round(start * SECOND)
        observe.record(
            kind, name, begin, begin + round(seconds * SECOND), nbytes, round(wait * SECOND)
        )


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Staged]:
    """A run whose only component, "me", is this process; what is recorded belongs to it."""
    started = float(round(time.time()) - 200)
    me = ComponentRecord(service=False, ranks=1, status="done", started=started, exit=0)
    me.ended = started + 100
    me.attempts = [RankRecord(0, 0, os.getpid(), started, started + 100, 0)]
    RunRecord(
        "staged",
        "succeeded",
        None,
        started,
        started + 100,
        dv.__version__,
        "here",
        os.getpid(),
        {"me": me},
        {"fields": "shm://staged?capacity=1MiB"},
        {"models": "shm://models"},
        {
            "streams": {"fields": {"writer": "me", "readers": []}},
            "stores": {"models": ["me"]},
        },
    ).write(tmp_path)
    # The recording of this process may be under way for all tests.
    recording, before = observe.recording, os.environ.get("DOVETAIL_TRACE")
    observe.start(tmp_path / "trace")
    yield Staged(tmp_path, round(started * SECOND))
    observe.stop()
    if recording and before:
        observe.start(before)


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "path"):
            self.open.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def parse() -> Callable[[Path], Page]:
    """Reads a page back."""

    def read(path: Path) -> Page:
        return Page(path.read_text(encoding="utf-8"))

    return read
