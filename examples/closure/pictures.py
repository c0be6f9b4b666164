"""The pictures in the report of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from cases import FORCED_WAVENUMBERS, Case
from coarse import correlation
from evaluation import LEVELS
from judgement import LEARNED, Judgement, mean_horizon
from numpy.typing import NDArray

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

INK = "#1d2733"
MUTED = "#8a94a0"
QUIET = "#566170"
COLOURS = {
    LEARNED: "#c2410c",
    "no closure": "#8a94a0",
    "dynamic Smagorinsky": "#4f6bb0",
    "Leith, longest horizon": "#8d6cab",
    "Leith, best spectrum": "#c79ad0",
    "gradient + Leith": "#b58a1b",
    "deconvolution + Leith": "#0f766e",
}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "mathtext.fontset": "dejavusans",
}


@contextmanager
def styled(*args: Any, **named: Any) -> Iterator[tuple[Figure, Any]]:
    """``plt.subplots`` in one style, closed in the end."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(*args, layout="constrained", **named)
        yield figure, axes
        plt.close(figure)


def fields(judgement: Judgement, start: int, axes: NDArray[Any]) -> None:
    """Vorticity in the middle of the forecasts (first row), and the errors (second row)."""
    truth = judgement.truth_halfway[start]
    limit = float(np.percentile(truth.abs().numpy(), 99.7))
    _image(axes[0, 0], truth, limit, "simulation, filtered")
    axes[1, 0].axis("off")
    axes[1, 0].text(0.98, 0.5, "errors,\nsame scale", ha="right", va="center", color=QUIET)
    for column, name in enumerate(shown(judgement), start=1):
        field = judgement.forecasts[name].halfway[start]
        score = float(correlation(field, truth))
        colour = COLOURS[name]
        _image(axes[0, column], field, limit, name, colour)
        _image(axes[1, column], field - truth, limit, f"correlation {score:.3f}", colour)


def shown(judgement: Judgement) -> list[str]:
    """The closures whose fields are shown. Of Leith's two constants, that for the spectrum."""
    return [name for name in judgement.forecasts if name != "Leith, longest horizon"]


def _image(ax: Axes, field: Any, limit: float, title: str, colour: str = INK) -> None:
    ax.imshow(
        field, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="bicubic"
    )
    ax.set_title(title, color=colour, fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)


def correlations(judgement: Judgement, case: Case, ax: Axes) -> None:
    """How each forecast loses the flow: the mean over initial states, the learned one's range."""
    for name, forecasts in judgement.forecasts.items():
        times = np.arange(len(forecasts.correlation)) * case.coarse_time_step
        mean = forecasts.correlation.mean(1)
        ax.plot(times, mean, color=COLOURS[name], lw=2.0 if name == LEARNED else 1.3, label=name)
        if name in (LEARNED, judgement.best_rival):
            least, most = forecasts.correlation.amin(1), forecasts.correlation.amax(1)
            ax.fill_between(times, least, most, color=COLOURS[name], alpha=0.12, lw=0)
    for level in LEVELS:
        ax.axhline(level, color=MUTED, lw=0.7, ls=":")
    ax.set_ylim(0.5, 1.005)
    ax.set_xlim(0, case.forecast)
    ax.set_xlabel("time since the initial state")
    ax.set_title("correlation with the held-out simulations")
    ax.legend(loc="lower left")


def spectra(judgement: Judgement, dns: NDArray[np.float64], ax: Axes, ratio: Axes) -> None:
    """The mean energy spectrum of each forecast, and its ratio to that of the filtered flow."""
    expected = judgement.forecasts[LEARNED].spectrum_expected.numpy()
    shells = np.arange(1, len(expected))
    ax.axvspan(*FORCED_WAVENUMBERS, color="#f3e8d0", lw=0)
    fine = np.arange(1, min(3 * len(expected), len(dns)))
    ax.loglog(fine, dns[fine], color=INK, lw=0.9, ls="--", label="simulation")
    ax.loglog(shells, expected[1:], color=INK, lw=2.6, label="simulation, filtered")
    for name, forecasts in judgement.forecasts.items():
        spectrum = forecasts.spectrum.numpy()
        ax.loglog(shells, spectrum[1:], color=COLOURS[name], lw=1.4, label=name)
        ratio.plot(shells, spectrum[1:] / expected[1:], color=COLOURS[name], lw=1.6)
    ax.set_ylim(bottom=0.1 * expected[1:].min())
    ax.set_title("energy spectrum $E(k)$")
    ax.legend(loc="lower left", labelspacing=0.3)
    _wavenumbers(ax, fine[-1])
    ratio.axhline(1.0, color=INK, lw=0.8)
    ratio.set_xscale("log")
    ratio.set_yscale("log")
    ratio.set_ylim(0.2, 5.0)
    ratio.set_yticks([0.2, 0.5, 1, 2, 5], labels=["0.2", "0.5", "1", "2", "5"])
    ratio.yaxis.set_minor_formatter(NullFormatter())
    ratio.set_title("$E(k)$ over that of the filtered simulation")
    _wavenumbers(ratio, shells[-1])


def _wavenumbers(ax: Axes, kmax: int) -> None:
    ax.set_xlabel("wavenumber $k$")
    ax.set_xlim(1, kmax)
    ticks = [k for k in (1, 2, 5, 10, 20, 50) if k <= kmax]
    ax.set_xticks(ticks, labels=[str(k) for k in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())


def learning(
    history: list[dict[str, Any]],
    forecasts: list[dict[str, Any]],
    judgement: Judgement,
    apriori: Axes,
    aposteriori: Axes,
) -> None:
    """What the closure was worth, a priori and in the loop, while it was being learned."""
    begin = history[0]["time"] - history[0]["seconds"]
    times = [point["time"] - begin for point in history]
    apriori.plot(times, [point["correlation"] for point in history], ".-", color=COLOURS[LEARNED])
    rival = judgement.best_rival
    level = judgement.apriori[rival]
    apriori.axhline(level, color=MUTED, lw=1.0, ls="--")
    apriori.text(times[-1], level, rival, color=QUIET, ha="right", va="top")
    apriori.set_title(r"a priori: correlation with the exact $\Pi$")
    apriori.set_ylim(top=1.0)

    lowest = str(min(LEVELS))
    for each in forecasts:
        kept = each["horizons"][lowest]
        share = each["fallbacks"] / each["time_steps"]
        middle = each["began"] + each["seconds"] / 2 - begin
        aposteriori.plot([middle] * len(kept), kept, ".", color=MUTED, ms=3)
        aposteriori.plot(
            middle, np.mean(kept), "o", color=COLOURS[LEARNED], mfc="white" if share > 0.5 else None
        )
    levels = {name: mean_horizon(each) for name, each in judgement.rivals.items()}
    for name, level in levels.items():
        aposteriori.axhline(level, color=COLOURS[name], lw=1.0, ls="--")
    aposteriori.set_ylim(bottom=0.0)
    for name, height in _apart(levels, 0.05 * aposteriori.get_ylim()[1]).items():
        aposteriori.text(
            1.01,
            height,
            name,
            color=COLOURS[name],
            fontsize=7,
            va="center",
            transform=aposteriori.get_yaxis_transform(),
        )
    aposteriori.set_title(f"in the loop: time units above a correlation of {lowest}")
    for ax in (apriori, aposteriori):
        ax.set_xlabel("seconds since the training began")


def _apart(heights: dict[str, float], distance: float) -> dict[str, float]:
    """Heights of labels, moved up until none covers another."""
    moved: dict[str, float] = {}
    for name in sorted(heights, key=heights.__getitem__):
        below = max(moved.values(), default=-distance)
        moved[name] = max(heights[name], below + distance)
    return moved
