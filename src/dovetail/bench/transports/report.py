"""What a run of all comparisons says: as a document, and as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dovetail.bench.measure import Measurement
from dovetail.bench.table import columns, in_duration, in_size, verdict_row
from dovetail.bench.targets import Verdict
from dovetail.bench.transports.comparisons import Case
from dovetail.bench.transports.running import Outcome
from dovetail.bench.transports.seats import Layout

FORMAT = 1


@dataclass(frozen=True)
class Overhead:
    """What our interface costs over the same engine driven by hand."""

    comparison: str
    engine: str
    case: Case
    by_hand: str
    """The fastest peer that drives the engine by hand."""
    ratio: float
    """Our time over that one's."""
    seconds: float
    """Our time less that one's."""


@dataclass(frozen=True)
class TransportsReport:
    """What a run measured."""

    started: str
    """ISO 8601, UTC."""
    machine: dict[str, Any]
    settings: dict[str, Any]
    outcomes: list[Outcome]
    overheads: list[Overhead]
    verdicts: list[Verdict]
    seconds: float
    """How long the run took."""

    def document(self) -> dict[str, Any]:
        """The report as a JSON document.

        Its keys: ``format``, ``benchmark`` (``transports``), ``started``, ``seconds``,
        ``machine``, ``settings``; ``comparisons``, each ``{name, title, measurements, skipped}``
        with measurements ``{peer, engine, driven, operation, nbytes, producers, consumers,
        seconds: {median, lower_quartile, upper_quartile, fastest}, bytes_per_second, repeats,
        batch}``, the rate that of all producers together; ``overheads``, each ``{comparison,
        engine, peer, by_hand, operation, nbytes, producers, consumers, ratio, seconds}``;
        ``targets``, each ``{target, measured, holds}``.
        """
        return {
            "format": FORMAT,
            "benchmark": "transports",
            "started": self.started,
            "seconds": self.seconds,
            "machine": self.machine,
            "settings": self.settings,
            "comparisons": [_outcome(outcome) for outcome in self.outcomes],
            "overheads": [
                {
                    "comparison": overhead.comparison,
                    "engine": overhead.engine,
                    **asdict(overhead.case),
                    "by_hand": overhead.by_hand,
                    "ratio": overhead.ratio,
                    "seconds": overhead.seconds,
                }
                for overhead in self.overheads
            ],
            "targets": [asdict(verdict) for verdict in self.verdicts],
        }


def case_of(measurement: Measurement) -> Case:
    """What a measurement of a comparison is of."""
    assert isinstance(measurement.label, Case)
    return measurement.label


def rate_of(measurement: Measurement) -> float:
    """Bytes a second that all producers together move (all consumers, where they move it)."""
    case = case_of(measurement)
    return case.nbytes * max(case.producers, case.consumers) / measurement.median


def overheads(outcomes: Sequence[Outcome]) -> list[Overhead]:
    """What every operation of ours costs over the best that drives its engine by hand."""
    return [overhead for outcome in outcomes for overhead in _overheads(outcome)]


def _overheads(outcome: Outcome) -> Iterator[Overhead]:
    peers = {peer.name: peer for peer in outcome.comparison.peers}
    best: dict[tuple[str, Case], Measurement] = {}
    for measurement in outcome.measurements:
        case = case_of(measurement)
        peer = peers[case.peer]
        if peer.driven == "by hand":
            key = peer.engine, _without_peer(case)
            if key not in best or measurement.median < best[key].median:
                best[key] = measurement
    for measurement in outcome.measurements:
        case = case_of(measurement)
        peer = peers[case.peer]
        theirs = best.get((peer.engine, _without_peer(case)))
        if peer.driven == "ours" and theirs is not None:
            yield Overhead(
                outcome.comparison.name,
                peer.engine,
                case,
                theirs.label.peer,
                measurement.median / theirs.median,
                measurement.median - theirs.median,
            )


def _without_peer(case: Case) -> Case:
    return Case("", case.operation, case.nbytes, case.producers, case.consumers)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    peers = {peer.name: peer for peer in outcome.comparison.peers}
    return {
        "name": outcome.comparison.name,
        "title": outcome.comparison.title,
        "measurements": [
            {
                **asdict(case_of(measurement)),
                "engine": peers[measurement.label.peer].engine,
                "driven": peers[measurement.label.peer].driven,
                "seconds": {
                    "median": measurement.median,
                    "lower_quartile": measurement.lower_quartile,
                    "upper_quartile": measurement.upper_quartile,
                    "fastest": measurement.fastest,
                },
                "bytes_per_second": rate_of(measurement),
                "repeats": measurement.repeats,
                "batch": measurement.batch,
            }
            for measurement in outcome.measurements
        ],
        "skipped": outcome.skipped,
    }


# --- as text -----------------------------------------------------------------------------------


def lines(report: TransportsReport) -> list[str]:
    """The report, line by line."""
    facts = report.machine
    text = [
        f"{facts['cpu']}, {facts['cores_usable']} cores, Linux {facts['kernel']}, load "
        f"{facts['load_average'][0]:.2f}; {report.seconds / 60:.1f} minutes",
    ]
    ratios = {(over.comparison, over.case): over for over in report.overheads}
    for outcome in report.outcomes:
        text += ["", outcome.comparison.title, ""]
        if outcome.measurements:
            text += columns([_HEADINGS, *_rows(outcome, ratios)])
        text += _skipped(outcome.skipped)
    return [
        *text,
        "",
        *columns([["TARGET", "MEASURED", "HOLDS"], *map(verdict_row, report.verdicts)]),
    ]


_HEADINGS = [
    *("RANKS", "BYTES", "OPERATION", "PEER", "MEDIAN", "QUARTILES", "RATE", "OVER BY HAND"),
]


def _rows(outcome: Outcome, ratios: dict[tuple[str, Case], Overhead]) -> list[list[str]]:
    def together(measurement: Measurement) -> tuple[int, int, int, int]:
        case = case_of(measurement)
        place = outcome.comparison.operations.index(case.operation)
        return case.producers, case.consumers, case.nbytes, place

    rows: list[list[str]] = []
    previous = None
    for measurement in sorted(outcome.measurements, key=together):
        case = case_of(measurement)
        if previous not in (None, together(measurement)):
            rows.append([""] * len(_HEADINGS))
        previous = together(measurement)
        over = ratios.get((outcome.comparison.name, case))
        rate = rate_of(measurement)
        rows.append(
            [
                str(Layout(case.producers, case.consumers)),
                in_size(case.nbytes),
                case.operation,
                case.peer,
                in_duration(measurement.median),
                " - ".join(
                    map(in_duration, (measurement.lower_quartile, measurement.upper_quartile))
                ),
                f"{rate / 1e9:.2f} GB/s" if 1e7 <= rate < 1e13 else "",
                f"{over.ratio:.2f} ×, {over.seconds * 1e6:+.0f} µs" if over else "",
            ]
        )
    return rows


def _skipped(skipped: dict[str, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, why in skipped.items():
        by_reason.setdefault(why, []).append(name)
    return [f"not measured: {', '.join(names)} ({why})" for why, names in by_reason.items()]
