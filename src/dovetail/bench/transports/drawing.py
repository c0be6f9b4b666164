"""How every picture looks: colours, axes, legend, caption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dovetail.bench.measure import Measurement
from dovetail.bench.table import in_size
from dovetail.bench.transports.peers import Peer
from dovetail.bench.transports.report import TransportsReport, case_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY = "#222222", "#777777"
WITHIN = "#009E73"
"""The colour of what is good enough."""
# Distinct to people who see colours differently, too (after Okabe and Ito).
_COLOURS = {
    "shm": "#0072B2",
    "sst": "#D55E00",
    "bp5 in memory": "#E69F00",
    "bp5 on disk": "#8A6A1F",
    "mpi": "#009E73",
    "redis": "#CC3D7F",
    "dragon": "#56B4E9",
    "file in memory": "#882255",
    "file on disk": "#4D4D4D",
    "none": "#7F7F7F",
}
_LINES: dict[str, Any] = {"ours": "-", "by hand": (0, (4, 2)), "as shipped": (0, (1, 1.4))}
_MARKERS = {"ours": "o", "by hand": "s", "as shipped": "^"}
_SECOND: dict[str, Any] = {"redis-py": (0, (4, 1.5, 1, 1.5))}
"""Where an engine is driven by hand in two ways."""
_STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "svg.hashsalt": "dovetail",
    "svg.fonttype": "none",
}
_PANEL = 3.4, 4.3
"""Inches, wide and high."""


@contextmanager
def style() -> Iterator[None]:
    """Everything that is drawn in the ``with`` block looks alike."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def panels(title: str, titles: Sequence[str], wide: float = 1.0) -> tuple[Figure, list[Axes]]:
    """A figure with one set of axes beside the other, which share what is upright."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PANEL[0] * wide * len(titles) + 1.6, _PANEL[1]), layout="constrained")
    spacing: Any = figure.get_layout_engine()
    spacing.set(w_pad=0.08, h_pad=0.06)
    axes = list(figure.subplots(1, len(titles), sharey=True, squeeze=False)[0])
    for axis, text in zip(axes, titles, strict=True):
        axis.set_title(text, fontsize=9.5, loc="left", color="#444444")
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left", color=INK)
    return figure, axes


def caption(
    figure: Figure, report: TransportsReport, measurements: Sequence[Measurement], note: str
) -> None:
    """What a figure cannot be read without, below it."""
    facts = report.machine
    numbers = sorted({measurement.repeats for measurement in measurements})
    repeats = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
    alone = all(case_of(measurement).consumers == 0 for measurement in measurements)
    placed = "" if alone else "Producers on one half of the cores, consumers on the other."
    lines = [
        note,
        f"Medians and quartiles of n = {repeats} repeats. {placed}".strip(),
        f"{facts['cpu']}, {facts['cores_usable']} cores, Linux {facts['kernel']}; "
        f"{report.started[:10]}, load {facts['load_average'][0]:.1f} at the start.",
    ]
    figure.supxlabel("\n".join(lines), fontsize=7, color=GREY, x=0.01, ha="left")


def colour_of(engine: str) -> str:
    """The colour of an engine, the same in every picture."""
    return _COLOURS.get(engine, INK)


def look_of(peer: Peer) -> dict[str, Any]:
    """How the line of a peer is drawn."""
    colour = colour_of(peer.engine)
    ours = peer.driven == "ours"
    return {
        "color": colour,
        "linestyle": _SECOND.get(peer.name, _LINES[peer.driven]),
        "linewidth": 1.8 if ours else 1.3,
        "marker": _MARKERS[peer.driven],
        "markersize": 4.5,
        "markerfacecolor": colour if ours else "white",
        "markeredgecolor": colour,
        "zorder": 3 if ours else 2,
    }


def size_axis(axis: Axes, sizes: Sequence[int]) -> None:
    """Sizes, on a logarithmic axis."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [in_size(size) for size in sizes], rotation=35, ha="right")
    axis.minorticks_off()
    axis.set_xlabel("bytes of a rank")


def number_axis(axis: Axes, numbers: Sequence[int], label: str) -> None:
    """Numbers of ranks, on a logarithmic axis."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(numbers, [str(number) for number in numbers])
    axis.minorticks_off()
    axis.set_xlabel(label)


def time_axis(axis: Axes) -> None:
    """Times, on a logarithmic axis."""
    axis.set_yscale("log")
    axis.set_ylabel("time")
    axis.yaxis.set_major_formatter(lambda value, _: _in_time(value))


def rate_axis(axis: Axes) -> None:
    """Rates, on a logarithmic axis."""
    axis.set_yscale("log")
    axis.set_ylabel("GB/s, all ranks together")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def ratio_axis(axis: Axes, ratios: Sequence[float]) -> None:
    """Ratios, on a logarithmic axis around 1."""
    axis.set_yscale("log", base=2)
    axis.set_ylim(min(0.5, min(ratios) / 1.2), max(2.0, max(ratios) * 1.2))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g} ×")


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One for all panels."""
    figure.legend(
        list(handles),
        list(labels),
        loc="outside right center",
        frameon=False,
        fontsize=8,
        handlelength=3.2,
    )


def _in_time(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if seconds >= unit * 0.999:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
