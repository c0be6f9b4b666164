"""The large-eddy simulation: runs beside the simulations, with what the trainer has learned so far.

It makes forecasts, like a weather service: each starts from filtered states of the held-out
simulations, feels their forcing, and is given up when it has lost the flow. Between two time steps
it looks for a newer closure. Until there is one, and wherever the flow is not what the closure was
trained on, a guard calls an eddy viscosity instead.

Once the training is over, the final closure and the classical ones make the same forecasts, and
what came of it goes into the report of the run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import exhibits
import numpy as np
import torch
from cases import CASES
from closure import ClosureNetwork, InTheLoop
from coarse import Closure, CoarseSolver
from evaluation import LEVELS, closeness, horizons
from judgement import judged
from samples import Trajectories, record, together
from torch import Tensor
from tuning import classical_models, tuned_leith

import dovetail as dv

GIVES_WAY = 5
"""Niceness: with fewer cores than programs, the trainer goes first."""


def main(case: str, tune_on: list[str], judge_on: str) -> None:
    """Tune the eddy viscosity, forecast until the training is over, then judge.

    Parameters
    ----------
    case
        A name in :data:`cases.CASES`.
    tune_on, judge_on
        Names of streams: of simulations that are learned from, and of held-out ones.
    """
    os.nice(GIVES_WAY)
    torch.set_num_threads(1)
    settings = CASES[case]
    solver = CoarseSolver(settings)
    *training, held_out = record(settings, *tune_on, judge_on)
    truth = held_out.trajectories()
    seen = together([each.trajectories() for each in training])
    leith = tuned_leith(solver, seen)

    with dv.open_store("models") as models, dv.open_store("results") as results:
        les = LargeEddySimulation(solver, models, leith.truest.closure)
        live = les.forecast_while(truth, lambda: not results.exists("training"))
        results.put("les", np.zeros(1), attrs=live)
        classical = classical_models(solver, seen, leith)
        for model in classical:
            print(f"{model.name}: constant {model.constant}", flush=True)
        judgement = judged(solver, held_out, truth, classical, les.guarded)
        members = sum(each.members for each in (*training, held_out))
        exhibits.show(settings, judgement, live, les.counts(), results, members)


class LargeEddySimulation:
    """A coarse solver with a closure that follows a trainer.

    Parameters
    ----------
    solver
        Without a closure.
    models
        The store where the trainer publishes.
    physics
        What to do without a closure that can be trusted.
    """

    def __init__(self, solver: CoarseSolver, models: dv.Store, physics: Closure) -> None:
        self._solver = solver
        self._physics = physics
        self._gradients = torch.empty(0)
        self._model = dv.FollowedModel(models, "closure", ClosureNetwork(), gate=self._sound)
        self._guard = dv.Guard(self._model, self._eddy_viscosity, per="sample")
        self.guarded = InTheLoop(solver.grid, self._guard)
        """The closure, or the eddy viscosity, as the guard decides."""

    def forecast_while(self, truth: Trajectories, learning: Callable[[], bool]) -> dict[str, Any]:
        """Forecast again and again, and once more when the training is over.

        Returns
        -------
        dict
            JSON values: each forecast, and the counts of the guard and of what was refused.
        """
        forecasts: list[dict[str, Any]] = []
        more = True
        while more:
            more = learning()
            forecasts.append(self._forecast(truth))
            print(_line(forecasts[-1]), flush=True)
        return {"forecasts": forecasts, **self.counts()}

    def counts(self) -> dict[str, Any]:
        """What was followed, refused and given by the physics so far, in JSON values."""
        return {
            "following": self._model.statistics()._asdict(),
            "guard": self._guard.statistics()._asdict(),
            "version": self._model.version,
            "final": bool(self._model.attrs.get("final", False)),
        }

    def _forecast(self, truth: Trajectories) -> dict[str, Any]:
        """Until every flow is lost."""
        began, begun = time.time(), time.perf_counter()
        before = self._guard.statistics()
        vorticity_hat, versions = truth.initial, []
        correlations = [closeness(self._solver, vorticity_hat, truth.vorticity_hat[0])]
        with torch.no_grad():
            for step in range(truth.steps):
                self._gradients = self._solver.grid.velocity_gradient(vorticity_hat)
                self._guard.refresh()
                versions.append(self._model.version)
                vorticity_hat = self._solver.step(
                    vorticity_hat, truth.forcing_hat[step], self.guarded
                )
                close = closeness(self._solver, vorticity_hat, truth.vorticity_hat[step + 1])
                correlations.append(close)
                if bool((close < min(LEVELS)).all()):
                    break
        after = self._guard.statistics()
        kept = [
            horizons(torch.stack(correlations), level, self._solver.time_step) for level in LEVELS
        ]
        return {
            "began": began,
            "seconds": time.perf_counter() - begun,
            "time_steps": len(versions),
            "versions": [versions[0], versions[-1]],
            "horizons": {str(level): h.tolist() for level, h in zip(LEVELS, kept, strict=True)},
            "fallbacks": after.fallbacks - before.fallbacks,
        }

    def _eddy_viscosity(self, gradients: Tensor) -> Tensor:
        grid = self._solver.grid
        return grid.field(self._physics(grid.transform(gradients[:, 0]))).unsqueeze(1)

    def _sound(self, candidate: Callable[[Tensor], Tensor], _: Mapping[str, Any]) -> str | None:
        """The gate: a closure must drain enstrophy, and not be out of all proportion.

        Judged on the flow at hand, without knowing what is exact, as in any simulation.
        """
        vorticity, modelled = self._gradients[:, :1], candidate(self._gradients)
        physics = self._eddy_viscosity(self._gradients)
        if not float((vorticity * modelled).mean()) < 0.0:
            return "it gives enstrophy to the flow instead of taking it out"
        excess = float(modelled.std() / physics.std())
        if excess > STRONGEST:
            return f"it is {excess:.0f} times as strong as the eddy viscosity"
        return None


STRONGEST = 10.0
"""How much stronger than the eddy viscosity a closure may be. (The exact one is 3 times.)"""


def _line(forecast: dict[str, Any]) -> str:
    first, last = forecast["versions"]
    kept = forecast["horizons"][str(min(LEVELS))]
    return (
        f"a forecast with versions {first} to {last} keeps the flow for "
        f"{sum(kept) / len(kept):.2f} time units; {forecast['fallbacks']} of "
        f"{forecast['time_steps']} steps by the eddy viscosity"
    )
