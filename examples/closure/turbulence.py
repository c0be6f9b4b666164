"""Two-dimensional forced turbulence with fluidsim.

The flow obeys the vorticity equation on the square [0, 2 pi)^2,

    d(w)/dt + u . grad(w) = F - mu w + nu laplacian(w),

solved by fluidsim's pseudo-spectral solver ns2d (two-thirds dealiasing, fourth-order Runge-Kutta;
Mohanan, Bonamy, Calpe Linares and Augier, J. Open Res. Softw. 7 (2019) 14). The forcing F is
random, correlated in time, confined to the wavenumbers 3 to 5 and scaled at each step so that it
injects enstrophy (half the mean square of w) at a constant rate of 1: that defines the unit of
time. Linear drag mu ends the inverse cascade of energy in a statistically steady state (Boffetta
and Ecke, Annu. Rev. Fluid Mech. 44 (2012) 427); Newtonian viscosity nu ends the cascade of
enstrophy on the grid, at about k = 50 of the 85 that 256 points carry.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import tempfile
from typing import Any

import numpy as np
from cases import FORCED_WAVENUMBERS, Turbulence
from numpy.typing import NDArray
from spectral import Field, PeriodicGrid, on_grid

# fluidsim makes folders where these point, when it is imported: by default in the home folder.
if not {"FLUIDSIM_PATH", "FLUIDDYN_PATH_WARNING"} <= os.environ.keys():
    _scratch = tempfile.TemporaryDirectory(prefix="closure-")
    os.environ.setdefault("FLUIDSIM_PATH", _scratch.name)
    os.environ.setdefault("FLUIDDYN_PATH_WARNING", _scratch.name)

with contextlib.redirect_stdout(io.StringIO()):
    from fluidsim.solvers.ns2d.solver import Simul

ENERGY = 0.75
"""What the energy settles at, about (forcing rate / k^2 / 2 mu): where the spin-up begins."""


class Flow:
    """A running simulation.

    Parameters
    ----------
    turbulence
        What to simulate.
    vorticity
        The initial field, shape (points, points).
    seed
        Of the random forcing. (fluidsim draws from NumPy's global generator: one flow a process.)
    """

    def __init__(self, turbulence: Turbulence, vorticity: NDArray[np.floating], seed: int) -> None:
        np.random.seed(seed)  # noqa: NPY002
        with contextlib.redirect_stdout(io.StringIO()):
            self._simulation = _DraggedSimul(_parameters(turbulence))
        operators = self._simulation.oper
        self._simulation.state.init_statespect_from(rot_fft=operators.fft(vorticity))

    @property
    def vorticity(self) -> Field:
        """The vorticity now: the solver's own array, overwritten by the next step."""
        return self._simulation.state.get_var("rot")

    @property
    def vorticity_hat(self) -> NDArray[np.complex128]:
        """Its Fourier coefficients, as :mod:`spectral` has them: the solver's own array, too."""
        return self._simulation.state.state_spect.get_var("rot_fft")

    @property
    def time(self) -> float:
        """Time since the initial field."""
        return float(self._simulation.time_stepping.t)

    def advance(self, steps: int) -> None:
        """Take time steps. Raises ValueError if the solution blows up."""
        for _ in range(steps):
            self._simulation.time_stepping.one_time_step()

    def tendency(self) -> NDArray[np.complex128]:
        """The Fourier coefficients of -u . grad(w) + F, dealiased, as the solver computes them."""
        self._simulation.forcing.compute()
        return np.array(self._simulation.tendencies_nonlin().get_var("rot_fft"))

    def forcing(self) -> NDArray[np.complex128]:
        """The Fourier coefficients of F in the last step, constant during it."""
        return np.array(self._simulation.forcing.get_forcing().get_var("rot_fft"))


def developed(turbulence: Turbulence, seed: int, spin_up: float) -> Flow:
    """A flow whose statistics no longer drift.

    Energy, which takes 1 / (2 mu) = 10 units of time to settle, is spun up at half the
    resolution, an eighth of the cost; the flow is then refined, and runs on until its
    smallest scales, which take a few turnover times of the vorticity, are filled too.

    Parameters
    ----------
    spin_up
        Time units at half the resolution. A sixth of it follows at the full one.
    """
    half = turbulence.at_half_resolution()
    flow = Flow(half, random_vorticity(half.points, seed), seed)
    flow.advance(math.ceil(spin_up / half.time_step))
    coefficients = PeriodicGrid(half.points).transform(flow.vorticity)
    refined = PeriodicGrid(turbulence.points).field(on_grid(coefficients, turbulence.points))
    flow = Flow(turbulence, refined, seed + 1_000_003)
    flow.advance(math.ceil(spin_up / 6 / turbulence.time_step))
    return flow


def random_vorticity(points: int, seed: int) -> Field:
    """A random field in the wavenumbers up to the forced ones, of kinetic energy ENERGY."""
    grid = PeriodicGrid(points)
    noise = grid.transform(np.random.default_rng(seed).standard_normal((points, points)))
    noise[(grid.k_squared > FORCED_WAVENUMBERS[1] ** 2) | (grid.k_squared == 0)] = 0.0
    vorticity = grid.field(noise)
    return vorticity * math.sqrt(ENERGY / grid.energy_spectrum(vorticity).sum())


class _DraggedSimul(Simul):
    """ns2d with linear drag, which fluidsim lacks: its own sink at large scales is k^-4."""

    def compute_freq_diss(self) -> tuple[Any, Any]:
        viscous, _ = super().compute_freq_diss()
        return viscous, self.params.drag


def _parameters(turbulence: Turbulence) -> Any:
    parameters = _DraggedSimul.create_default_params()
    parameters._set_attrib("drag", turbulence.drag)
    parameters.nu_2 = turbulence.viscosity
    parameters.oper.nx = parameters.oper.ny = turbulence.points
    parameters.oper.Lx = parameters.oper.Ly = 2.0 * math.pi
    parameters.time_stepping.USE_CFL = False
    parameters.time_stepping.deltat0 = turbulence.time_step
    parameters.init_fields.type = "in_script"
    parameters.forcing.enable = True
    parameters.forcing.type = "tcrandom"
    parameters.forcing.key_forced = "rot_fft"
    parameters.forcing.forcing_rate = 1.0
    parameters.forcing.nkmin_forcing, parameters.forcing.nkmax_forcing = FORCED_WAVENUMBERS
    parameters.output.HAS_TO_SAVE = False
    parameters.output.periods_print.print_stdout = 0.0
    return parameters
