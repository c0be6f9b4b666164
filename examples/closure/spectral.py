"""Fourier calculus on a square periodic grid of side 2 pi.

A field is a real array of shape (n, n), first axis y, second axis x. Its transform, always
called ``*_hat``, is ``rfft2(field) / n**2`` of shape (n, n // 2 + 1): the coefficients of the
Fourier series itself, so the same mode has the same value on every grid.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Spectrum = NDArray[np.complex128]


class PeriodicGrid:
    """A square grid of n x n points on [0, 2 pi) x [0, 2 pi).

    Parameters
    ----------
    n
        Points along each side; even.

    Attributes
    ----------
    kmax
        The largest wavenumber that a dealiased solver on this grid resolves: products of two
        fields without modes beyond it are exact up to it, since n > 3 kmax (Orszag's
        two-thirds rule).
    """

    def __init__(self, n: int) -> None:
        if n < 4 or n % 2:
            raise ValueError(f"a grid needs an even number of points, at least 4, not {n}")
        self.n = n
        self.kx: Field = np.arange(n // 2 + 1, dtype=float)[np.newaxis, :]
        self.ky: Field = np.fft.fftfreq(n, 1.0 / n)[:, np.newaxis]
        self.k_squared: Field = self.kx**2 + self.ky**2
        self.kmax = (n - 1) // 3

    @cached_property
    def resolved(self) -> NDArray[np.bool_]:
        """Which modes a dealiased solver keeps: |kx| and |ky| up to kmax."""
        return (self.kx <= self.kmax) & (np.abs(self.ky) <= self.kmax)

    @cached_property
    def inverse_laplacian(self) -> Field:
        """Multiplies a vorticity by -1 / k^2, and its mean by zero, to give the stream function."""
        k_squared = self.k_squared.copy()
        k_squared[0, 0] = 1.0
        inverse = -1.0 / k_squared
        inverse[0, 0] = 0.0
        return inverse

    def transform(self, field: NDArray[np.floating]) -> Spectrum:
        """The Fourier coefficients of a field."""
        return np.fft.rfft2(field) / self.n**2

    def field(self, coefficients: Spectrum) -> Field:
        """The field with these Fourier coefficients."""
        return np.fft.irfft2(coefficients * self.n**2, s=(self.n, self.n))

    def gradient(self, coefficients: Spectrum) -> tuple[Field, Field]:
        """The x and y derivatives, in physical space, of a field given by its coefficients."""
        return self.field(1j * self.kx * coefficients), self.field(1j * self.ky * coefficients)

    def velocity(self, vorticity_hat: Spectrum) -> tuple[Field, Field]:
        """The incompressible velocity (u, v) of a vorticity: u = -d(psi)/dy, v = d(psi)/dx."""
        psi_x, psi_y = self.gradient(self.inverse_laplacian * vorticity_hat)
        return -psi_y, psi_x

    def advection(self, vorticity_hat: Spectrum) -> Spectrum:
        """The resolved coefficients of u . grad(vorticity): exact if the vorticity is resolved."""
        u, v = self.velocity(vorticity_hat)
        vorticity_x, vorticity_y = self.gradient(vorticity_hat)
        return self.resolved * self.transform(u * vorticity_x + v * vorticity_y)

    def energy_spectrum(self, vorticity: NDArray[np.floating]) -> Field:
        """The kinetic energy per unit mass by shells of wavenumber.

        Returns
        -------
        Field
            Of shape (n // 2,): entry k sums the modes of k - 1/2 <= |k| < k + 1/2.
        """
        twice = np.where((self.kx == 0) | (self.kx == self.n // 2), 1.0, 2.0)
        enstrophy = 0.5 * twice * np.abs(self.transform(vorticity)) ** 2
        energy = -self.inverse_laplacian * enstrophy
        shell = np.rint(np.sqrt(self.k_squared)).astype(int)
        return np.bincount(shell.ravel(), energy.ravel())[: self.n // 2]


def on_grid(coefficients: Spectrum, n: int) -> Spectrum:
    """The same Fourier series on a grid of n x n points: truncated, or padded with zeros.

    Only modes below half the points of the smaller grid are kept: its Nyquist mode, whose
    derivative has no meaning on it, is dropped.
    """
    half = min(coefficients.shape[0], n) // 2
    result = np.zeros((n, n // 2 + 1), dtype=np.complex128)
    result[:half, :half] = coefficients[:half, :half]
    result[1 - half :, :half] = coefficients[1 - half :, :half]
    return result
