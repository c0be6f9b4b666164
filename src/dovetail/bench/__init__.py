"""Benchmarks: what an engine costs beside the limit of the machine and beside its peers.

One run measures everything it compares, interleaved, on one machine: a ratio never stands on
numbers of different days. ``dovetail bench store``, ``stream`` and ``learn`` print the table
and write the JSON.
"""

from dovetail.bench.measure import Measurement
from dovetail.bench.run import Report, bench_learn, bench_store, bench_stream

__all__ = ["Measurement", "Report", "bench_learn", "bench_store", "bench_stream"]
