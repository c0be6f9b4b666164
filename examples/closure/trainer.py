"""The trainer: an ordinary PyTorch loop, fed by simulations that are still running.

It publishes the closure every few seconds, and keeps checkpoints: killed and started again, it
goes on where it was. One stream is of simulations that are held out: they are only ever tested on.
"""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np
import torch
from cases import CASES
from closure import InTheLoop
from coarse import CoarseGrid
from samples import PATIENCE, members
from training import Progress, Training

import dovetail as dv


def main(
    case: str,
    minutes: float,
    learn_from: list[str],
    hold_out: str,
    publish_every: float = 4.0,
    checkpoint_every: float = 20.0,
    capacity: int = 256,
    batch: int = 4,
    seed: int = 0,
) -> None:
    """Train until the time is up, publishing all the while.

    Parameters
    ----------
    case
        A name in :data:`cases.CASES`.
    minutes
        Of training, not counting the wait for the first samples.
    learn_from, hold_out
        Names of streams.
    publish_every, checkpoint_every
        Seconds.
    capacity
        Of the reservoir, in windows.
    batch
        Windows in a gradient step.
    seed
        Of the weights and of what is drawn.
    """
    if not minutes > 0.0:
        raise ValueError(f"minutes={minutes}: train for more than none")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    training = Training(CASES[case])
    checkpoint = dv.this_component().checkpoints / "training.safetensors"
    with (
        dv.open_store("models") as models,
        dv.open_store("results") as results,
        dv.OnlineDataset(
            [*learn_from, hold_out],
            prepare=members,
            hold_out=[hold_out],
            hold_out_capacity=HELD_OUT_CAPACITY,
            capacity=capacity,
            watermark=4 * batch,
            batch_size=batch,
            seed=seed,
            timeout=PATIENCE,
        ) as data,
    ):
        kept = {**training.parts, "data": data}
        if checkpoint.exists():
            training.progress = Progress(**dv.load_checkpoint(checkpoint, kept)["progress"])
            print(f"going on after {training.progress.gradient_steps} gradient steps", flush=True)
        data.start()
        held_out = HeldOut(training.solver.grid, data)
        print(f"{held_out.count} samples to test on are here", flush=True)

        progress = training.progress
        # At once: the simulations that are held out are over, and do not come again.
        dv.save_checkpoint(checkpoint, {**kept, "progress": asdict(progress)})
        clock = published = saved = time.monotonic()
        for windows in data:
            training.gradient_step(**windows)
            now = time.monotonic()
            progress.seconds += now - clock
            progress.done = min(progress.seconds / (60.0 * minutes), 1.0)
            clock = now
            if now - published > publish_every or training.finished:
                published = now
                publish(models, training, held_out, data)
            if training.finished:
                break
            if now - saved > checkpoint_every:
                saved = now
                dv.save_checkpoint(checkpoint, {**kept, "progress": asdict(progress)})
        data.stop()
        results.put("training", np.zeros(1), attrs=figures(training, data))


HELD_OUT_CAPACITY = 1024
"""More than there are: waiting for so many is waiting for the end of the held-out simulations."""


class HeldOut:
    """Samples that the closure is tested on and never learns from.

    Attributes
    ----------
    count
        How many.
    """

    def __init__(self, grid: CoarseGrid, data: dv.OnlineDataset, most: int = 60) -> None:
        samples = data.held_out(at_least=HELD_OUT_CAPACITY, timeout=PATIENCE)
        chosen = samples[:: -(-len(samples) // most)].batch()
        self.count = len(chosen["vorticity"])
        self._grid = grid
        self._vorticity_hat = grid.transform(chosen["vorticity"][:, 0])
        self._exact = chosen["subgrid_forcing"]

    def correlation(self, network: torch.nn.Module) -> float:
        """Of the closure's Pi with the exact one, over all points of all samples."""
        with torch.no_grad():
            modelled = InTheLoop(self._grid, network)(self._vorticity_hat)
        pair = torch.stack([self._grid.field(modelled).flatten(), self._exact.flatten()])
        return float(torch.corrcoef(pair)[0, 1])


def publish(
    models: dv.Store, training: Training, held_out: HeldOut, data: dv.OnlineDataset
) -> None:
    """Test the closure as it is now, and let who follows it have it."""
    network, progress = training.published_network, training.progress
    samples = data.statistics().reservoir.received
    point = {
        "seconds": progress.seconds,
        "gradient_steps": progress.gradient_steps,
        "samples": samples,
        "correlation": held_out.correlation(network),
    }
    version = dv.publish_model(
        models,
        "closure",
        network,
        attrs={**point, "final": training.finished},
        input_range=training.input_range,
    )
    progress.history.append({**point, "version": version, "time": time.time()})
    print(
        f"{progress.seconds:5.0f} s  {samples:5d} samples  {progress.gradient_steps:5d} gradient "
        f"steps of {training.unrolled}  held-out correlation {point['correlation']:.3f}  "
        f"-> version {version}",
        flush=True,
    )


def figures(training: Training, data: dv.OnlineDataset) -> dict[str, object]:
    """What the training took."""
    statistics = data.statistics()
    return {
        "seconds": training.progress.seconds,
        "gradient_steps": training.progress.gradient_steps,
        "history": training.progress.history,
        "parameters": sum(weights.numel() for weights in training.network.parameters()),
        "samples": statistics.reservoir.received,
        "drawn": statistics.reservoir.drawn,
        "capacity": statistics.reservoir.capacity,
        "seconds_warming_up": statistics.seconds_warming_up,
        "seconds_starved": statistics.seconds_starved,
        "starvation": statistics.starvation,
        "seconds_stalled": {each.name: each.seconds_stalled for each in statistics.producers},
    }
