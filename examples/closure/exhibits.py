"""What this example shows in the report of a run. Every figure was measured in that run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pictures
from cases import Case
from evaluation import LEVELS, Forecasts
from judgement import Judgement, mean_horizon, verdict

import dovetail as dv

PATIENCE = 60.0
"""Seconds to wait for the simulations' last words, once they were told to stop."""


def show(
    case: Case,
    judgement: Judgement,
    live: dict[str, Any],
    counts: dict[str, Any],
    results: dv.Store,
    members: int,
) -> None:
    """Write all exhibits.

    Parameters
    ----------
    live
        The large-eddy simulation beside the training, as
        :meth:`~les.LargeEddySimulation.forecast_while` says.
    counts
        The same counts after the judgement.
    results
        The store in which trainer and simulations leave their figures.
    members
        How many simulations do.
    """
    training = results.wait("training", PATIENCE).attrs
    keys = results.wait_items("simulations", members, PATIENCE)
    dns = {key: results.get(key) for key in sorted(keys)}
    said = verdict(judgement)
    print(said, flush=True)
    dv.exhibit(
        "The closures in the loop",
        text=f"{said}\n\n{ABOUT_CLOSURES}",
        table=_closures(judgement, dns),
        order=10,
    )
    width = 1 + len(pictures.shown(judgement))
    with pictures.styled(2, width, figsize=(1.85 * width, 4.2)) as (figure, axes):
        pictures.fields(judgement, 0, axes)
        text = (
            f"Vorticity {case.forecast / 2:.1f} time units after the initial state, from the first "
            f"held-out simulation. {ABOUT_FIELDS}"
        )
        dv.exhibit("Fields", text=text, picture=figure, order=20)
    with pictures.styled(1, 3, figsize=(12.6, 4.2)) as (figure, axes):
        spectrum = np.mean([each["energy_spectrum"] for each in dns.values()], axis=0)
        pictures.correlations(judgement, case, axes[0])
        pictures.spectra(judgement, spectrum, axes[1], axes[2])
        dv.exhibit("Forecasts and spectra", text=ABOUT_FORECASTS, picture=figure, order=30)
    with pictures.styled(1, 2, figsize=(12.6, 4.0)) as (figure, axes):
        pictures.learning(training["history"], live["forecasts"], judgement, *axes)
        dv.exhibit("Learning", text=ABOUT_LEARNING, picture=figure, order=40)
    dv.exhibit("The training", table=_training(training), order=50)
    dv.exhibit(
        "The large-eddy simulation beside the training",
        text=ABOUT_GUARD,
        table=_live(live, counts),
        order=60,
    )
    dv.exhibit("What being observed cost", text=ABOUT_COST, table=_observed(dns), order=70)


ABOUT_CLOSURES = (
    "All forecasts start from the same states of simulations that neither the network nor the "
    "constants of the classical models have seen.\n\n"
    "Horizons: time units until the correlation of vorticity falls below the level; mean, and the "
    "shortest and longest. Spectrum: the typical factor by which the energy of a wavenumber is "
    "wrong, 1 at best. A priori: correlation with the exact subgrid forcing. CPU: of one core, for "
    "a coarse time step of one flow.\n\n"
    "Deconvolution undoes the filter exactly on all resolved scales, which a solver can do only "
    "where its filter is known. 'Leith' competes twice, with the constant that keeps the flow "
    "longest, and with the one that has the best spectrum."
)
ABOUT_FIELDS = "Below, the difference from the filtered simulation."
ABOUT_FORECASTS = (
    "Left: means over all initial states; bands from the worst to the best of them, for the "
    "learned closure and its best rival. Spectra are means over the last three quarters; the "
    "dashed one is of all simulations, for as long as they ran."
)
ABOUT_LEARNING = (
    "Left: each published version on held-out samples. Right: forecasts of the large-eddy "
    "simulation that ran meanwhile and took each new version between two time steps; each circle "
    "is the mean of the forecasts that began together (dots), hollow where the eddy viscosity did "
    "most of the steps. Dashed: the classical models."
)
ABOUT_GUARD = (
    "The eddy viscosity (Leith, best spectrum) takes over where there is no model yet, or the flow "
    "is out of the range that the model has been shown. A gate refuses versions that give "
    "enstrophy to the flow, or are out of all proportion."
)
ABOUT_COST = (
    "Shares of the time from a simulation's first window to its last: inside stream calls without "
    "waiting, and waiting in them, for readers or for the other members of the stream."
)

Table = tuple[list[str], list[list[Any]]]


def _closures(judgement: Judgement, dns: dict[str, Any]) -> Table:
    columns = [
        "closure",
        "constant",
        *(f"horizon {level}" for level in LEVELS),
        "spectrum",
        "a priori",
        "CPU ms a step",
    ]
    rows: list[list[Any]] = []
    for name, forecasts in judgement.forecasts.items():
        constant, apriori = judgement.constants.get(name), judgement.apriori.get(name)
        rows.append(
            [
                name,
                "" if constant is None else f"{constant:.2g}",
                *(_horizon(forecasts, level) for level in LEVELS),
                f"{forecasts.spectrum_error:.2f}",
                "" if apriori is None else f"{apriori:.3f}",
                f"{1e3 * forecasts.seconds_a_step / len(judgement.truth_halfway):.2f}",
            ]
        )
    attrs = [each.attrs for each in dns.values()]
    steps = sum(each["coarse_time_steps"] for each in attrs)
    cost = 1e3 * sum(each["seconds_solving"] for each in attrs) / steps
    rows.append(["(the simulation itself)", *[""] * (len(columns) - 2), f"{cost:.2f}"])
    return columns, rows


def _horizon(forecasts: Forecasts, level: float) -> str:
    each = forecasts.horizons(level)
    return f"{mean_horizon(forecasts, level):.2f} ({float(each.min()):.1f}–{float(each.max()):.1f})"


def _training(training: Any) -> Table:
    stalled = ", ".join(f"{name} {s:.1f} s" for name, s in training["seconds_stalled"].items())
    return ["what", "how much"], [
        ["parameters of the network", training["parameters"]],
        ["time of training", f"{training['seconds']:.0f} s"],
        ["gradient steps", training["gradient_steps"]],
        ["samples received", training["samples"]],
        ["draws", training["drawn"]],
        ["capacity of the reservoir", training["capacity"]],
        [
            "starved for samples",
            f"{training['seconds_starved']:.2f} s ({100 * training['starvation']:.2f} %)",
        ],
        ["simulations stalled by a full reservoir", stalled],
        ["versions published", len(training["history"])],
    ]


def _live(live: dict[str, Any], counts: dict[str, Any]) -> Table:
    forecasts, following, guard = live["forecasts"], live["following"], live["guard"]
    seconds = sum(each["seconds"] for each in forecasts)
    steps = sum(each["time_steps"] for each in forecasts)
    refreshing = following["seconds_in_refresh"]
    refused = ", ".join(f"{n} by {reason}" for reason, n in following["refused_by_reason"].items())
    fallbacks = ", ".join(f"{n} for {reason}" for reason, n in guard["by_reason"].items())
    later = counts["guard"]["fallbacks"] - guard["fallbacks"]
    return ["what", "how much"], [
        ["forecasts", len(forecasts)],
        ["time steps", steps],
        ["a time step of all flows", f"{1e3 * seconds / steps:.2f} ms"],
        ["versions taken", following["taken"]],
        ["versions refused", f"{following['refused']} {refused}".strip()],
        [
            "refreshing, loading and the gate included",
            f"{1e6 * refreshing / steps:.0f} µs a step, {100 * refreshing / seconds:.2f} % of it",
        ],
        ["calls of the guard", guard["calls"]],
        ["calls in which the eddy viscosity stood in", f"{guard['fallbacks']} {fallbacks}".strip()],
        ["the same in the final forecasts", later],
        [
            "version judged",
            f"{counts['version']}{'' if counts['final'] else ' (not the last one)'}",
        ],
    ]


def _observed(dns: dict[str, Any]) -> Table:
    columns = ["simulation", "seed", "windows", "MB", "ms a window", "in stream calls", "waiting"]
    rows = []
    for key, dataset in dns.items():
        figures = dataset.attrs
        stream, seconds = figures["stream"], figures["seconds_streaming"]
        rows.append(
            [
                key.partition("/")[2],
                figures["seed"],
                figures["windows"],
                f"{stream['bytes'] / 1e6:.0f}",
                f"{1e3 * seconds / max(figures['windows'], 1):.0f}",
                f"{100 * (stream['seconds_in_calls'] - stream['seconds_waited']) / seconds:.2f} %",
                f"{100 * stream['seconds_waited'] / seconds:.2f} %",
            ]
        )
    return columns, rows
