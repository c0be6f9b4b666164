"""The filter between the simulation and a large-eddy simulation, and what it leaves out.

Filtering the vorticity equation of a two-dimensional flow,

    d(w)/dt + u . grad(w) = F - mu w + nu laplacian(w),

gives the equation that a large-eddy simulation solves for the filtered vorticity W,

    d(W)/dt + U . grad(W) = filtered(F) - mu W + nu laplacian(W) + Pi,
    Pi = U . grad(W) - filtered(u . grad(w)) = div(U W - filtered(u w)),

where U is the velocity of W. Pi, the *subgrid forcing*, is what a closure has to supply. Every
other term commutes with the filter, so Pi is exact: nothing here is discretised but by
truncating Fourier series.

The large-eddy simulation meant here is a pseudo-spectral one on n x n points, dealiased by the
two-thirds rule as the fine simulation is, so it resolves wavenumbers up to kmax = n / 3. The
filter is a Gaussian of width Delta = 2 pi / kmax (twice the spacing pi / kmax that the shortest
resolved wave defines), followed by truncation to the resolved modes: the filter of Guan,
Chattopadhyay, Subel and Hassanzadeh, "Stable a posteriori LES of 2D turbulence using
convolutional neural networks", J. Comput. Phys. 458 (2022) 111090, where, too, Pi is what is
learned. A Gaussian rather than a sharp cutoff, because with it Pi is almost local in space, as a
convolution of finite reach can represent; the truncation, because a coarse solver holds nothing
else. Pope, *Turbulent Flows* (2000), table 13.2, lists the Gaussian's transfer function.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spectral import Field, PeriodicGrid, Spectrum, on_grid


class FilteredFlow(NamedTuple):
    """What a large-eddy simulation would hold at one instant, and what it would lack.

    Each is of shape (n, n) on the coarse grid.
    """

    vorticity: Field
    """Filtered vorticity W, in 1 / time."""
    strain_normal: Field
    """d(U)/dx of the filtered velocity, in 1 / time."""
    strain_shear: Field
    """(d(V)/dx + d(U)/dy) / 2 of the filtered velocity, in 1 / time."""
    subgrid_forcing: Field
    """Pi, in 1 / time^2."""


class SubgridFilter:
    """Filters a finely resolved flow to a coarse grid.

    Parameters
    ----------
    fine, coarse
        Points along each side of the two grids.

    Attributes
    ----------
    delta
        The width of the Gaussian.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        self.fine = PeriodicGrid(fine)
        self.coarse = PeriodicGrid(coarse)
        self.delta = 2.0 * math.pi / self.coarse.kmax
        gaussian = np.exp(-self.coarse.k_squared * self.delta**2 / 24.0)
        self._transfer = self.coarse.resolved * gaussian

    def filtered(self, coefficients: Spectrum) -> Spectrum:
        """Fourier coefficients on the fine grid to filtered ones on the coarse grid."""
        return self._transfer * on_grid(coefficients, self.coarse.n)

    def __call__(self, vorticity: NDArray[np.floating]) -> FilteredFlow:
        """Filter one field of vorticity.

        Parameters
        ----------
        vorticity
            Shape (fine, fine), with resolved modes only, as a dealiased solver leaves it.
        """
        vorticity_hat = self.fine.transform(vorticity)
        filtered_hat = self.filtered(vorticity_hat)
        subgrid_hat = self.coarse.advection(filtered_hat) - self.filtered(
            self.fine.advection(vorticity_hat)
        )
        normal, shear = self.coarse.strain(filtered_hat)
        return FilteredFlow(
            vorticity=self.coarse.field(filtered_hat),
            strain_normal=normal,
            strain_shear=shear,
            subgrid_forcing=self.coarse.field(subgrid_hat),
        )
