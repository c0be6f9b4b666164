"""What child processes do in the stream contract and in fault tests."""

from __future__ import annotations

import itertools
from typing import Any

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.store_roles import Ledger
from dovetail.testing.values import sealed, unsealed

PRODUCER, FIRST_READER = 0, 1
"""Slots of a ledger: the last step that the producer ended; what each reader last saw."""


def policy_of(kind: str, window: int) -> dv.Policy:
    """A policy from what a message can hold."""
    return dv.Policy(kind, window)  # type: ignore[arg-type]


def produce(
    channel: Channel,
    url: str,
    policy: list[Any],
    ledger: str,
    sizes: list[int],
    steps: int | None = None,
    timeout: float = 60,
    slots: int = 8,
) -> None:
    """Write sealed steps 0, 1, 2 … and note each one that is complete."""
    notes = Ledger(ledger, slots)
    with dv.open_stream(url, "w", policy=policy_of(*policy), timeout=timeout) as out:
        channel.send("ready")
        for number in itertools.count() if steps is None else range(steps):
            count = sizes[number % len(sizes)]
            with out.step(attrs={"number": number}) as step:
                if number % 3 == 0:
                    payload = step.empty("payload", (count,), "i8")
                    payload[:] = number
                    step["seal"] = sealed(number, count)["seal"]
                else:
                    for name, array in sealed(number, count).items():
                        step[name] = array
            notes.slots[PRODUCER] = number + 1
    channel.send("done")


def consume(
    channel: Channel,
    url: str,
    ledger: str,
    slot: int = FIRST_READER,
    timeout: float = 60,
    slots: int = 8,
    hold: int = 2,
) -> None:
    """Read and check steps to the end, always holding the last few; send what was seen."""
    notes = Ledger(ledger, slots)
    seen: list[int] = []
    held: list[tuple[int, Any]] = []
    outcome = "end"
    with dv.open_stream(url, "r", timeout=timeout) as reader:
        channel.send("ready")
        try:
            for step in reader:
                number = unsealed(step)
                if number != step.attrs["number"] or number != step.index:
                    raise AssertionError(f"{number}, {step.attrs}, {step.index}")
                seen.append(number)
                notes.slots[slot] = number + 1
                held.append((number, step["payload"]))
                if len(held) > hold:
                    number, payload = held.pop(0)
                    if not (payload == number).all():
                        raise AssertionError(f"step {number} changed in hand")
        except (dv.PeerLostError, dv.ReaderExpelledError, dv.TransportTimeoutError) as error:
            outcome = type(error).__name__
        for number, payload in held:
            if not (payload == number).all():
                raise AssertionError(f"step {number} changed in hand at the end")
    channel.send([outcome, seen])


def produce_and_fail(channel: Channel, url: str, steps: int) -> None:
    """Write some steps, then leave by an exception."""
    try:
        with dv.open_stream(url, "w", policy=dv.buffered(steps)) as out:
            for number in range(steps):
                with out.step(attrs={"number": number}) as step:
                    for name, array in sealed(number, 100).items():
                        step[name] = array
            raise ZeroDivisionError
    except ZeroDivisionError:
        channel.send("failed")


def take_and_hold(channel: Channel, url: str) -> None:
    """Take one step in hand, and hold it until told to go on; say what came of it."""
    with dv.open_stream(url, "r") as reader:
        channel.send("ready")
        step = next(reader)
        channel.send(unsealed(step))
        channel.receive()
        try:
            following = next(reader)
            channel.send(["step", unsealed(following), unsealed(step)])
        except dv.DovetailError as error:
            channel.send([type(error).__name__, str(error), unsealed(step)])
