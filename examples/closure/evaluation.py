"""How good a closure is *a posteriori*: what becomes of a large-eddy simulation with it.

Forecasts start from filtered states of the simulation, feel its forcing, and are compared with it.
Turbulence is chaotic, so every forecast loses the flow sooner or later; when is the measure of its
errors on the way. What it may never lose are the statistics, such as the spectrum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from coarse import Closure, CoarseSolver, correlation
from samples import Trajectories
from torch import Tensor

LEVELS = (0.95, 0.9)
"""A forecast has lost the flow when the correlation of vorticity falls below these."""


@dataclass(frozen=True)
class Forecasts:
    """Large-eddy simulations beside what they should have become. Times in the flow's unit."""

    correlation: Tensor
    """Of vorticity, after each coarse time step, (steps + 1, starts); 0 once not finite."""
    spectrum: Tensor
    """Mean energy spectrum after the first quarter, (kmax + 1,)."""
    spectrum_expected: Tensor
    """Of the filtered simulation over the same time."""
    halfway: Tensor
    """Vorticity in the middle, (starts, n, n)."""
    time_step: float
    seconds_a_step: float
    """Processor time of one time step of all flows together."""

    def horizons(self, level: float) -> Tensor:
        """How long each forecast correlates at least so well, (starts,)."""
        return horizons(self.correlation, level, self.time_step)

    @property
    def spectrum_error(self) -> float:
        """The typical factor, at least 1, by which the energy of a wavenumber is wrong."""
        ratio = (self.spectrum / self.spectrum_expected)[1:]
        return float(torch.log(ratio).square().mean().sqrt().exp())


def forecast(solver: CoarseSolver, truth: Trajectories, closure: Closure | None) -> Forecasts:
    """Run large-eddy simulations from all initial states together, and compare."""
    vorticity_hat = truth.initial
    correlations, spectra, expected = [], [], []
    halfway, seconds = vorticity_hat, 0.0
    with torch.no_grad():
        for step in range(truth.steps + 1):
            correlations.append(closeness(solver, vorticity_hat, truth.vorticity_hat[step]))
            if 4 * step >= truth.steps:
                spectra.append(solver.grid.energy_spectrum(vorticity_hat).mean(0))
                expected.append(solver.grid.energy_spectrum(truth.vorticity_hat[step]).mean(0))
            if 2 * step == truth.steps:
                halfway = vorticity_hat
            if step < truth.steps:
                begun = time.process_time()
                vorticity_hat = solver.step(vorticity_hat, truth.forcing_hat[step], closure)
                seconds += time.process_time() - begun
    return Forecasts(
        correlation=torch.stack(correlations),
        spectrum=torch.stack(spectra).mean(0),
        spectrum_expected=torch.stack(expected).mean(0),
        halfway=solver.grid.field(halfway),
        time_step=solver.time_step,
        seconds_a_step=seconds / truth.steps,
    )


def closeness(solver: CoarseSolver, vorticity_hat: Tensor, expected_hat: Tensor) -> Tensor:
    """The correlation of vorticities, (starts,); 0 if one is not finite."""
    field = solver.grid.field
    return correlation(field(vorticity_hat), field(expected_hat)).nan_to_num(0.0, 0.0, 0.0)


def horizons(correlation: Tensor, level: float, time_step: float) -> Tensor:
    """When a correlation, (steps + 1, starts), first falls below a level; its end if never."""
    lost = correlation < level
    steps = torch.where(lost.any(0), lost.int().argmax(0), len(correlation) - 1)
    return steps * time_step
