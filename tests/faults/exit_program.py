"""Leaves threads at work in the native core, and ends."""

from __future__ import annotations

import contextlib
import sys
import threading

import numpy as np

import dovetail as dv

url = sys.argv[1]
out = dv.open_stream(url, "w", policy=dv.buffered(2))
reader = dv.open_stream(url, "r")
store = dv.open_store(f"{url}-store")
turns = threading.Semaphore(0)


def write() -> None:
    """One step after another, waiting for the reader."""
    while True:
        with out.step() as step:
            step["a"] = np.zeros(100_000)


def read() -> None:
    """One step after another, waiting for the writer."""
    for _ in reader:
        turns.release()


def wait() -> None:
    """For what never comes."""
    while True:
        with contextlib.suppress(dv.TransportTimeoutError):
            store.wait("never", 0.01)
        turns.release()


for target in (write, read, wait, wait):
    threading.Thread(target=target, daemon=True).start()
for _ in range(20):
    turns.acquire()
