"""The simulation: turbulence that streams what a large-eddy simulation of it would have seen.

One rank simulates one member of an ensemble. A step of the stream is a *window*: the filtered flow
at some consecutive time steps of the coarse solver, the forcing in between, and the exact subgrid
forcing at the first of them. Windows follow on one another without a gap, so a trainer can take
each as a sample, and whoever judges a large-eddy simulation can put them together again.

The stream is all that this program knows of who learns from it.
"""

from __future__ import annotations

import os
import time

import numpy as np
from cases import CASES, FORCING_POINTS, Case
from filtering import SubgridFilter
from numpy.typing import NDArray
from spectral import Field, PeriodicGrid, on_grid
from turbulence import Flow, developed

import dovetail as dv

WINDOWS_HELD = 16
"""How far a simulation may be ahead of who reads it."""

GIVES_WAY = 5
"""Niceness: with fewer cores than programs, the trainer goes first."""


def main(stream: str, case: str, seeds: list[int], endless: bool = True) -> None:
    """Spin a flow up, and stream it.

    Parameters
    ----------
    stream
        Its name. Arrays get a first axis for the members, one a rank.
    case
        A name in :data:`cases.CASES`.
    seeds
        Of the initial field and the forcing, for each member.
    endless
        Go on until nobody wants more, instead of ending after the windows of the case.
    """
    os.nice(GIVES_WAY)
    here, settings = dv.this_component(), CASES[case]
    seed = seeds[here.rank]
    policy = dv.buffered(WINDOWS_HELD)
    with dv.open_stream(stream, "w", policy=policy, rank=here.rank, size=here.size) as out:
        begun = time.perf_counter()
        simulation = Simulation(settings, seed)
        spun_up = time.perf_counter()
        print(f"seed {seed}: spun up in {spun_up - begun:.1f} s", flush=True)
        windows, limit = 0, None if endless else settings.windows
        while windows != limit and not out.stopped:
            attributes = {"simulation": stream, "time": simulation.time}
            window = simulation.next_window()
            try:
                with out.step(attrs=attributes) as step:
                    for name, array in window.items():
                        shape = (here.size, *array.shape)
                        start = (here.rank, *(0 for _ in array.shape))
                        step.put(name, array[np.newaxis], shape=shape, start=start)
            except dv.StreamStoppedError:
                break
            windows += 1
        streamed = time.perf_counter() - spun_up
        statistics = out.statistics()
    print(f"seed {seed}: {windows} windows in {streamed:.1f} s", flush=True)
    figures = {
        "seed": seed,
        "points": settings.turbulence.points,
        "windows": windows,
        "coarse_time_steps": windows * settings.window,
        "seconds_spinning_up": spun_up - begun,
        "seconds_streaming": streamed,
        "seconds_solving": simulation.seconds_solving,
        "stream": statistics._asdict(),
    }
    with dv.open_store("results") as results:
        key = f"simulations/{here.name}-{here.rank}"
        spectrum = simulation.energy_spectrum / max(windows, 1)
        results.put(key, {"energy_spectrum": spectrum}, attrs=figures)
        results.append("simulations", key)


class Simulation:
    """A running flow, cut into windows of its filtered self."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.seconds_solving = 0.0
        """Of a processor: how many programs share it makes no difference."""
        self.energy_spectrum = np.zeros(case.turbulence.points // 2)
        self._flow: Flow = developed(case.turbulence, seed, case.spin_up)
        self._filter = SubgridFilter(case.turbulence.points, case.coarse_points)

    @property
    def time(self) -> float:
        """In the flow's own unit, since the spin-up began to resolve everything."""
        return self._flow.time

    def next_window(self) -> dict[str, NDArray[np.float32]]:
        """The next coarse time steps.

        Returns
        -------
        dict
            ``vorticity``, filtered, (window + 1, n, n); ``forcing``, filtered, the mean of each
            coarse time step, (window, 12, 12); ``subgrid_forcing`` at the first instant, (n, n).
        """
        vorticity, forcing = [self._filtered_vorticity()], []
        subgrid = self._filter.subgrid_forcing(self._flow.vorticity_hat)
        self.energy_spectrum += self._filter.fine.energy_spectrum(self._flow.vorticity)
        for _ in range(self.case.window):
            forcing.append(self._advance())
            vorticity.append(self._filtered_vorticity())
        return {
            "vorticity": np.stack(vorticity).astype(np.float32),
            "forcing": np.stack(forcing).astype(np.float32),
            "subgrid_forcing": self._filter.coarse.field(subgrid).astype(np.float32),
        }

    def _filtered_vorticity(self) -> Field:
        return self._filter.coarse.field(self._filter.filtered(self._flow.vorticity_hat))

    def _advance(self) -> Field:
        """One coarse time step. Returns the mean of its forcing, filtered."""
        begun = time.process_time()
        total = 0.0
        for _ in range(self.case.refinement):
            self._flow.advance(1)
            total = total + self._flow.forcing()
        self.seconds_solving += time.process_time() - begun
        filtered = self._filter.filtered(total / self.case.refinement)
        return PeriodicGrid(FORCING_POINTS).field(on_grid(filtered, FORCING_POINTS))
