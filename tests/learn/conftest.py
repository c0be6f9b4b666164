"""What the tests of learning share: streams to learn from, and processes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
from learn.roles import write

import dovetail as dv
from dovetail.testing.child_fixtures import session_server
from dovetail.testing.children import ChildServer

NewURL = Callable[[], str]
Filled = Callable[..., str]
_numbers = itertools.count()


@pytest.fixture
def children(request: pytest.FixtureRequest) -> Iterator[ChildServer]:
    """Starts processes; those that still run after the test are killed."""
    server = session_server(request)
    yield server
    server.close_children()


@pytest.fixture
def new_url() -> Iterator[NewURL]:
    """Makes URLs of streams that no other test has; what is left of them is removed."""
    made: list[str] = []

    def new() -> str:
        made.append(f"shm://learn-{os.getpid()}-{next(_numbers)}")
        return made[-1]

    yield new
    for url in made:
        try:
            dv.destroy_stream(url)
        except dv.KeyNotFoundError:
            pass


@pytest.fixture
def url(new_url: NewURL) -> str:
    """One of them."""
    return new_url()


@pytest.fixture
def filled(new_url: NewURL) -> Filled:
    """Makes a stream that holds so many steps and has ended."""

    def fill(steps: int, simulation: str | None = None, first: int = 0) -> str:
        url = new_url()
        with dv.open_stream(url, "w", policy=dv.buffered(steps)) as out:
            for number in range(first, first + steps):
                write(out, number, simulation)
        return url

    return fill


@pytest.fixture(scope="session")
def trainers() -> Iterator[ChildServer]:
    """Starts processes that have torch already."""
    with ChildServer(["torch", "dovetail.learn.dataset"]) as server:
        yield server
