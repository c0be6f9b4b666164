"""The child processes that tests use are real, and say how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from dovetail.testing.children import (
    Channel,
    ChildDiedError,
    ChildFailedError,
    ChildServer,
    wait_until,
)


@pytest.fixture
def server() -> Iterator[ChildServer]:
    with ChildServer() as server:
        yield server


def echo(channel: Channel, word: str) -> None:
    channel.send([word, os.getpid()])
    channel.send(channel.receive())


def fail(channel: Channel) -> None:
    raise ZeroDivisionError("on purpose")


def wait_for_ever(channel: Channel) -> None:
    channel.send("ready")
    channel.receive(timeout=600)


def test_a_child_talks(server: ChildServer) -> None:
    child = server.start(echo, word="ü")
    assert child.receive() == ["ü", child.pid]
    child.send({"a": [1, None]})
    assert child.receive() == {"a": [1, None]}
    child.join()


def test_a_child_that_fails_says_why(server: ChildServer) -> None:
    with pytest.raises(ChildFailedError, match="on purpose"):
        server.start(fail).receive()
    with pytest.raises(ChildFailedError, match="on purpose"):
        server.start(fail).join()


def test_a_killed_child_is_gone(server: ChildServer) -> None:
    child = server.start(wait_for_ever)
    assert child.receive() == "ready"
    assert child.alive()
    child.kill()
    assert not child.alive()
    with pytest.raises(ChildDiedError, match="SIGKILL"):
        child.receive()


def leave(channel: Channel) -> None:
    os._exit(7)


def test_a_child_that_leaves_without_a_word_is_told_by_its_status(server: ChildServer) -> None:
    with pytest.raises(ChildDiedError, match="exit status 7"):
        server.start(leave).receive()
    with pytest.raises(ChildDiedError, match="exit status 7"):
        server.start(leave).join()


def test_a_child_stops_and_goes_on(server: ChildServer) -> None:
    child = server.start(echo, word="x")
    child.receive()
    child.suspend()
    child.send("y")
    with pytest.raises(TimeoutError):
        child.receive(timeout=0.02)
    child.resume()
    assert child.receive() == "y"
    child.join()


def wait_beside(channel: Channel) -> None:
    """Say who the server is, and wait for ever."""
    channel.send(os.getppid())
    channel.receive(timeout=600)


def test_children_die_with_their_server(server: ChildServer) -> None:
    child = server.start(wait_beside)
    os.kill(child.receive(), signal.SIGKILL)
    wait_until(lambda: not child.alive(), "the child to die with its server")


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match="the impossible"):
        wait_until(lambda: False, "the impossible", timeout=0.01)
