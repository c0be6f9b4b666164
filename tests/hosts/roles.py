"""What processes on hosts do, beyond the roles that ship with the contracts."""

from __future__ import annotations

import itertools
import socket
from typing import Any

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.stream_fixtures import write
from dovetail.testing.stream_roles import policy_of
from dovetail.testing.values import sealed, unsealed


def write_steps(
    channel: Channel,
    url: str,
    policy: list[Any],
    numbers: list[int],
    count: int = 1000,
    timeout: float | None = 60,
    readers: int = 1,
) -> None:
    """Write sealed steps; say when each is accepted, and when all is done."""
    with dv.open_stream(
        url, "w", policy=policy_of(*policy), timeout=timeout, readers=readers
    ) as out:
        for number in range(*numbers):
            write(out, number, count)
            channel.send(number)
    channel.send("done")


def write_for_ever(channel: Channel, url: str, policy: list[Any]) -> None:
    """Write sealed steps until killed."""
    with dv.open_stream(url, "w", policy=policy_of(*policy), readers=1) as out:
        for number in itertools.count():
            write(out, number)


def read_steps(
    channel: Channel, url: str, timeout: float | None = 60, group: str | None = None
) -> None:
    """Read sealed steps to the end; say each number, and how it ended."""
    with dv.open_stream(url, "r", timeout=timeout, group=group) as reader:
        try:
            for step in reader:
                number = unsealed(step)
                assert step.attrs["number"] == number
                channel.send(number)
        except dv.DovetailError as error:
            channel.send([type(error).__name__, str(error)])
            return
    channel.send("end")


def put_and_list(
    channel: Channel,
    url: str,
    name: str,
    numbers: list[int],
    count: int = 1000,
    timeout: float | None = 60,
) -> None:
    """Put sealed values, and append their keys to a list."""
    with dv.open_store(url, timeout=timeout) as store:
        channel.send("ready")
        for number in range(*numbers):
            key = f"{name}/{number}"
            store.put(key, sealed(number, count))
            store.append("done", key)
            channel.send(number)
    channel.send("done")


def follow_value(channel: Channel, url: str, key: str, timeout: float | None = 60) -> None:
    """Read one key again and again, whole each time, until it holds a negative number."""
    last = -1
    with dv.open_store(url, timeout=timeout) as store:
        channel.send("ready")
        version = None
        while True:
            value = store.wait(key, timeout, newer_than=version)
            version = value.version
            number = unsealed(value)
            if number < 0:
                break
            assert number >= last, f"{number} after {last}"
            last = number
    channel.send(last)


def replace_value(
    channel: Channel,
    url: str,
    key: str,
    count: int,
    seconds: float | None = None,
    timeout: float | None = 60,
) -> None:
    """Replace one key with ever higher numbers until told to end; then by a negative one."""
    with dv.open_store(url, timeout=timeout) as store:
        channel.send("ready")
        for number in itertools.count():
            if channel.waiting():
                channel.receive()
                break
            store.put(key, sealed(number, count))
        store.put(key, sealed(-1, 3))
    channel.send(number)


def attempt(channel: Channel, url: str, timeout: float) -> None:
    """Get a value when told to: once within a deadline, or again until it comes."""
    with dv.open_store(url, timeout=timeout) as store:
        store.put("u", sealed(7, 1000))
        channel.send("ready")
        while (order := channel.receive()) != "end":
            outcome = _attempt(store)
            while order == "again" and outcome[0] != "value":
                outcome = _attempt(store)
            channel.send(outcome)


def _attempt(store: dv.Store) -> list[Any]:
    try:
        return ["value", unsealed(store.get("u"))]
    except dv.DovetailError as error:
        return [type(error).__name__, str(error)]


def take_listed(channel: Channel, url: str, count: int, timeout: float | None = 100) -> None:
    """Take what a list names, in order, each whole; say every tenth, and the end."""
    with dv.open_store(url, timeout=timeout) as store:
        for number in range(count):
            (item, *_) = store.wait_items("done", 1, timeout, start=number)
            assert item == f"case/{number}"
            assert unsealed(store.get(item)) == number
            if number and number % 10 == 0:
                channel.send(number)
    channel.send("all")


def list_items(channel: Channel, url: str, name: str = "done") -> None:
    """Say what a list holds."""
    with dv.open_store(url) as store:
        channel.send(store.items(name))


def append_numbers(channel: Channel, url: str, count: int, timeout: float | None = 100) -> None:
    """Append so many numbers to one list, under the name of this host."""
    host = socket.gethostname()
    with dv.open_store(url, timeout=timeout) as store:
        channel.send("ready")
        for number in range(count):
            store.append("numbers", f"{host}-{number}")
    channel.send("done")


def count_versions(channel: Channel, url: str, key: str, timeout: float | None = 100) -> None:
    """Say so whenever two newer values of a key were seen, until killed."""
    with dv.open_store(url, timeout=timeout) as store:
        version = None
        while True:
            for _ in range(2):
                version = store.wait(key, timeout, newer_than=version).version
            channel.send("seen")


def read_listed(channel: Channel, url: str, count: int, timeout: float | None = 60) -> None:
    """Say the numbers of the values that a list names."""
    with dv.open_store(url, timeout=timeout) as store:
        items = store.wait_items("done", count, timeout)
        channel.send([unsealed(store.get(item)) for item in items])
