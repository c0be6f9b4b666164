"""The simulation: turbulence that streams what a large-eddy simulation of it would need.

Every few time steps the flow is filtered, the exact subgrid forcing is computed, and both go
out as one step of a stream, while the simulation runs on. The stream is all that this program
knows of the trainer.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from filtering import SubgridFilter
from turbulence import FORCED_WAVENUMBERS, Turbulence, developed

import dovetail as dv

STEPS_HELD = 64
"""How far the simulation may be ahead of the trainer, in streamed steps of some 64 kB each."""


def main() -> None:
    """Read the command line, run, and write down what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the stream to write")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--seed", type=int, required=True, help="of the flow and its forcing")
    parser.add_argument("--points", type=int, default=256, help="grid points along each side")
    parser.add_argument("--coarse-points", type=int, default=64, help="of the filtered flow")
    parser.add_argument("--viscosity", type=float, default=Turbulence.viscosity)
    parser.add_argument("--time-step", type=float, default=Turbulence.time_step)
    parser.add_argument("--spin-up", type=float, default=36.0, help="in units of time")
    parser.add_argument("--every", type=int, default=16, help="time steps between samples")
    parser.add_argument("--samples", type=int, help="how many; without it, until told to stop")
    parser.add_argument("--unfiltered", action="store_true", help="send the whole field as well")
    arguments = parser.parse_args()
    arguments.output.write_text(json.dumps(run(arguments), indent=1))


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Spin the flow up, stream it, and return the figures of the run."""
    turbulence = Turbulence(
        points=arguments.points, viscosity=arguments.viscosity, time_step=arguments.time_step
    )
    subgrid_filter = SubgridFilter(arguments.points, arguments.coarse_points)
    with dv.open_stream(arguments.url, "w", policy=dv.buffered(STEPS_HELD)) as out:
        begun = time.perf_counter()
        flow = developed(turbulence, arguments.seed, arguments.spin_up)
        spun_up = time.perf_counter()
        print(f"spun up in {spun_up - begun:.1f} s", flush=True)
        seconds_solving = seconds_filtering = 0.0
        energy_spectrum = np.zeros(arguments.points // 2)
        energy, enstrophy = [], []
        while not out.stopped and len(energy) != arguments.samples:
            before = time.perf_counter()
            flow.advance(arguments.every)
            solved = time.perf_counter()
            filtered = subgrid_filter(flow.vorticity)
            spectrum = subgrid_filter.fine.energy_spectrum(flow.vorticity)
            seconds_solving += solved - before
            seconds_filtering += time.perf_counter() - solved

            energy_spectrum += spectrum
            energy.append(float(spectrum.sum()))
            enstrophy.append(float(np.mean(flow.vorticity**2) / 2))
            try:
                with out.step(attrs={"time": flow.time, "seed": arguments.seed}) as step:
                    for name, field in filtered._asdict().items():
                        step[name] = field.astype(np.float32)
                    if arguments.unfiltered:
                        step["unfiltered_vorticity"] = flow.vorticity.astype(np.float32)
            except dv.StreamStoppedError:
                break
        ended = time.perf_counter()
        statistics = out.statistics()
    return {
        "seed": arguments.seed,
        "points": arguments.points,
        "forced_wavenumbers": FORCED_WAVENUMBERS,
        "time_steps": len(energy) * arguments.every,
        "time_simulated": flow.time,
        "seconds_spinning_up": spun_up - begun,
        "seconds_streaming": ended - spun_up,
        "seconds_solving": seconds_solving,
        "seconds_filtering": seconds_filtering,
        "stream": statistics._asdict(),
        "energy": energy,
        "enstrophy": enstrophy,
        "energy_spectrum": (energy_spectrum / max(len(energy), 1)).tolist(),
    }


if __name__ == "__main__":
    main()
