"""The targets of the design, and whether each holds in a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dovetail.bench.measure import Label, Measurement

KiB, MiB = 1 << 10, 1 << 20

Results = dict[Label, Measurement]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, and what the run says of it."""

    target: str
    measured: str
    """In words; why there is no figure, where there is none."""
    holds: bool | None
    """``None`` if the run did not measure what it takes, or there is nothing to hold."""


def judge(benchmark: str, measurements: Sequence[Measurement]) -> list[Verdict]:
    """Every target of a benchmark (``store``, ``stream`` or ``learn``), judged by one run."""
    results = {measurement.label: measurement for measurement in measurements}
    verdicts = []
    for target, check in _TARGETS[benchmark]:
        try:
            measured, holds = check(results)
        except KeyError as error:
            label: Label = error.args[0]
            missing = f"{label.peer}, {label.operation} of {label.nbytes} bytes"
            verdicts.append(Verdict(target, f"not measured: {missing}", None))
        else:
            verdicts.append(Verdict(target, measured, holds))
    return verdicts


def best_memcpy(results: Results, nbytes: int) -> float:
    """Seconds of the faster of the two ways to copy, over as many targets as the engine has."""
    return min(
        results[Label("memcpy", operation, nbytes)].median for operation in ("copyto", "memmove")
    )


def _of_memcpy(operation: str, nbytes: int) -> Callable[[Results], tuple[str, bool]]:
    def check(results: Results) -> tuple[str, bool]:
        ours = results[Label("shm", operation, nbytes)].median
        ratio = best_memcpy(results, nbytes) / ours
        one, shared = (
            results[Label("memcpy", name, nbytes)].median / ours
            for name in ("one target", "shared")
        )
        return (
            f"{ratio:.2f} of memcpy ({shared:.2f} into shared memory, {one:.2f} into one target)",
            ratio >= 0.75,
        )

    return check


def _reserve(results: Results) -> tuple[str, bool]:
    small = results[Label("shm", "reserve", KiB)].median
    large = results[Label("shm", "reserve", 8 * MiB)].median
    copy = best_memcpy(results, 8 * MiB)
    text = f"{large * 1e6:.1f} µs at 8 MiB, {small * 1e6:.1f} µs at 1 KiB"
    return text, large < 0.1 * copy or large < 2 * small


def _get(results: Results) -> tuple[str, bool]:
    gets = [
        measurement
        for label, measurement in results.items()
        if (label.peer, label.operation) == ("shm", "get")
    ]
    if not gets:
        raise KeyError(Label("shm", "get", KiB))
    slowest = max(gets, key=lambda measurement: measurement.median)
    text = f"{slowest.median * 1e6:.1f} µs at most, at {slowest.label.nbytes} bytes"
    return text, slowest.median <= 10e-6


def _small_put_get(results: Results) -> tuple[str, bool]:
    median = results[Label("shm", "put+get", KiB)].median
    return f"{median * 1e6:.1f} µs", median <= 15e-6


def _beside_redis(results: Results) -> tuple[str, bool]:
    ours = results[Label("shm", "put+get", KiB)].median
    theirs = min(
        (
            results[label].median
            for label in (Label(peer, "put+get", KiB) for peer in ("redis", "redis by hand"))
            if label in results
        ),
        default=None,
    )
    if theirs is None:
        raise KeyError(Label("redis", "put+get", KiB))
    return f"{theirs / ours:.1f} × faster", theirs >= 10 * ours


def _one_way(results: Results) -> tuple[str, bool]:
    ours = results[Label("shm", "one way", KiB)].median
    theirs = results[Label("unix socket", "one way", KiB)].median
    return (
        f"{ours / theirs:.2f} × ({ours * 1e6:.1f} µs and {theirs * 1e6:.1f} µs)",
        ours <= 1.5 * theirs,
    )


def _observed(results: Results) -> tuple[str, bool]:
    from dovetail.bench.peers.engine import SIMULATED_STEP

    inside = results[Label("shm", "observed", MiB)].median
    share = inside / (SIMULATED_STEP + inside)
    return f"{100 * share:.2f} %", share <= 0.02


def _trace(results: Results) -> tuple[str, bool]:
    median = results[Label("observe", "record", 0)].median
    return f"{median * 1e6:.2f} µs", median <= 1e-6


def _samples_a_second(results: Results) -> tuple[str, None]:
    """From the reservoir, each sample again and again, and from memory; no target by itself."""
    texts = []
    for label, theirs in results.items():
        if (label.peer, label.operation) == ("in memory", "drawn"):
            ours = results[Label("shm", "drawn", label.nbytes)]
            rates = f"{1 / ours.median:,.0f} ({1 / theirs.median:,.0f})"
            texts.append(f"{rates} of {label.nbytes >> 10} KiB")
    if not texts:
        raise KeyError(Label("in memory", "drawn", 32 * KiB))
    return ", ".join(texts), None


def _starvation(results: Results) -> tuple[str, bool]:
    share, sizes = _worst_share(results, "starved")
    return f"{100 * share:.2f} % at the most, of {sizes} sizes that are fast enough", share <= 0.05


def _fetching(results: Results) -> tuple[str, None]:
    share, _ = _worst_share(results, "fetched")
    return f"{100 * share:.1f} % at the most, at the same sizes", None


def _worst_share(results: Results, operation: str) -> tuple[float, int]:
    """The largest share of a gradient step, and how many sizes it is of.

    They are those at which samples come twice as fast as they are needed, or faster.
    """
    from dovetail.bench.peers.learning import BATCH_OF_STEP, GRADIENT_STEP

    shares = []
    for label, measurement in results.items():
        if (label.peer, label.operation) == ("shm", operation):
            each = results[Label("shm", "each once", label.nbytes)].median
            if 2 * each * BATCH_OF_STEP <= GRADIENT_STEP:
                shares.append(measurement.median / (GRADIENT_STEP + measurement.median))
    if not shares:
        raise KeyError(Label("shm", operation, 32 * KiB))
    return max(shares), len(shares)


_TARGETS: dict[str, list[tuple[str, Callable[[Results], tuple[str, bool | None]]]]] = {
    "store": [
        ("put, 8 MB: at least 0.75 of memcpy into touched memory", _of_memcpy("put", 8 * MiB)),
        ("reserve: no copy", _reserve),
        ("get, any size: zero-copy, at most 10 µs", _get),
        ("put+get, 1 KB: at most 15 µs", _small_put_get),
        ("put+get, 1 KB: at least 10 × faster than Redis over a Unix socket", _beside_redis),
        ("a trace event: at most 1 µs", _trace),
    ],
    "stream": [
        ("32 MB steps, delivered: at least 0.75 of memcpy", _of_memcpy("delivered", 32 * MiB)),
        ("1 KB step, one way: at most 1.5 × a bare Unix socket", _one_way),
        ("1 MB a step, 5 ms steps: at most 2 % of the time inside stream calls", _observed),
    ],
    "learn": [
        (
            "a simulation that is fast enough: its trainer starves at most 5 % of the time",
            _starvation,
        ),
        ("its trainer's time to get a batch, as a share of 5 ms and that", _fetching),
        ("samples a second from stream to batch (from a loader in memory)", _samples_a_second),
    ],
}
