"""A picture of each comparison: medians with their quartiles, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dovetail.bench.measure import Measurement
from dovetail.bench.table import in_size
from dovetail.bench.transports import drawing
from dovetail.bench.transports.comparisons import Case
from dovetail.bench.transports.peers import Peer
from dovetail.bench.transports.report import Overhead, TransportsReport, case_of, rate_of
from dovetail.bench.transports.running import Outcome
from dovetail.bench.transports.verdicts import SHARE
from dovetail.errors import EngineUnavailableError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = "Solid, filled: through Dovetail. Dashed, open: the engine by hand. Dotted: as shipped."
_VIEWS = "shm and files give views: nothing is copied until it is read."
_CACHED = "What is on disk goes through the page cache, and is not synced."
_MARKERS = {"one way": "o", "delivered": "D", "put": "v", "get": "^", "handed over": "s"}


class _Panel(NamedTuple):
    """What is drawn on one set of axes."""

    title: str
    measurements: Sequence[Measurement]


def missing() -> str | None:
    """Why no pictures can be drawn; ``None`` if they can."""
    from importlib.util import find_spec

    return None if find_spec("matplotlib") else "pip install 'dovetail[bench]'"


def draw(report: TransportsReport, folder: Path) -> list[Path]:
    """Draw a report into a folder; gives the files, an SVG and a PNG of each picture.

    Raises
    ------
    EngineUnavailableError
        If matplotlib is not installed.
    """
    why = missing()
    if why is not None:
        raise EngineUnavailableError(f"pictures need matplotlib: {why}")
    drawn: list[Path] = []
    with drawing.style():
        for name, figure in _figures(report):
            for ending in ("svg", "png"):
                path = folder / f"{name}.{ending}"
                undated: Any = {"metadata": {"Date": None}} if ending == "svg" else {}
                figure.savefig(path, dpi=160, bbox_inches="tight", pad_inches=0.15, **undated)
                drawn.append(path)
    return drawn


def _figures(report: TransportsReport) -> Iterator[tuple[str, Figure]]:
    for outcome in report.outcomes:
        name = outcome.comparison.name
        if not outcome.measurements:
            continue
        if name == "streaming":
            latencies, rates = (_by_layout(outcome, what) for what in ("one way", "delivered"))
            yield f"{name}-latency", _over_sizes(report, outcome, latencies, _time)
            yield f"{name}-throughput", _over_sizes(report, outcome, rates, _rate)
        elif name == "loading":
            yield name, _loading(report, outcome)
        elif name.startswith("staging"):
            yield name, _over_sizes(report, outcome, _by_operation(outcome), _time)
        else:
            yield name, _over_ranks(report, outcome)
    one_to_one = [
        over
        for over in report.overheads
        if over.comparison.startswith("st") and over.case.producers == 1
    ]
    if one_to_one:
        yield "overheads", _overheads(report, one_to_one)


def _by_layout(outcome: Outcome, operation: str) -> list[_Panel]:
    panels = []
    for layout in outcome.comparison.layouts:
        own = [
            measurement
            for measurement in outcome.measurements
            if case_of(measurement).operation == operation
            and (case_of(measurement).producers, case_of(measurement).consumers) == layout
        ]
        panels.append(_Panel(f"{operation}, {layout}", own))
    return [panel for panel in panels if panel.measurements]


def _by_operation(outcome: Outcome) -> list[_Panel]:
    panels = [
        _Panel(operation, [m for m in outcome.measurements if case_of(m).operation == operation])
        for operation in outcome.comparison.operations
    ]
    return [panel for panel in panels if panel.measurements]


Value = Callable[[Measurement, float], float]
"""What is drawn of a measurement, given its median or a quartile in seconds."""


def _time(_: Measurement, seconds: float) -> float:
    return seconds


def _rate(measurement: Measurement, seconds: float) -> float:
    return rate_of(measurement) * measurement.median / seconds / 1e9


def _over_sizes(
    report: TransportsReport, outcome: Outcome, panels: Sequence[_Panel], value: Value
) -> Figure:
    figure, axes = drawing.panels(outcome.comparison.title, [panel.title for panel in panels])
    for axis, panel in zip(axes, panels, strict=True):
        _lines(axis, outcome, panel, lambda case: case.nbytes, value)
        drawing.size_axis(axis, sorted({case_of(m).nbytes for m in panel.measurements}))
    (drawing.time_axis if value is _time else drawing.rate_axis)(axes[0])
    _finish(figure, axes, report, outcome)
    return figure


def _over_ranks(report: TransportsReport, outcome: Outcome) -> Figure:
    panels = _by_operation(outcome)
    size = in_size(outcome.comparison.sizes[0])
    title = f"{outcome.comparison.title}, {size} from each"
    figure, axes = drawing.panels(title, [panel.title for panel in panels])
    for axis, panel in zip(axes, panels, strict=True):
        _lines(axis, outcome, panel, lambda case: case.producers, _rate)
        numbers = sorted({case_of(m).producers for m in panel.measurements})
        drawing.number_axis(axis, numbers, "producers")
    drawing.rate_axis(axes[0])
    _finish(figure, axes, report, outcome)
    return figure


def _lines(
    axis: Axes, outcome: Outcome, panel: _Panel, place: Callable[[Case], int], value: Value
) -> None:
    for peer in _in_order(outcome):
        own = sorted(
            (m for m in panel.measurements if m.label.peer == peer.name),
            key=lambda m: place(case_of(m)),
        )
        if not own:
            continue
        places = [place(case_of(measurement)) for measurement in own]
        middle, low, high = (
            [value(m, getattr(m, name)) for m in own]
            for name in ("median", "lower_quartile", "upper_quartile")
        )
        look = drawing.look_of(peer)
        axis.plot(places, middle, label=peer.name, **look)
        axis.fill_between(places, low, high, color=look["color"], alpha=0.13, linewidth=0)


def _in_order(outcome: Outcome) -> list[Peer]:
    """Peers with those of one engine together."""
    engines = list(dict.fromkeys(peer.engine for peer in outcome.comparison.peers))
    return sorted(outcome.comparison.peers, key=lambda peer: engines.index(peer.engine))


def _finish(
    figure: Figure, axes: Sequence[Axes], report: TransportsReport, outcome: Outcome
) -> None:
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    # A name may stand for a store and for a stream of one engine: they look alike.
    in_order = dict.fromkeys(peer.name for peer in _in_order(outcome))
    names = [name for name in in_order if name in handles]
    drawing.legend(figure, [handles[name] for name in names], names)
    drawing.caption(figure, report, outcome.measurements, f"{_LINES} {_VIEWS}\n{_CACHED}")


def _loading(report: TransportsReport, outcome: Outcome) -> Figure:
    """Files a second."""
    count = report.settings["file_count"]
    size = in_size(outcome.comparison.sizes[0])
    pool = outcome.comparison.layouts[0].producers
    slowest_first = sorted(outcome.measurements, key=lambda m: -m.median)
    title = f"Loading {count:,} files of {size} with a pool of {pool} processes"
    figure, (axis,) = drawing.panels(title, [""], wide=1.7)
    peers = {peer.name: peer for peer in outcome.comparison.peers}
    for row, measurement in enumerate(slowest_first):
        look = {**drawing.look_of(peers[measurement.label.peer]), "linestyle": "", "markersize": 7}
        rate, low, high = (
            count / getattr(measurement, name)
            for name in ("median", "upper_quartile", "lower_quartile")
        )
        axis.plot([low, high], [row, row], color=look["color"], linewidth=1.4, zorder=1)
        axis.plot([rate], [row], **look)
        axis.annotate(
            f"{rate:,.0f}", (high, row), (8, 0), textcoords="offset points", va="center", size=8
        )
    rates = [count / measurement.median for measurement in slowest_first]
    axis.set_xscale("log")
    axis.set_xlim(min(rates) / 2, max(rates) * 3)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_yticks(range(len(slowest_first)), [m.label.peer for m in slowest_first])
    axis.set_xlabel("files a second")
    note = f"Filled: through Dovetail. Open: by hand. {_CACHED}"
    drawing.caption(figure, report, outcome.measurements, note)
    return figure


def _overheads(report: TransportsReport, overheads: Sequence[Overhead]) -> Figure:
    """Our time over that of the engine by hand."""
    names = list(dict.fromkeys(over.comparison for over in overheads))
    titles = [name.replace("-", ", ") for name in names]
    figure, axes = drawing.panels("Dovetail beside the same engine driven by hand", titles)
    for axis, name in zip(axes, names, strict=True):
        own = [over for over in overheads if over.comparison == name]
        for engine, operation in dict.fromkeys((o.engine, o.case.operation) for o in own):
            points = sorted(
                (over.case.nbytes, over.ratio)
                for over in own
                if (over.engine, over.case.operation) == (engine, operation)
            )
            sizes, ratios = zip(*points, strict=True)
            axis.plot(
                sizes, ratios, color=drawing.colour_of(engine), marker=_MARKERS[operation],
                markersize=4.5, linewidth=1.2,
            )  # fmt: skip
        axis.axhspan(1e-6, SHARE, color=drawing.WITHIN, alpha=0.08, linewidth=0)
        axis.axhline(1, color=drawing.INK, linewidth=0.8)
        drawing.size_axis(axis, sorted({over.case.nbytes for over in own}))
    drawing.ratio_axis(axes[0], [over.ratio for over in overheads])
    axes[0].set_ylabel("our time over the time by hand")
    _engines_and_operations(figure, overheads)
    measured = [m for outcome in report.outcomes for m in outcome.measurements]
    note = f"One producer, one consumer. Tinted: at most {SHARE:.2f} × the engine at its best."
    drawing.caption(figure, report, measured, note)
    return figure


def _engines_and_operations(figure: Figure, overheads: Sequence[Overhead]) -> None:
    from matplotlib.lines import Line2D

    engines = list(dict.fromkeys(over.engine for over in overheads))
    operations = list(dict.fromkeys(over.case.operation for over in overheads))
    handles = [Line2D([], [], color=drawing.colour_of(engine)) for engine in engines]
    handles += [
        Line2D([], [], color=drawing.GREY, marker=_MARKERS[operation], linestyle="", markersize=5)
        for operation in operations
    ]
    drawing.legend(figure, handles, [*engines, *operations])
