"""The trainer: an ordinary PyTorch loop, fed by a simulation that is still running.

One stream is learned from. Another, of a simulation with other initial conditions and another
forcing, is only ever tested on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from closure import SYMMETRIES, Closure, image, resolved
from filtering import SubgridFilter
from held_out import HeldOut, compare
from reservoir import Reservoir

import dovetail as dv

PATIENCE = 120.0
"""Seconds to wait for a simulation that spins up."""

WATERMARK = 16
"""Samples to have before learning begins."""


def main() -> None:
    """Read the command line, train, and write down what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the stream to learn from")
    parser.add_argument("--held-out-url", required=True, help="the stream to test on")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seconds", type=float, default=100.0, help="of training")
    parser.add_argument("--points", type=int, default=256, help="of the simulation, a side")
    parser.add_argument("--capacity", type=int, default=512, help="samples in the reservoir")
    parser.add_argument("--batch", type=int, default=8, help="samples in a gradient step")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="at its peak")
    parser.add_argument("--evaluations", type=int, default=20, help="more of them early on")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    figures = run(arguments)
    (arguments.output / "training.json").write_text(json.dumps(figures, indent=1))


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Train on one stream until the time is up, testing on the other; return the figures."""
    reservoir = Reservoir(arguments.capacity, arguments.seed)
    closure = Closure()
    optimizer = torch.optim.AdamW(closure.parameters(), lr=arguments.learning_rate)
    history: list[dict[str, object]] = []
    seconds_testing = seconds_receiving = loss = 0.0
    gradient_steps = 0

    begun = time.perf_counter()
    with dv.open_stream(arguments.url, "r") as stream:
        held_out = HeldOut(arguments.held_out_url, PATIENCE)
        print(f"{len(held_out.samples)} samples of the held-out simulation are here", flush=True)
        while len(reservoir) < WATERMARK:
            reservoir.add(expected(stream.next_step(PATIENCE)))
        closure.set_scales(*reservoir.all())
        waited_before_training = stream.statistics().seconds_waited
        ready = time.perf_counter()

        while True:
            now = time.perf_counter()
            progress = min((now - ready) / arguments.seconds, 1.0)
            if progress >= (len(history) / arguments.evaluations) ** 2:
                score = held_out.score(held_out.predicted(closure).numpy())
                progress_made = {
                    "seconds": now - ready,
                    "samples": reservoir.received,
                    "gradient_steps": gradient_steps,
                    "loss": loss,
                }
                history.append({**progress_made, **score})
                print(
                    f"{now - ready:5.0f} s  {reservoir.received:5d} samples  "
                    f"{gradient_steps:5d} gradient steps  "
                    f"held-out correlation {score['correlation']:.3f}",
                    flush=True,
                )
                seconds_testing += time.perf_counter() - now
            if progress >= 1.0:
                break

            before = time.perf_counter()
            receive_what_is_here(stream, reservoir)
            seconds_receiving += time.perf_counter() - before

            for group in optimizer.param_groups:
                group["lr"] = arguments.learning_rate * schedule(gradient_steps, progress)
            loss = gradient_step(closure, optimizer, reservoir, arguments.batch)
            gradient_steps += 1

        ended = time.perf_counter()
        stream.stop()
        statistics = stream.statistics()

    torch.save(closure.state_dict(), arguments.output / "closure.pt")
    delta = SubgridFilter(arguments.points, held_out.gradients.shape[-1]).delta
    return {
        "parameters": sum(parameter.numel() for parameter in closure.parameters()),
        "samples": reservoir.received,
        "capacity": reservoir.capacity,
        "batch": arguments.batch,
        "gradient_steps": gradient_steps,
        "seconds_before_training": ready - begun,
        "seconds_training": ended - ready,
        "seconds_testing": seconds_testing,
        "seconds_receiving": seconds_receiving,
        "seconds_starved": statistics.seconds_waited - waited_before_training,
        "stream": statistics._asdict(),
        "held_out_stream": held_out.statistics._asdict(),
        "history": history,
        **compare(held_out, closure, delta, arguments.output),
    }


def gradient_step(
    closure: Closure, optimizer: torch.optim.Optimizer, reservoir: Reservoir, size: int
) -> float:
    """Learn from one batch. Returns the mean square error over the mean square forcing."""
    symmetry = int(torch.randint(SYMMETRIES, (), generator=reservoir.generator))
    gradients, forcing = image(*reservoir.batch(size), symmetry)
    error = (resolved(closure(gradients)) - forcing) / closure.output_scale
    loss = error.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def receive_what_is_here(stream: dv.StreamReader, reservoir: Reservoir) -> None:
    """Move the steps that have arrived into the reservoir, without waiting for more."""
    while True:
        try:
            reservoir.add(expected(stream.next_step(timeout=0.0)))
        except dv.TransportTimeoutError:
            return


def expected(step: dv.ReadStep | None) -> dv.ReadStep:
    """The step itself. Raises RuntimeError at the end of the stream."""
    if step is None:
        raise RuntimeError("the simulation ended before the training did")
    return step


def schedule(gradient_steps: int, progress: float) -> float:
    """A short warm-up, then half a cosine over the time of training, down to a fiftieth."""
    warm_up = min((gradient_steps + 1) / 20, 1.0)
    return warm_up * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress)))


if __name__ == "__main__":
    main()
