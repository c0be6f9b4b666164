"""The flows of this example, and how finely each is simulated."""

from __future__ import annotations

from dataclasses import dataclass

FORCED_WAVENUMBERS = (3, 5)
"""The lowest and the highest forced wavenumber."""

FORCING_POINTS = 12
"""Points a side of a grid that holds a forcing up to those wavenumbers."""


@dataclass(frozen=True)
class Turbulence:
    """One statistically steady flow: its resolution and what drives and damps it.

    Attributes
    ----------
    points
        Along each side of the grid.
    viscosity, drag
        nu and mu.
    time_step
        Of the Runge-Kutta scheme: umax kmax dt stays below 2, of a limit of 2.8.
    """

    points: int = 256
    viscosity: float = 3e-4
    drag: float = 0.05
    time_step: float = 0.006

    def at_half_resolution(self) -> Turbulence:
        """The same forcing and drag; viscosity such that half the wavenumbers resolve it."""
        return Turbulence(self.points // 2, 4 * self.viscosity, self.drag, 2 * self.time_step)


@dataclass(frozen=True)
class Case:
    """A flow, its large-eddy simulation, and for how long each is followed.

    Times are in the flow's own unit, in which the forcing injects enstrophy at the rate 1.
    """

    turbulence: Turbulence
    coarse_points: int
    """Along each side of the grid of the large-eddy simulation."""
    spin_up: float
    """Of a simulation, at half its resolution; a sixth of it follows at the full one."""
    window: int
    """Consecutive coarse time steps in one sample."""
    forecast: float
    """How long a large-eddy simulation is compared with the simulation that it starts from."""
    between_starts: float
    """From one initial state of the same simulation to the next."""
    starts: int
    """Initial states taken from each simulation."""

    @property
    def refinement(self) -> int:
        """Fine grid spacings in a coarse one; and fine time steps, as the CFL number is kept."""
        return self.turbulence.points // self.coarse_points

    @property
    def coarse_time_step(self) -> float:
        return self.refinement * self.turbulence.time_step

    @property
    def windows(self) -> int:
        """Consecutive windows that hold all forecasts of one simulation."""
        span = self.forecast + (self.starts - 1) * self.between_starts
        return -(-round(span / self.coarse_time_step) // self.window)


CASES = {
    "full": Case(
        Turbulence(),
        coarse_points=64,
        spin_up=36.0,
        window=8,
        forecast=9.6,
        between_starts=3.6,
        starts=3,
    ),
    "quick": Case(
        Turbulence(points=128, viscosity=1.2e-3, time_step=0.012),
        coarse_points=32,
        spin_up=9.0,
        window=4,
        forecast=4.8,
        between_starts=1.2,
        starts=2,
    ),
}
"""By name. The quick one resolves four times the viscosity, in a fiftieth of the time."""
