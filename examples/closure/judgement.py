"""The learned closure beside the classical ones, on simulations that none of them has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from coarse import Closure, CoarseSolver
from evaluation import LEVELS, Forecasts, forecast
from samples import Recording, Trajectories
from torch import Tensor
from tuning import Classical

LEARNED = "learned"


@dataclass(frozen=True)
class Judgement:
    """What became of each closure. Names are those of the models, the learned one's the last."""

    forecasts: dict[str, Forecasts]
    """A posteriori, all from the same initial states."""
    constants: dict[str, float | None]
    """Of the classical models."""
    apriori: dict[str, float]
    """Correlation with the exact Pi."""
    truth_halfway: Tensor
    """Filtered vorticity in the middle of the forecasts, (starts, n, n)."""

    @property
    def rivals(self) -> dict[str, Forecasts]:
        """All but the learned closure."""
        return {name: each for name, each in self.forecasts.items() if name != LEARNED}

    @property
    def best_rival(self) -> str:
        """The classical model whose forecasts keep the flow longest."""
        return max(self.rivals, key=lambda name: mean_horizon(self.rivals[name]))


def judged(
    solver: CoarseSolver,
    held_out: Recording,
    truth: Trajectories,
    classical: Sequence[Classical],
    learned: Closure,
) -> Judgement:
    """Let all closures make the same forecasts."""
    closures = {model.name: model.closure for model in classical}
    closures[LEARNED] = learned
    return Judgement(
        forecasts={name: forecast(solver, truth, closure) for name, closure in closures.items()},
        constants={model.name: model.constant for model in classical},
        apriori=_apriori(solver, held_out, closures),
        truth_halfway=solver.grid.field(truth.vorticity_hat[truth.steps // 2]),
    )


def mean_horizon(forecasts: Forecasts, level: float = min(LEVELS)) -> float:
    """How long the forecasts correlate at least so well, in the mean."""
    return float(forecasts.horizons(level).mean())


def verdict(judgement: Judgement) -> str:
    """In words, whether the learned closure is worth it. It says so, too, if it is not."""
    learned, rival = judgement.forecasts[LEARNED], judgement.best_rival
    best = judgement.forecasts[rival]
    level = min(LEVELS)
    gained = learned.horizons(level) - best.horizons(level)
    wins, starts = int((gained > 0).sum()), len(gained)
    truest = min(judgement.rivals, key=lambda name: _finite_error(judgement.rivals[name]))
    rival_error = judgement.rivals[truest].spectrum_error
    longer, truer = float(gained.mean()) > 0, learned.spectrum_error < rival_error
    opening = {
        (True, True): "The learned closure wins",
        (True, False): "The learned closure keeps the flow longest, but its spectrum does not win",
        (False, True): "The learned closure has the best spectrum, but does not keep the flow "
        "longest",
        (False, False): "The learned closure does not win",
    }[longer, truer]
    nothing = next(iter(judgement.forecasts))
    return (
        f"{opening}. Its forecasts correlate with the held-out simulations above {level} for "
        f"{mean_horizon(learned):.2f} time units; those of the best classical model ({rival}) for "
        f"{mean_horizon(best):.2f}, and with {nothing} for "
        f"{mean_horizon(judgement.forecasts[nothing]):.2f}. From {wins} of {starts} initial "
        f"states it outlasts the former. Its energy spectrum is off by a typical factor of "
        f"{learned.spectrum_error:.2f}, the best classical one ({truest}) by {rival_error:.2f}."
    )


def _finite_error(forecasts: Forecasts) -> float:
    error = forecasts.spectrum_error
    return error if error == error else float("inf")


def _apriori(
    solver: CoarseSolver, held_out: Recording, closures: dict[str, Closure | None]
) -> dict[str, float]:
    vorticity_hat = solver.grid.transform(held_out.first)
    exact = held_out.subgrid_forcing.flatten()
    found = {}
    with torch.no_grad():
        for name, closure in closures.items():
            if closure is not None:
                parts = [solver.grid.field(closure(part)) for part in vorticity_hat.split(16)]
                found[name] = float(
                    torch.corrcoef(torch.stack([torch.cat(parts).flatten(), exact]))[0, 1]
                )
    return found
