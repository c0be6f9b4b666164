"""The large-eddy simulation: a coarse pseudo-spectral solver that a closure can be put into.

It solves the filtered equation of :mod:`filtering` as fluidsim would on so few points: two-thirds
dealiasing, fourth-order Runge-Kutta, linear terms integrated exactly
(``tests/examples/test_closure_physics.py`` holds one against the other, to rounding). Written in
torch for two reasons. Many flows advance together, as a batch; and gradients pass through its time
steps, so a closure can be trained for what it does to the flow *after* several steps (Um et al.,
NeurIPS 2020; List, Chen and Thuerey, J. Fluid Mech. 949 (2022) A25; Frezat et al., J. Adv. Model.
Earth Syst. 14 (2022) e2022MS003124).

Everything is in Fourier coefficients as :mod:`spectral` has them, complex64, of shape
(..., n, n // 2 + 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from cases import Case
from filtering import filter_width, gaussian
from spectral import PeriodicGrid
from torch import Tensor

Closure = Callable[[Tensor], Tensor]
"""From the coefficients of the filtered vorticity to those of Pi, resolved modes only."""


class CoarseGrid:
    """What :class:`spectral.PeriodicGrid` offers, for batches of torch tensors.

    Attributes
    ----------
    n, kmax, delta
        Points a side, largest resolved wavenumber, width of the filter.
    resolved
        1 for the modes that the solver keeps, 0 for the others and for the mean.
    transfer
        The filter's Gaussian, likewise.
    """

    def __init__(self, n: int) -> None:
        grid = PeriodicGrid(n)
        self.n, self.kmax, self.delta = n, grid.kmax, filter_width(grid)
        self.k_squared = _real(grid.k_squared)
        self.resolved = _real(grid.resolved & (grid.k_squared > 0.0))
        self.transfer = self.resolved * _real(gaussian(grid))
        self._along = self.resolved * torch.stack(
            [_imaginary(grid.kx + 0 * grid.ky), _imaginary(grid.ky + 0 * grid.kx)]
        )
        inverse = self.resolved * _real(grid.inverse_laplacian)
        self._velocity = inverse * torch.stack([-self._along[1], self._along[0]])
        kx, ky = _real(grid.kx), _real(grid.ky)
        self._strain = inverse * torch.stack([kx * ky, 0.5 * (ky**2 - kx**2)])
        self._curl = torch.stack([ky**2 - kx**2, -kx * ky]) * self.resolved

    def field(self, coefficients: Tensor) -> Tensor:
        """The fields with these coefficients, (..., n, n)."""
        return torch.fft.irfft2(coefficients, s=(self.n, self.n), norm="forward")

    def transform(self, field: Tensor) -> Tensor:
        """The resolved coefficients of fields: what a dealiased solver keeps, without the mean."""
        return self.resolved * torch.fft.rfft2(field, norm="forward")

    def gradient(self, coefficients: Tensor) -> Tensor:
        """The x and y derivatives in physical space, (..., 2, n, n)."""
        return self.field(self._along * coefficients.unsqueeze(-3))

    def divergence(self, flux: Tensor) -> Tensor:
        """The coefficients of the divergence of vector fields, (..., 2, n, n)."""
        return (self._along * self.transform(flux)).sum(-3)

    def velocity(self, vorticity_hat: Tensor) -> Tensor:
        """The two components of the velocity of a vorticity, (..., 2, n, n)."""
        return self.field(self._velocity * vorticity_hat.unsqueeze(-3))

    def velocity_gradient(self, vorticity_hat: Tensor) -> Tensor:
        """Vorticity, du/dx and (dv/dx + du/dy) / 2 in physical space: (..., 3, n, n)."""
        strain_hat = self._strain * vorticity_hat.unsqueeze(-3)
        return self.field(torch.cat([vorticity_hat.unsqueeze(-3), strain_hat], dim=-3))

    def advection(self, vorticity_hat: Tensor) -> Tensor:
        """u . grad(vorticity) as (dxx - dyy)(u v) + dxy(v v - u u): four transforms, not five.

        Basdevant, J. Comput. Phys. 50 (1983) 209.
        """
        u, v = self.velocity(vorticity_hat).unbind(-3)
        products = torch.stack([u * v, v * v - u * u], dim=-3)
        return (self._curl * self.transform(products)).sum(-3)

    def energy_spectrum(self, vorticity_hat: Tensor) -> Tensor:
        """The kinetic energy by shells of wavenumber up to kmax: (..., kmax + 1)."""
        kx = torch.arange(self.n // 2 + 1)
        twice = torch.where((kx == 0) | (kx == self.n // 2), 1.0, 2.0)
        energy = 0.5 * twice * vorticity_hat.abs() ** 2 / self.k_squared.clamp(min=1.0)
        shells = self.k_squared.sqrt().round().long().flatten()
        spectrum = torch.zeros(*energy.shape[:-2], int(shells.max()) + 1)
        spectrum.index_add_(-1, shells, energy.flatten(-2))
        return spectrum[..., : self.kmax + 1]

    def spread(self, field: Tensor) -> Tensor:
        """The coefficients of the trigonometric polynomial through fields on a coarser grid."""
        m = field.shape[-1]
        half = m // 2
        coefficients = torch.fft.rfft2(field, norm="forward")[..., :half]
        spread = coefficients.new_zeros(*field.shape[:-2], self.n, self.n // 2 + 1)
        spread[..., :half, :half] = coefficients[..., :half, :]
        spread[..., 1 - half :, :half] = coefficients[..., 1 - half :, :]
        return self.resolved * spread


class CoarseSolver:
    """Advances filtered flows in time.

    Parameters
    ----------
    case
        The flow, and the resolution to solve it with.
    """

    def __init__(self, case: Case) -> None:
        self.grid = CoarseGrid(case.coarse_points)
        self.time_step = case.coarse_time_step
        rate = case.turbulence.drag + case.turbulence.viscosity * self.grid.k_squared
        self._half_decay = torch.exp(-rate * self.time_step / 2.0)

    def step(self, vorticity_hat: Tensor, forcing_hat: Tensor, closure: Closure | None) -> Tensor:
        """One time step.

        Parameters
        ----------
        vorticity_hat
            Filtered vorticity.
        forcing_hat
            Filtered forcing, constant during the step.
        closure
            Supplies Pi, once a step: it is constant during the step, too. (Evaluated in each of
            the four stages it costs four times as much and changes no figure of this example.)
        """
        constant = forcing_hat if closure is None else forcing_hat + closure(vorticity_hat)

        def tendency(stage: Tensor) -> Tensor:
            return constant - self.grid.advection(stage)

        h, half = self.time_step, self._half_decay
        full = half * half
        k1 = tendency(vorticity_hat)
        k2 = tendency(half * (vorticity_hat + h / 2 * k1))
        k3 = tendency(half * vorticity_hat + h / 2 * k2)
        k4 = tendency(full * vorticity_hat + h * half * k3)
        return full * vorticity_hat + h / 6 * (full * k1 + 2 * half * (k2 + k3) + k4)


def correlation(fields: Tensor, others: Tensor) -> Tensor:
    """Pearson's correlation of fields without a mean, over their last two axes."""
    product = (fields * others).mean((-2, -1))
    return product / torch.sqrt(fields.square().mean((-2, -1)) * others.square().mean((-2, -1)))


def _real(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _imaginary(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(1j * values, dtype=np.complex64))
