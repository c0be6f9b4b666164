"""Online beside offline training, with the same budget of gradient steps.

    python examples/closure/offline.py     # twenty-five minutes on one core; in runs/offline

The closure of this example is trained three ways from the same two simulations, each with several
seeds of the weights and of what is drawn:

- *online*: windows arrive while it trains, evenly over the budget, into a reservoir that holds
  only some of them;
- *offline, as much memory*: as many windows as fit into the reservoir, the first of each
  simulation, all there before the training begins, in epochs;
- *offline, all*: all windows that the online training ever sees, likewise.

All are judged as the flow's own closure is: in forecasts of held-out simulations.
``docs/explanation/online-and-offline.md`` shows what came of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import DeconvolvedLeith
from cases import CASES, Case
from closure import InTheLoop
from coarse import CoarseSolver
from evaluation import LEVELS, forecast
from flow import HELD_OUT, MEMBERS
from numpy.typing import NDArray
from samples import Recording, together
from torch import Tensor
from training import Training

import dovetail as dv

Window = dict[str, NDArray[np.float32]]
BATCH = 4
"""As in the flow."""
LEITH = 1e-3
"""The constant that the flow's tuning finds for Leith's viscosity beside deconvolution."""


def main() -> None:
    """Simulate once, train many times, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, default="full")
    parser.add_argument("--gradient-steps", type=int, default=1200, metavar="N")
    parser.add_argument("--windows", type=int, default=256, help="of each simulation")
    parser.add_argument("--capacity", type=int, default=64, help="of the reservoir, in windows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/offline"), metavar="DIR")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.output.mkdir(parents=True, exist_ok=True)
    case = CASES[asked.case]

    learned_from = [simulated(asked.case, seed, asked.windows) for seed in MEMBERS.values()]
    held_out = [simulated(asked.case, seed, case.windows) for seed in HELD_OUT]
    windows = [window for together in zip(*learned_from, strict=True) for window in together]
    judge = Judge(case, held_out)
    ways: dict[str, Callable[[int], Iterator[list[Window]]]] = {
        "online": lambda seed: online(windows, asked.capacity, asked.gradient_steps, seed),
        "offline, as much memory": lambda seed: offline(windows[: asked.capacity], seed),
        "offline, all": lambda seed: offline(windows, seed),
    }
    results: dict[str, Any] = {
        "settings": {**vars(asked), "output": str(asked.output), "batch": BATCH},
        "deconvolution + Leith": judge.figures(DeconvolvedLeith(judge.solver.grid, LEITH)),
        "ways": {name: [] for name in ways},
    }
    for seed in asked.seeds:
        for name, batches in ways.items():
            figures = trained(case, batches(seed), asked.gradient_steps, seed, judge)
            results["ways"][name].append({"seed": seed, **figures})
            print(f"{name}, seed {seed}: {figures}", flush=True)
            (asked.output / "offline.json").write_text(json.dumps(results, indent=1))
    print(table(results))


def simulated(case: str, seed: int, windows: int) -> list[Window]:
    """So many windows of one simulation, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_simulate, (case, seed, windows))


def _simulate(case: str, seed: int, windows: int) -> list[Window]:
    from dns import Simulation

    simulation = Simulation(CASES[case], seed)
    return [simulation.next_window() for _ in range(windows)]


def online(
    windows: Sequence[Window], capacity: int, gradient_steps: int, seed: int
) -> Iterator[list[Window]]:
    """Batches from a reservoir, which new windows enter at an even pace."""
    reservoir = dv.Reservoir(capacity, seed=seed)
    arrived = 0
    for step in range(gradient_steps):
        while arrived < min(len(windows), 4 * BATCH + step * len(windows) // gradient_steps):
            reservoir.put(windows[arrived])
            arrived += 1
        yield [dict(sample) for sample in reservoir.draw_many(BATCH)]


def offline(windows: Sequence[Window], seed: int) -> Iterator[list[Window]]:
    """Batches from what is all there, epoch after epoch, each in an order of its own."""
    chance = np.random.default_rng(seed)
    while True:
        order = chance.permutation(len(windows))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            yield [windows[place] for place in order[begin : begin + BATCH]]


class Judge:
    """Held-out simulations, and forecasts of them."""

    def __init__(self, case: Case, simulations: Sequence[Sequence[Window]]) -> None:
        self.solver = CoarseSolver(case)
        recordings = []
        for simulation in simulations:
            recording = Recording(case)
            for window in simulation:
                recording.add({name: array[np.newaxis] for name, array in window.items()})
            recordings.append(recording)
        self._truth = together([recording.trajectories() for recording in recordings])
        first = torch.cat([recording.first[::4] for recording in recordings])
        self._first_hat = self.solver.grid.transform(first)
        self._exact = torch.cat([recording.subgrid_forcing[::4] for recording in recordings])

    def figures(self, closure: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """A priori and in the loop."""
        forecasts = forecast(self.solver, self._truth, closure)
        with torch.no_grad():
            modelled = self.solver.grid.field(closure(self._first_hat))
        pair = torch.stack([modelled.flatten(), self._exact.flatten()])
        return {
            "correlation": float(torch.corrcoef(pair)[0, 1]),
            **{f"horizon {level}": float(forecasts.horizons(level).mean()) for level in LEVELS},
            "spectrum": forecasts.spectrum_error,
        }


def trained(
    case: Case, batches: Iterator[list[Window]], gradient_steps: int, seed: int, judge: Judge
) -> dict[str, float]:
    """Train with the flow's own loop, but for a budget of gradient steps instead of time."""
    torch.manual_seed(seed)
    training = Training(case)
    begun = time.perf_counter()
    losses = []
    for step in range(gradient_steps):
        training.progress.done = step / gradient_steps
        batch = next(batches)
        stacked = {
            name: torch.from_numpy(np.stack([window[name] for window in batch]))
            for name in batch[0]
        }
        losses.append(training.gradient_step(**stacked))
    seconds = time.perf_counter() - begun
    closure = InTheLoop(judge.solver.grid, training.published_network)
    last = losses[-gradient_steps // 10 :]
    return {**judge.figures(closure), "training loss": float(np.mean(last)), "seconds": seconds}


def table(results: dict[str, Any]) -> str:
    """In Markdown: the mean over seeds, and the worst and best of them."""
    keys = ["training loss", "correlation", *(f"horizon {level}" for level in LEVELS), "spectrum"]
    lines = ["| training | " + " | ".join(keys) + " |", "|---|" + "---|" * len(keys)]
    for name, runs in results["ways"].items():
        cells = []
        for key in keys:
            values = [run[key] for run in runs]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    classical = results["deconvolution + Leith"]
    cells = [f"{classical[key]:.3f}" if key in classical else "" for key in keys]
    lines.append("| (deconvolution + Leith) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
