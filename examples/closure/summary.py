"""What a finished run says of itself, as text. Every figure was measured in that run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Results:
    """The figures that the programs of a run wrote, as they wrote them."""

    dns: dict[str, Any]
    held_out: dict[str, Any]
    training: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read the three JSON files of a run's folder."""
        names = ("dns", "held-out", "training")
        return cls(*(json.loads((folder / f"{name}.json").read_text()) for name in names))


def text(results: Results) -> str:
    """The summary of a run, for a terminal."""
    sections = (simulation(results), movement(results), learning(results), accuracy(results))
    return "\n\n".join("\n".join(section) for section in sections)


def simulation(results: Results) -> list[str]:
    """What was simulated, and at what cost."""
    dns, held_out = results.dns, results.held_out
    step = dns["seconds_solving"] / dns["time_steps"]
    filtering = dns["seconds_filtering"] / dns["stream"]["steps"]
    return [
        "Simulation (fluidsim ns2d)",
        _line("grid", f"{dns['points']} x {dns['points']}"),
        _line("time steps", f"{dns['time_steps']}, {1e3 * step:.2f} ms each"),
        _line("spin-up", f"{dns['seconds_spinning_up']:.1f} s, before the first sample"),
        _line("filter and exact forcing", f"{1e3 * filtering:.2f} ms a sample"),
        _line("energy", _drift(dns["energy"])),
        _line("enstrophy", _drift(dns["enstrophy"])),
        _line("held-out simulation", f"{held_out['time_steps']} time steps, another seed"),
    ]


def movement(results: Results) -> list[str]:
    """What went through the stream, and who waited for it."""
    dns, training = results.dns, results.training
    stream = dns["stream"]
    seconds = dns["seconds_streaming"]
    moving = stream["seconds_in_calls"] - stream["seconds_waited"]
    received = training["stream"]
    return [
        "Stream",
        _line("steps", f"{stream['steps']} written, {received['steps']} read"),
        _line("bytes", f"{stream['bytes'] / 1e6:.1f} MB written"),
        _line(
            "rate",
            f"{stream['steps'] / seconds:.1f} steps/s, {stream['bytes'] / seconds / 1e6:.2f} MB/s",
        ),
        _line("simulation waited", f"{stream['seconds_waited']:.2f} s of {seconds:.1f} s"),
        _line("simulation in stream calls", f"{100 * share_in_calls(results):.2f} % of its time"),
        _line("  of which not waiting", f"{1e6 * moving / stream['steps']:.0f} µs a step"),
        _line(
            "trainer waited",
            f"{training['seconds_before_training']:.1f} s for the spin-up, then "
            f"{training['seconds_starved']:.2f} s of {training['seconds_training']:.1f} s",
        ),
    ]


def learning(results: Results) -> list[str]:
    """What was learned from how much."""
    training = results.training
    steps, seconds = training["gradient_steps"], training["seconds_training"]
    return [
        "Training",
        _line("network", f"{training['parameters']} parameters"),
        _line("samples", f"{training['samples']} seen, {training['capacity']} held at most"),
        _line(
            "gradient steps",
            f"{steps} of {training['batch']} samples, {steps / seconds:.1f} a second",
        ),
    ]


def accuracy(results: Results) -> list[str]:
    """How well the subgrid forcing of the held-out simulation is predicted, and by what."""
    lines = [
        f"A priori, on {results.training['held_out_samples']} samples of the held-out simulation",
        f"  {'':26}{'correlation':>12}{'worst sample':>14}{'enstrophy transfer':>20}",
    ]
    for name, score in results.training["models"].items():
        lines.append(
            f"  {name:26}{score['correlation']:12.3f}{min(score['by_sample']):14.3f}"
            f"{score['transfer']:18.2f} x"
        )
    over_time = ", ".join(
        f"{point['correlation']:.3f} at {point['seconds']:.0f} s"
        for point in _thinned(results.training["history"], 5)
    )
    return [
        *lines,
        "  (eddy viscosities with the constant that fits these samples best)",
        f"  learned, over time: {over_time}",
    ]


def share_in_calls(results: Results) -> float:
    """The part of the simulation's time, spin-up excluded, that it spent inside stream calls."""
    return float(results.dns["stream"]["seconds_in_calls"] / results.dns["seconds_streaming"])


def _line(name: str, value: str) -> str:
    return f"  {name:28}{value}"


def _drift(series: list[float]) -> str:
    half = len(series) // 2
    first, second = (sum(part) / len(part) for part in (series[:half], series[half:]))
    return f"{first:.2f} in the first half of the run, {second:.2f} in the second"


def _thinned(points: list[Any], count: int) -> list[Any]:
    last = len(points) - 1
    return [points[round(last * place / (count - 1))] for place in range(count)]
