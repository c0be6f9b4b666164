"""What every part of the stream contract stands on: a fresh stream, both ends, children."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import dovetail as dv
from dovetail.testing.child_fixtures import ChildFixtures, session_server
from dovetail.testing.children import ChildServer
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Capabilities, StreamReader, StreamWriter
from dovetail.transport.registry import engines

SOON = 0.05
"""A deadline for what must not happen."""

POLICIES = [dv.lockstep(), dv.buffered(1), dv.buffered(4), dv.latest(), dv.work_queue(3)]
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=str)


class StreamFixtures(ChildFixtures):
    """Fixtures of the stream contract. An engine's suite overrides :meth:`url`."""

    @pytest.fixture
    def url(self) -> str:
        """The URL of a stream that does not exist yet."""
        raise NotImplementedError("give the suite a fixture `url`: a stream not there yet")

    @pytest.fixture
    def stream(self, url: str, capabilities: Capabilities) -> Iterator[str]:
        """The URL, destroyed after the test."""
        yield url
        with contextlib.suppress(dv.DovetailError):
            dv.destroy_stream(url)

    @pytest.fixture
    def capabilities(self, url: str) -> Capabilities:
        """What the engine behind the URL declares."""
        scheme = url.split(":", 1)[0]
        (status,) = [status for status in engines() if status.scheme == scheme]
        assert status.capabilities.stream
        return status.capabilities

    @pytest.fixture
    def children(
        self, request: pytest.FixtureRequest, capabilities: Capabilities
    ) -> Iterator[ChildServer]:
        """Starts processes; those that still run after the test are killed."""
        if not capabilities.started_apart:
            pytest.skip("the engine joins only processes that one command has started")
        server = session_server(request)
        yield server
        server.close_children()

    @pytest.fixture
    def thread(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(8) as thread:
            yield thread


def need(capabilities: Capabilities, url: str, policy: dv.Policy) -> None:
    """Go on if the engine keeps `policy`; otherwise prove that it refuses it, and skip."""
    if policy.kind in capabilities.policies:
        return
    with pytest.raises(dv.CapabilityError):
        dv.open_stream(url, "w", policy=policy, timeout=SOON)
    pytest.skip(f"the engine refuses {policy}, as it declares")


def write(out: StreamWriter, number: int, count: int = 1000) -> None:
    """One step: a sealed value, with its number as an attribute."""
    with out.step(attrs={"number": number}) as step:
        for name, array in sealed(number, count).items():
            step[name] = array


def write_all(
    url: str, policy: dv.Policy, numbers: Iterable[int], count: int = 1000, **options: Any
) -> None:
    """Open, write a step for each number, close."""
    with dv.open_stream(url, "w", policy=policy, **options) as out:
        for number in numbers:
            write(out, number, count)


def read_all(reader: StreamReader) -> list[int]:
    """The numbers of all steps up to the end of the stream, each checked."""
    numbers = []
    for step in reader:
        number = unsealed(step)
        assert step.attrs["number"] == number
        numbers.append(number)
    return numbers


def open_and_read_all(url: str, **options: Any) -> list[int]:
    """Open, read to the end, close."""
    with dv.open_stream(url, "r", **options) as reader:
        return read_all(reader)
