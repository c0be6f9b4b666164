"""How the closure learns: from the error of a large-eddy simulation with the closure in it.

The error is taken after a few of its time steps: one at first, which is as good as fitting Pi,
then more. The network so learns to live with its own errors, and with those of the coarse solver:
trained on Pi alone, a closure can correlate well and still make the simulation drift or blow up
(see :mod:`coarse` for sources).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from cases import Case
from closure import SYMMETRIES, ClosureNetwork, InTheLoop, image
from coarse import CoarseSolver
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import dovetail as dv

UNROLLED = ((0.35, 1), (0.5, 2), (0.65, 4), (1.0, 8))
"""Up to which part of the training how many coarse time steps are unrolled."""

LEARNING_RATE = 3e-3
"""At its peak."""


@dataclass
class Progress:
    """How far a training is."""

    done: float = 0.0
    """Share of the budget that is used, 0 to 1: the schedules go by it."""
    seconds: float = 0.0
    gradient_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    """Of each publication: when, after how much, how good."""
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    """Bounds of the network's inputs so far."""


class Training:
    """The network, its optimizer, and what a gradient step is.

    Parameters
    ----------
    case
        The flow.

    Attributes
    ----------
    progress
        The caller says how much of the budget is used: of time, or of gradient steps.
    """

    def __init__(self, case: Case) -> None:
        self.progress = Progress()
        self.solver = CoarseSolver(case)
        self.network = ClosureNetwork()
        self._window = case.window
        self._closure = InTheLoop(self.solver.grid, self.network)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE)
        # What is published is a running mean of the weights: as good, in the middle of the
        # training, as if the learning rate were already low.
        self._average = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(0.98))

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "network": self.network,
            "average": self._average,
            "optimizer": self._optimizer,
        }

    @property
    def published_network(self) -> ClosureNetwork:
        """The closure as it is now."""
        network = self._average.module
        assert isinstance(network, ClosureNetwork)
        return network

    @property
    def input_range(self) -> dv.InputRange:
        """What the network has been shown so far, and a tenth more on either side."""
        lower, upper = torch.tensor(self.progress.lower), torch.tensor(self.progress.upper)
        return dv.InputRange.of(torch.stack([lower, upper]), margin=0.1)

    @property
    def finished(self) -> bool:
        """Whether the budget is used up."""
        return self.progress.done >= 1.0

    @property
    def unrolled(self) -> int:
        """How many coarse time steps a gradient step looks ahead now."""
        return min(
            next(steps for end, steps in UNROLLED if self.progress.done <= end), self._window
        )

    def gradient_step(self, vorticity: Tensor, forcing: Tensor, subgrid_forcing: Tensor) -> float:
        """Learn from one batch of windows, as :mod:`dns` streams them. Returns the loss."""
        if not self.progress.gradient_steps:
            self._begin(vorticity, subgrid_forcing)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        symmetry = int(torch.randint(SYMMETRIES, ()))
        loss = self._loss(image(vorticity, symmetry), image(forcing, symmetry))
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        self._average.update_parameters(self.network)
        self.progress.gradient_steps += 1
        return loss.item()

    def _begin(self, vorticity: Tensor, subgrid_forcing: Tensor) -> None:
        grid = self.solver.grid
        gradients = grid.velocity_gradient(grid.transform(vorticity[:, 0]))
        for network in (self.network, self.published_network):
            network.set_scales(gradients, subgrid_forcing)

    def _loss(self, vorticity: Tensor, forcing: Tensor) -> Tensor:
        """The mean square error of the vorticity, as that of a Pi held wrong since the start.

        In units of the mean square of Pi, so that windows unrolled differently compare.
        """
        grid, steps = self.solver.grid, self.unrolled
        begin = int(torch.randint(self._window - steps + 1, ()))
        exact_hat = grid.transform(vorticity[:, begin : begin + steps + 1])
        forcing_hat = grid.spread(forcing[:, begin : begin + steps])
        self._widen_range(grid.velocity_gradient(exact_hat[:, 0]))
        vorticity_hat, loss = exact_hat[:, 0], torch.zeros(())
        for step in range(steps):
            vorticity_hat = self.solver.step(vorticity_hat, forcing_hat[:, step], self._closure)
            error = grid.field(vorticity_hat - exact_hat[:, step + 1])
            elapsed = (step + 1) * self.solver.time_step
            loss = loss + (error / (elapsed * self.network.output_scale)).square().mean() / steps
        return loss

    def _learning_rate(self) -> float:
        """A warm-up, then half a cosine down to a fiftieth; less for losses of many steps."""
        warm_up = min((self.progress.gradient_steps + 1) / 20, 1.0)
        cosine = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * self.progress.done))
        return LEARNING_RATE * warm_up * cosine / math.sqrt(self.unrolled)

    def _widen_range(self, gradients: Tensor) -> None:
        lower, upper = gradients.amin((0, 2, 3)).tolist(), gradients.amax((0, 2, 3)).tolist()
        seen = self.progress
        seen.lower = [min(pair) for pair in zip(seen.lower or lower, lower, strict=True)]
        seen.upper = [max(pair) for pair in zip(seen.upper or upper, upper, strict=True)]
