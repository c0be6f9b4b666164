"""The free constants of the classical models, fitted to the simulations that are learned from.

A classical model deserves the same care as a learned one. Each constant is tried in large-eddy
simulations of a *training* simulation, and the best is taken: no fit a priori, which would favour
an eddy viscosity that is right about Pi and wrong in the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from baselines import DeconvolvedLeith, DynamicSmagorinsky, GradientLeith, Leith
from coarse import Closure, CoarseGrid, CoarseSolver
from evaluation import LEVELS, Forecasts, forecast
from samples import Trajectories

CONSTANTS = tuple(3e-4 * 1.5**power for power in range(11))
"""Tried for Leith's viscosity: from 0.0003 to 0.017."""


@dataclass(frozen=True)
class Classical:
    """A classical model with its best constant."""

    name: str
    closure: Closure | None
    constant: float | None = None
    """None if it has none, or finds it itself."""


@dataclass(frozen=True)
class TunedLeith:
    """Leith's viscosity twice, since no constant is the best in every respect."""

    longest: Classical
    """The constant with which forecasts keep the flow longest."""
    truest: Classical
    """The constant with which the spectrum is best: enstrophy piles up with the former."""


def tuned_leith(solver: CoarseSolver, training: Trajectories) -> TunedLeith:
    """Leith's viscosity, as good as its constant can make it."""
    found = {c: forecast(solver, training, Leith(solver.grid, c)) for c in CONSTANTS}
    longest = max(found, key=lambda c: _mean_horizon(found[c]))
    truest = min(found, key=lambda c: _error(found[c]))
    return TunedLeith(
        Classical("Leith, longest horizon", Leith(solver.grid, longest), longest),
        Classical("Leith, best spectrum", Leith(solver.grid, truest), truest),
    )


def tuned(
    name: str,
    model: Callable[[CoarseGrid, float], Closure],
    solver: CoarseSolver,
    training: Trajectories,
) -> Classical:
    """A model with the constant with which forecasts keep the flow longest."""
    found = {c: forecast(solver, training, model(solver.grid, c)) for c in CONSTANTS}
    best = max(found, key=lambda c: _mean_horizon(found[c]))
    return Classical(name, model(solver.grid, best), best)


def classical_models(
    solver: CoarseSolver, training: Trajectories, leith: TunedLeith
) -> list[Classical]:
    """All that a learned closure has to beat, and no closure at all, which comes first."""
    return [
        Classical("no closure", None),
        Classical("dynamic Smagorinsky", DynamicSmagorinsky(solver.grid)),
        leith.longest,
        leith.truest,
        tuned("gradient + Leith", GradientLeith, solver, training),
        tuned("deconvolution + Leith", DeconvolvedLeith, solver, training),
    ]


def _mean_horizon(forecasts: Forecasts) -> float:
    return sum(float(forecasts.horizons(level).mean()) for level in LEVELS)


def _error(forecasts: Forecasts) -> float:
    error = forecasts.spectrum_error
    return error if math.isfinite(error) else math.inf
