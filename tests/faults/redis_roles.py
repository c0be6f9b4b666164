"""What child processes do in the fault tests of the Redis engine."""

from __future__ import annotations

import os
import signal

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.transport.engines.redis.store import RedisStore


def hang_on(channel: Channel, url: str, names: list[str]) -> None:
    """Give signs of life under some names until killed."""
    store = dv.open_store(url)
    assert isinstance(store, RedisStore)
    lines = [store.lifelines.lifeline(name) for name in names]
    channel.send("ready")
    signal.pause()
    del lines


def fork_and_die(channel: Channel, url: str, name: str) -> None:
    """Hang on, fork, and wait to be killed; the child works with the store and stays a while."""
    store = dv.open_store(url)
    assert isinstance(store, RedisStore)
    line = store.lifelines.lifeline(name)
    store.put("before", 1)
    channel.send("ready")
    pid = os.fork()
    if pid == 0:
        try:
            store.put(f"of the child of {name}", 2)
            assert store.get_array("before") == 1
            store.wait(f"end{name.removeprefix('parent')}", 60)
        finally:
            os._exit(0)
    store.wait(f"of the child of {name}", 60)
    assert store.get_array("before") == 1
    channel.send("both")
    signal.pause()
    del line
