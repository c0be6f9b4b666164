"""Workflows of the components in ``parts.py``, run for real, and what must be gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dovetail as dv
from dovetail.flow import inside, processes

HERE = Path(__file__).parent


@pytest.fixture
def workflow() -> Callable[..., dv.Workflow]:
    """Makes a workflow of components given as keyword arguments."""

    def make(
        streams: dict[str, str] | None = None,
        stores: dict[str, str] | None = None,
        grace: float = 5.0,
        **components: dict[str, Any],
    ) -> dv.Workflow:
        return dv.Workflow(
            "test",
            components=components,
            streams=streams or {},
            stores=stores or {},
            grace=grace,
            folder=HERE,
        )

    return make


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """A directory for one run, of which nothing may be left outside of it."""
    directory = tmp_path / f"run-{id(tmp_path):x}"
    yield directory
    assert_nothing_left(directory)


def assert_nothing_left(directory: Path) -> None:
    """No process, no shared memory, no half-written file of this run."""
    assert processes.everywhere({inside.RUN: str(directory)}) == []
    assert list(Path("/dev/shm").glob(f"dovetail-*/{directory.name}*")) == []
    assert list(directory.glob(".*")) == []
