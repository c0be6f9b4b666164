"""The picture of a finished run.

    python examples/closure/figure.py runs/closure-...

draws it again from the files in that folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from spectral import PeriodicGrid
from summary import Results, share_in_calls

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

INK = "#1d2733"
MUTED = "#8a94a0"
QUIET = "#566170"
LEARNED = "#c2410c"
EXACT = "#1d2733"
MODELS = {"gradient model": "#0f766e", "Smagorinsky": "#4f6bb0", "Leith": "#8d6cab"}
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


def draw(folder: Path) -> Path:
    """Draw the picture of a run from the files in its folder.

    Returns
    -------
    Path
        Of the PNG file, in the same folder.
    """
    results = Results.read(folder)
    fields = np.load(folder / "fields.npz")
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(15.0, 8.4))
        figure.suptitle(_title(results), x=0.02, y=0.975, ha="left", fontsize=13.5, weight="bold")
        figure.text(0.02, 0.922, _subtitle(results), ha="left", va="center", color=QUIET)
        grid = figure.add_gridspec(1, 5, left=0.02, right=0.98, bottom=0.55, top=0.84, wspace=0.05)
        _fields([figure.add_subplot(cell) for cell in grid], fields, results)
        grid = figure.add_gridspec(
            1, 4, left=0.045, right=0.98, bottom=0.075, top=0.43, wspace=0.24
        )
        energy, forcing, learning, times = (figure.add_subplot(cell) for cell in grid)
        _energy_spectra(energy, results)
        _forcing_spectra(forcing, results)
        _correlation(learning, results)
        _times(times, results)
        path = folder / "closure.png"
        figure.savefig(path, dpi=120)
        plt.close(figure)
    return path


def _title(results: Results) -> str:
    score = results.training["models"]["learned"]["correlation"]
    return (
        "A subgrid closure learned while the simulation runs: "
        f"correlation {score:.3f} on a simulation it has never seen"
    )


def _subtitle(results: Results) -> str:
    dns, training = results.dns, results.training
    return (
        f"Forced two-dimensional turbulence, {dns['points']}² points, filtered to "
        f"{2 * len(training['filtered_energy_spectrum'])}².  "
        f"{dns['stream']['steps']} samples, {dns['stream']['bytes'] / 1e6:.0f} MB through one "
        f"stream in {dns['seconds_streaming']:.0f} s;  {training['gradient_steps']} gradient steps "
        f"on {training['parameters']} parameters."
    )


def _fields(axes: list[Axes], fields: Any, results: Results) -> None:
    vorticity = float(np.percentile(np.abs(fields["unfiltered_vorticity"]), 99.7))
    forcing = float(np.percentile(np.abs(fields["exact"]), 99.7))
    score = results.training["models"]["learned"]["by_sample"][-1]
    panels = (
        (r"vorticity $\omega$", fields["unfiltered_vorticity"], "RdBu_r", vorticity),
        (r"filtered vorticity $\overline{\omega}$", fields["vorticity"], "RdBu_r", vorticity),
        (r"exact subgrid forcing $\Pi$", fields["exact"], "PuOr_r", forcing),
        (rf"predicted $\Pi$, correlation {score:.3f}", fields["learned"], "PuOr_r", forcing),
        ("error, same scale", fields["learned"] - fields["exact"], "PuOr_r", forcing),
    )
    for ax, (title, field, colours, limit) in zip(axes, panels, strict=True):
        image = ax.imshow(
            field, origin="lower", cmap=colours, vmin=-limit, vmax=limit, interpolation="bicubic"
        )
        ax.set_title(title)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        bar = ax.figure.colorbar(
            image, cax=ax.inset_axes((0.2, -0.07, 0.6, 0.025)), orientation="horizontal"
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)


def _energy_spectra(ax: Axes, results: Results) -> None:
    dns = np.array(results.held_out["energy_spectrum"])
    filtered = np.array(results.training["filtered_energy_spectrum"])
    kmax, coarse_kmax = (PeriodicGrid(2 * len(each)).kmax for each in (dns, filtered))
    ax.axvspan(*results.dns["forced_wavenumbers"], color="#f3e8d0", lw=0)
    ax.loglog(range(1, kmax + 1), dns[1 : kmax + 1], color=EXACT, lw=1.6)
    ax.loglog(range(1, coarse_kmax + 1), filtered[1 : coarse_kmax + 1], color=LEARNED, lw=1.6)
    reference = np.array([8.0, 0.5 * kmax])
    ax.loglog(reference, 2.5 * dns[8] * (reference / 8) ** -3, color=MUTED, lw=0.9, ls="--")
    ax.text(17, 3.2 * dns[8] * (17 / 8) ** -3, "$k^{-3}$", color=QUIET)
    ax.text(3.1, 0.04, "forced", color="#9a7b32", fontsize=8, transform=ax.get_xaxis_transform())
    ax.text(0.97, 0.92, "simulation", color=EXACT, ha="right", transform=ax.transAxes)
    ax.text(0.97, 0.84, "filtered", color=LEARNED, ha="right", transform=ax.transAxes)
    ax.set_title("energy spectrum $E(k)$")
    _wavenumbers(ax, kmax)


def _forcing_spectra(ax: Axes, results: Results) -> None:
    spectra = {name: np.array(each) for name, each in results.training["forcing_spectra"].items()}
    kmax = PeriodicGrid(2 * len(spectra["exact"])).kmax
    shells = range(1, kmax + 1)
    ax.loglog(shells, spectra["exact"][1 : kmax + 1], color=EXACT, lw=2.6, label="exact")
    ax.loglog(shells, spectra["learned"][1 : kmax + 1], color=LEARNED, lw=1.5, label="learned")
    for name in ("Smagorinsky", "gradient model", "learned"):
        colour = MODELS.get(name, LEARNED)
        error = spectra[f"error of {name}"][1 : kmax + 1]
        ax.loglog(shells, error, color=colour, lw=1.2, ls=":", label=f"error of {name}")
    ax.set_title(r"spectrum of the forcing $\Pi$")
    _wavenumbers(ax, kmax)
    ax.set_ylim(bottom=ax.get_ylim()[0] / 30)  # room for the legend
    ax.legend(loc="lower right", handlelength=2.4, labelspacing=0.3)


def _wavenumbers(ax: Axes, kmax: int) -> None:
    ax.set_xlabel("wavenumber $k$")
    ax.set_xlim(1, kmax)
    ticks = [k for k in (1, 2, 5, 10, 20, 50) if k <= kmax]
    ax.set_xticks(ticks, labels=[str(k) for k in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())


def _correlation(ax: Axes, results: Results) -> None:
    history = results.training["history"]
    seconds = [point["seconds"] for point in history]
    each = np.array([point["by_sample"] for point in history])
    ax.fill_between(seconds, each.min(axis=1), each.max(axis=1), color=LEARNED, alpha=0.15, lw=0)
    ax.plot(seconds, [point["correlation"] for point in history], color=LEARNED, lw=1.8)
    final = history[-1]
    ax.annotate(
        f"learned {final['correlation']:.3f}",
        (seconds[-1], final["correlation"]),
        xytext=(-3, 7),
        textcoords="offset points",
        ha="right",
        color=LEARNED,
        weight="bold",
    )
    for name, colour in MODELS.items():
        level = results.training["models"][name]["correlation"]
        ax.axhline(level, color=colour, lw=1.1, ls="--")
        shift, side = (0.01, "bottom") if name == "Smagorinsky" else (-0.012, "top")
        label = f"{name} {level:.3f} "
        ax.text(seconds[-1], level + shift, label, color=colour, ha="right", va=side, fontsize=8)
    ax.set_xlim(0, seconds[-1])
    ax.set_ylim(0, 1.08)
    ax.set_yticks(np.arange(0.0, 1.1, 0.2))
    ax.set_title("correlation on the held-out simulation")
    ax.set_xlabel("training time (s)")


def _times(ax: Axes, results: Results) -> None:
    dns, training = results.dns, results.training
    in_calls, waited = dns["stream"]["seconds_in_calls"], dns["stream"]["seconds_waited"]
    colours = {
        "spin-up": "#cfd6dd",
        "time steps": "#31587a",
        "filter": "#7fa3c0",
        "stream calls": LEARNED,
        "waiting": "#f0c9b5",
        "gradient steps": "#31587a",
        "testing": "#7fa3c0",
    }
    legend = {
        "spin-up": "spin-up",
        "time steps": "time or gradient steps",
        "filter": "filter, tests",
        "stream calls": "stream calls",
        "waiting": "waiting",
    }
    simulation = [
        ("spin-up", dns["seconds_spinning_up"]),
        ("time steps", dns["seconds_solving"]),
        ("filter", dns["seconds_filtering"]),
        ("stream calls", in_calls - waited),
        ("waiting", waited),
    ]
    trainer = [
        ("waiting", training["seconds_before_training"]),
        (
            "gradient steps",
            training["seconds_training"]
            - training["seconds_testing"]
            - training["seconds_receiving"],
        ),
        ("testing", training["seconds_testing"]),
        ("stream calls", training["seconds_receiving"] - training["seconds_starved"]),
        ("waiting", training["seconds_starved"]),
    ]
    for row, (name, parts) in enumerate((("simulation", simulation), ("trainer", trainer))):
        left, total = 0.0, sum(seconds for _, seconds in parts)
        for part, seconds in parts:
            ax.barh(row, seconds, left=left, height=0.36, color=colours[part], lw=0)
            if seconds > 0.2 * total:
                middle = left + seconds / 2
                ink = "white" if part.endswith("steps") else INK
                ax.text(middle, row, f"{seconds:.0f} s", ha="center", va="center", color=ink)
            left += seconds
        ax.text(0, row - 0.26, name, weight="bold", fontsize=8.5)
    stream = dns["stream"]
    facts = (
        ("in stream calls", f"{100 * share_in_calls(results):.2f} % of the step time"),
        ("simulation waited", f"{waited:.2f} s"),
        ("trainer starved", f"{training['seconds_starved']:.2f} s"),
        ("a step of the stream", f"{stream['bytes'] / stream['steps'] / 1e3:.1f} kB"),
        ("rate", f"{stream['steps'] / dns['seconds_streaming']:.1f} steps/s"),
    )
    marks = [Patch(color=colours[part], label=label) for part, label in legend.items()]
    ax.legend(
        handles=marks,
        loc="upper left",
        bbox_to_anchor=(-0.02, 0.53),
        ncol=2,
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.4,
        labelspacing=0.35,
        fontsize=7.5,
        borderpad=0.0,
    )
    for line, (name, value) in enumerate(facts):
        height = 0.26 - 0.07 * line
        ax.text(0.0, height, name, transform=ax.transAxes, fontsize=8.5, color=QUIET)
        ax.text(0.46, height, value, transform=ax.transAxes, fontsize=8.5)
    ax.set_ylim(3.6, -0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_visible(False)
    ax.set_xticks([])
    ax.set_title("where the time went")


if __name__ == "__main__":
    print(draw(Path(sys.argv[1])))
