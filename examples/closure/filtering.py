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

On the resolved modes the Gaussian can be undone exactly. So part of Pi is known without any
model, the part that would vanish if the unresolved modes did; :class:`baselines.DeconvolvedLeith`
uses that. The rest, what the unresolved modes do, is what has to be modelled.
"""

from __future__ import annotations

import math

import numpy as np
from spectral import Field, PeriodicGrid, Spectrum, on_grid


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
    transfer
        What it multiplies each mode of the coarse grid by: 0 where that is not resolved.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        self.fine = PeriodicGrid(fine)
        self.coarse = PeriodicGrid(coarse)
        self.delta = filter_width(self.coarse)
        self.transfer: Field = gaussian(self.coarse)

    def filtered(self, coefficients: Spectrum) -> Spectrum:
        """Fourier coefficients on the fine grid to filtered ones on the coarse grid."""
        return self.transfer * on_grid(coefficients, self.coarse.n)

    def subgrid_forcing(self, vorticity_hat: Spectrum) -> Spectrum:
        """Pi on the coarse grid, of a vorticity on the fine grid with resolved modes only."""
        advection = self.fine.advection(vorticity_hat)
        return self.coarse.advection(self.filtered(vorticity_hat)) - self.filtered(advection)


def filter_width(coarse: PeriodicGrid) -> float:
    """Delta, the width of the Gaussian."""
    return 2.0 * math.pi / coarse.kmax


def gaussian(coarse: PeriodicGrid) -> Field:
    """The Gaussian's transfer function on the resolved modes, and 0 on the others."""
    return coarse.resolved * np.exp(-coarse.k_squared * filter_width(coarse) ** 2 / 24.0)
