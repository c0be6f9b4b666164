"""What it costs to record a trace event; no peer of an engine, but measured beside it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dovetail import observe
from dovetail.bench.measure import Operation


@contextmanager
def recorder() -> Iterator[Mapping[str, Operation]]:
    """``record``: an event as a put records it, two readings of the clock included."""
    if observe.recording:  # of this very run: leave it alone
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as folder:

        def record(count: int) -> float:
            observe.start(folder)
            started = time.perf_counter()
            for _ in range(count):
                if observe.recording:
                    begin = time.time_ns()
                    observe.record(observe.PUT, "velocity/000120", begin, time.time_ns(), 8192, 0)
            seconds = time.perf_counter() - started
            observe.stop()
            return seconds

        yield {"record": record}
