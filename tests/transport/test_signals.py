"""Signals that come while the native core waits."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import numpy as np
import pytest

import dovetail as dv


@pytest.fixture
def alarms() -> Iterator[None]:
    """Whatever a test makes of SIGALRM and its timer is undone."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarms")
def test_a_handler_may_use_the_store_that_waits(shm_url: str) -> None:
    handled = 0
    with dv.open_store(shm_url) as store:

        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal handled
            handled += 1
            with pytest.raises(dv.TransportTimeoutError):
                store.wait("never", 0.01)
            if handled == 3:
                store.put("awaited", np.arange(3.0))

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        assert store.wait("awaited", 30)["value"].sum() == 3.0
    assert handled >= 3


@pytest.mark.usefixtures("alarms")
def test_what_a_handler_raises_ends_the_wait(shm_url: str) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with dv.open_store(shm_url) as store:
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            store.wait("never", 30)
