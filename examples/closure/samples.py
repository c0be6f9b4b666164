"""From steps of the simulations' streams to samples of a large-eddy simulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from cases import Case
from coarse import CoarseGrid
from numpy.typing import NDArray
from torch import Tensor

import dovetail as dv

PATIENCE = 300.0
"""Seconds to wait for a simulation that spins up, on a machine that does other things too."""


def members(step: Mapping[str, NDArray[np.float32]]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The windows of a step, one for each member of the ensemble. Views, not copies."""
    for member in range(len(step["vorticity"])):
        yield {name: step[name][member] for name in step}


class Trajectories(NamedTuple):
    """What a large-eddy simulation starts from, is driven by, and should become.

    The second axis numbers the initial states.
    """

    vorticity_hat: Tensor
    """Filtered, at each coarse time step and the one before: (steps + 1, starts, n, n // 2 + 1)."""
    forcing_hat: Tensor
    """Filtered, during each coarse time step: (steps, starts, n, n // 2 + 1)."""

    @property
    def initial(self) -> Tensor:
        """(starts, n, n // 2 + 1)."""
        return self.vorticity_hat[0]

    @property
    def steps(self) -> int:
        return len(self.forcing_hat)


def together(trajectories: Sequence[Trajectories]) -> Trajectories:
    """Those of several simulations, as if they were of one."""
    vorticity, forcing = zip(*trajectories, strict=True)
    return Trajectories(torch.cat(vorticity, dim=1), torch.cat(forcing, dim=1))


class Recording:
    """Consecutive windows of simulations, put together again.

    Parameters
    ----------
    case
        How many there are, and where a large-eddy simulation starts.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._grid = CoarseGrid(case.coarse_points)
        self._windows: list[dict[str, NDArray[np.float32]]] = []

    def take(self, step: dv.ReadStep | None) -> None:
        """Copy the next windows. Raises RuntimeError at the end of the stream."""
        if step is None:
            raise RuntimeError(f"the simulation ended after {len(self._windows)} windows")
        self.add({name: np.array(step[name]) for name in step})

    def add(self, window: dict[str, NDArray[np.float32]]) -> None:
        """Take the next windows, one for each member."""
        self._windows.append(window)

    @property
    def members(self) -> int:
        """How many simulations it is of."""
        return len(self._windows[0]["vorticity"])

    @property
    def first(self) -> Tensor:
        """The filtered vorticity at the beginning of each window: (windows x members, n, n)."""
        windows = [window["vorticity"][:, 0] for window in self._windows]
        return torch.from_numpy(np.concatenate(windows))

    @property
    def subgrid_forcing(self) -> Tensor:
        """The exact Pi at the same instants."""
        windows = [window["subgrid_forcing"] for window in self._windows]
        return torch.from_numpy(np.concatenate(windows))

    def trajectories(self) -> Trajectories:
        """From each initial state of the case, of each member."""
        case = self._case
        steps = round(case.forecast / case.coarse_time_step)
        between = round(case.between_starts / case.coarse_time_step)
        vorticity = self._series("vorticity")
        forcing = self._series("forcing")
        vorticity_hat, forcing_hat = self._grid.transform(vorticity), self._grid.spread(forcing)
        begin = [between * start for start in range(case.starts)]
        return Trajectories(
            torch.cat([vorticity_hat[b : b + steps + 1] for b in begin], dim=1),
            torch.cat([forcing_hat[b : b + steps] for b in begin], dim=1),
        )

    def _series(self, name: str) -> Tensor:
        """Along time, then members. The last instant of a window is the first of the next."""
        length = self._case.window
        parts = [window[name][:, :length] for window in self._windows]
        parts.append(self._windows[-1][name][:, length:])
        return torch.from_numpy(np.concatenate(parts, axis=1)).transpose(0, 1)


def record(case: Case, *streams: str) -> list[Recording]:
    """Read the windows of a case from the beginning of each stream, side by side, and leave."""
    readers = [dv.open_stream(stream, "r", timeout=PATIENCE) for stream in streams]
    recordings = [Recording(case) for _ in streams]
    for _ in range(case.windows):
        for reader, recording in zip(readers, recordings, strict=True):
            recording.take(reader.next_step())
    for reader in readers:
        reader.close()
    return recordings
