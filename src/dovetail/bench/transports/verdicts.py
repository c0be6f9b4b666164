"""The targets of the design that a run of all transports can judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from dovetail.bench.measure import Measurement
from dovetail.bench.table import in_duration, in_size
from dovetail.bench.targets import Verdict
from dovetail.bench.transports.comparisons import Case, KiB, MiB
from dovetail.bench.transports.report import Overhead, case_of
from dovetail.bench.transports.running import Outcome

LARGE, SMALL = MiB, 64 * KiB
"""Bytes from which on the share counts, and up to which the time of an operation does."""
SHARE, SECONDS = 1.10, 50e-6
"""The most that our interface may cost over the engine driven by hand."""

Results = dict[tuple[str, Case], Measurement]
"""By comparison and case."""


def judge(outcomes: Sequence[Outcome], overheads: Sequence[Overhead], cores: int) -> list[Verdict]:
    """Every target, judged by one run.

    Overheads are judged where every process has a core of its own; between more processes than
    cores, the scheduler is what is measured.
    """
    judged = [over for over in overheads if over.case.producers + over.case.consumers <= cores]
    judged = [over for over in judged if over.comparison != "loading"]
    engines = list(dict.fromkeys(over.case.peer for over in judged))
    results = {
        (outcome.comparison.name, case_of(measurement)): measurement
        for outcome in outcomes
        for measurement in outcome.measurements
    }
    verdicts = []
    for engine in engines:
        own = [over for over in judged if over.case.peer == engine]
        verdicts += [_large(engine, own), _small(engine, own)]
    targets: list[tuple[str, Callable[[Results], tuple[str, bool]]]] = [
        ("sst, 1 KB step: at most 0.1 ms one way", _sst_latency),
        ("sst, any size: within 10 % of ADIOS2 tuned by hand", partial(_sst_tuned, judged)),
        ("shm, 32 MB steps: at least 8 × faster than SST as shipped", _beside_sst),
        (
            "shm, put+get, 1 KB: at least 10 × faster than Redis at its best",
            partial(_beside, "redis"),
        ),
        (
            "shm, put+get, 1 KB: at least 10 × faster than DragonHPC at its best",
            partial(_beside, "dragon"),
        ),
    ]
    for target, check in targets:
        try:
            verdicts.append(Verdict(target, *check(results)))
        except LookupError as error:
            verdicts.append(Verdict(target, f"not measured: {error.args[0]}", None))
    return verdicts


def _large(engine: str, overheads: Sequence[Overhead]) -> Verdict:
    target = f"{engine}, 1 MB and more: at most 10 % over the engine by hand"
    large = [over for over in overheads if over.case.nbytes >= LARGE]
    if not large:
        return Verdict(target, "not measured", None)
    worst = max(large, key=lambda over: over.ratio)
    within = sum(over.ratio <= SHARE for over in large)
    text = f"{within} of {len(large)} within it; {worst.ratio:.2f} × at worst ({_where(worst)})"
    return Verdict(target, text, within == len(large))


def _small(engine: str, overheads: Sequence[Overhead]) -> Verdict:
    target = f"{engine}, 64 KB and less: at most 50 µs over the engine by hand"
    small = [over for over in overheads if over.case.nbytes <= SMALL]
    if not small:
        return Verdict(target, "not measured", None)
    worst = max(small, key=lambda over: over.seconds)
    within = sum(over.seconds <= SECONDS for over in small)
    over = in_duration(abs(worst.seconds))
    sign = "-" if worst.seconds < 0 else "+"
    text = f"{within} of {len(small)} within it; {sign}{over} at worst ({_where(worst)})"
    return Verdict(target, text, within == len(small))


def _where(over: Overhead) -> str:
    return f"{over.comparison}, {over.case.operation}, {in_size(over.case.nbytes)}"


def _sst_latency(results: Results) -> tuple[str, bool]:
    median = _median(results, "streaming", Case("sst", "one way", KiB, 1, 1))
    return in_duration(median), median <= 1e-4


def _sst_tuned(overheads: Sequence[Overhead], _: Results) -> tuple[str, bool]:
    own = [over for over in overheads if over.case.peer == "sst"]
    if not own:
        raise LookupError("sst beside ADIOS2 by hand")
    worst = max(own, key=lambda over: over.ratio)
    return f"{worst.ratio:.2f} × at worst ({_where(worst)})", worst.ratio <= SHARE


def _beside_sst(results: Results) -> tuple[str, bool]:
    ours, theirs = (
        _median(results, "streaming", Case(peer, "delivered", 32 * MiB, 1, 1))
        for peer in ("shm", "sst as shipped")
    )
    return f"{theirs / ours:.1f} × faster", theirs >= 8 * ours


def _beside(engine: str, results: Results) -> tuple[str, bool]:
    """Beside the fastest of those that keep values in an engine."""

    def put_get(peer: str) -> float:
        cases = (Case(peer, operation, KiB, 1, 1) for operation in ("put", "get"))
        return sum(_median(results, "staging-colocated", case) for case in cases)

    theirs = []
    for peer in {case.peer for _, case in results if case.peer.startswith(engine)}:
        with suppress(LookupError):
            theirs.append(put_get(peer))
    if not theirs:
        raise LookupError(f"{engine}, put and get of {KiB} bytes")
    ours = put_get("shm")
    return f"{min(theirs) / ours:.1f} × faster", min(theirs) >= 10 * ours


def _median(results: Results, comparison: str, case: Case) -> float:
    measurement = results.get((comparison, case))
    if measurement is None:
        raise LookupError(f"{case.peer}, {case.operation} of {case.nbytes} bytes")
    return measurement.median
