"""A report as text for people."""

from __future__ import annotations

from dovetail.bench.measure import Label
from dovetail.bench.run import Report
from dovetail.bench.targets import Verdict


def lines(report: Report) -> list[str]:
    """A report, line by line."""
    facts = report.machine
    load = facts["load_average"][0]
    text = [
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, load {load:.2f}; "
        f"{report.settings['repeats']} repeats of {report.settings['batch_seconds'] * 1e3:.0f} ms",
        *_where(report),
        "",
    ]
    text += columns(
        [["BYTES", "PEER", "OPERATION", "MEDIAN", "QUARTILES", "RATE", "SHM IS FASTER BY"]]
        + _rows(report)
    )
    text += ["", *columns([["TARGET", "MEASURED", "HOLDS"], *map(verdict_row, report.verdicts)])]
    text += ["", *(f"{name} did not run: {why}" for name, why in report.skipped.items())]
    return text


def _where(report: Report) -> list[str]:
    ours, theirs = report.settings["cores"]
    return [] if ours is None else [f"the two processes stay on cores {ours} and {theirs}"]


def _rows(report: Report) -> list[list[str]]:
    ratios = {
        Label(ratio["peer"], ratio["operation"], ratio["nbytes"]): ratio["ratio"]
        for ratio in report.ratios()
    }
    rows = []
    previous: int | None = None
    for measurement in report.measurements:
        label = measurement.label
        if previous not in (None, label.nbytes):
            rows.append([""] * 7)
        previous = label.nbytes
        rate = measurement.bytes_per_second
        rows.append(
            [
                in_size(label.nbytes),
                label.peer,
                label.operation,
                in_duration(measurement.median),
                " - ".join(
                    map(in_duration, (measurement.lower_quartile, measurement.upper_quartile))
                ),
                f"{rate / 1e9:.2f} GB/s" if 1e7 <= rate < 1e13 else "",
                f"{ratios[label]:.1f} ×" if label in ratios else "",
            ]
        )
    return rows


def verdict_row(verdict: Verdict) -> list[str]:
    """A target, what was measured, and whether it holds."""
    held = {True: "yes", False: "NO", None: "-"}[verdict.holds]
    return [verdict.target, verdict.measured, held]


def columns(rows: list[list[str]]) -> list[str]:
    """Rows of cells as aligned lines."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def in_size(nbytes: int) -> str:
    """A number of bytes in the largest unit that divides it."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit and nbytes % unit == 0:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} B"


def in_duration(seconds: float) -> str:
    """A short time."""
    return f"{seconds * 1e6:.2f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"
