"""What child processes do in tests of relays."""

from __future__ import annotations

import threading

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.transport.relay import StoreRelay, relay_stream


def carry_stream(
    channel: Channel, source: str, destination: str, timeout: float | None = 60
) -> None:
    """Carry a stream to its end; say what was carried, or what went wrong."""
    try:
        channel.send(list(relay_stream(source, destination, timeout=timeout)))
    except dv.DovetailError as error:
        channel.send([type(error).__name__, str(error)])


def carry_store(
    channel: Channel,
    source: str,
    destination: str,
    lists: list[str],
    prefix: str | None = "",
    timeout: float | None = 60,
) -> None:
    """Carry a store until killed."""
    with (
        dv.open_store(source, timeout=timeout) as here,
        dv.open_store(destination, timeout=timeout) as there,
        StoreRelay(here, there, prefix, lists) as relay,
    ):
        channel.send("ready")
        while True:
            relay.carry()
            relay.wait(0.05, threading.Event())
