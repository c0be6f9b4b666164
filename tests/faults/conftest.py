"""Faults are counted: so many of a kind, so many of them sound."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest
from faults.engines import Engines, count_for, engine_of
from faults.tally import Tally

from dovetail.testing.child_fixtures import session_server
from dovetail.testing.children import ChildServer

COUNT, SOAK_COUNT = 100, 2_000
"""Faults of a kind in an ordinary run, and with ``--soak``."""
SECONDS_EACH = 1.5
"""The most that one fault may take on average before its test is stopped."""


_TALLIES = pytest.StashKey[list[Tally]]()


def wanted(config: pytest.Config) -> int:
    """How many faults of a kind this run causes."""
    default = SOAK_COUNT if config.getoption("soak", default=False) else COUNT
    return int(os.environ.get("DOVETAIL_FAULT_COUNT", default))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seconds = max(120.0, wanted(config) * SECONDS_EACH)
    for item in items:
        if item.path.parent.name == "faults" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(seconds))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tallies", metavar="FILE", help="also write the counts of faults as JSON")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("tallies", default=None)
    if file:
        tallies = session.config.stash.get(_TALLIES, [])
        Path(file).write_text(json.dumps([asdict(tally) for tally in tallies], indent=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tallies = terminalreporter.config.stash.get(_TALLIES, [])
    if tallies:
        terminalreporter.section("faults")
        for tally in tallies:
            terminalreporter.write_line(str(tally), red=tally.sound < tally.wanted)


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Tally:
    """The faults of one test, of the kind that its first line says."""
    title = (request.function.__doc__ or request.node.name).strip().splitlines()[0].rstrip(".")
    parameters = getattr(request.node, "callspec", None)
    kind = f"{title} [{parameters.id}]" if parameters else title
    count = wanted(request.config)
    if parameters and "engine" in parameters.params:
        count = count_for(parameters.params["engine"], count)
    policy = parameters.params.get("policy") if parameters else None
    tally = Tally(kind, count, title=title, engine=engine_of(request.node))
    tally.policy = None if policy is None else str(policy)
    request.config.stash.setdefault(_TALLIES, []).append(tally)
    return tally


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random moments; the seed can be set to repeat a run."""
    seed = os.environ.get("DOVETAIL_FAULT_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"DOVETAIL_FAULT_SEED={seed}")
    return random.Random(f"{seed}{request.node.name}")


@pytest.fixture
def children(request: pytest.FixtureRequest) -> Iterator[ChildServer]:
    """Starts processes; those that still run after the test are killed."""
    server = session_server(request)
    yield server
    server.close_children()


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """The engines that fault tests run on."""
    with ExitStack() as stack:
        yield Engines(tmp_path_factory.mktemp("engines"), stack)
