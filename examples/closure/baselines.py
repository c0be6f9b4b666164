"""Classical subgrid models, as the yardstick of a learned one.

An eddy viscosity has a free constant, on which the correlation with the exact forcing does not
depend. For everything else it gets the constant that fits the samples it is judged on best.
"""

from __future__ import annotations

import numpy as np
from filtering import FilteredFlow
from spectral import Field, PeriodicGrid


def smagorinsky(flow: FilteredFlow, delta: float) -> Field:
    """Eddy viscosity from the rate of strain: Pi = C div(delta^2 |S| grad(W)).

    Smagorinsky, Mon. Weather Rev. 91 (1963) 99.
    """
    strain = 2.0 * np.hypot(flow.strain_normal, flow.strain_shear)
    return _diffusion(flow, delta**2 * strain)


def leith(flow: FilteredFlow, delta: float) -> Field:
    """Eddy viscosity from the gradient of vorticity: Pi = C div(delta^3 |grad(W)| grad(W)).

    Leith, Physica D 98 (1996) 481; made for the cascade of enstrophy.
    """
    grid = PeriodicGrid(flow.vorticity.shape[0])
    gradient_x, gradient_y = grid.gradient(grid.transform(flow.vorticity))
    return _diffusion(flow, delta**3 * np.hypot(gradient_x, gradient_y))


def gradient_model(flow: FilteredFlow, delta: float) -> Field:
    """The first term of the exact expansion of Pi in the width of a Gaussian filter.

    Pi = -(delta^2 / 12) div(grad(U) . grad(W)); Leonard, Adv. Geophys. 18A (1974) 237, and
    Clark, Ferziger and Reynolds, J. Fluid Mech. 91 (1979) 1. It correlates well a priori, yet
    large-eddy simulations with it alone are unstable (Vreman, Geurts and Kuerten, Theor. Comput.
    Fluid Dyn. 8 (1996) 309): in two dimensions it moves no kinetic energy between resolved and
    subgrid scales at all (Jakhar et al., arXiv 2306.05014).
    """
    grid = PeriodicGrid(flow.vorticity.shape[0])
    gradient_x, gradient_y = grid.gradient(grid.transform(flow.vorticity))
    # dU/dx = -dV/dy = normal; dV/dx and dU/dy are the shear plus and minus half the vorticity.
    flux_x = flow.strain_normal * gradient_x + (flow.strain_shear - flow.vorticity / 2) * gradient_y
    flux_y = (flow.strain_shear + flow.vorticity / 2) * gradient_x - flow.strain_normal * gradient_y
    return -(delta**2) / 12.0 * grid.divergence(flux_x, flux_y)


def _diffusion(flow: FilteredFlow, viscosity: Field) -> Field:
    grid = PeriodicGrid(flow.vorticity.shape[0])
    gradient_x, gradient_y = grid.gradient(grid.transform(flow.vorticity))
    return grid.divergence(viscosity * gradient_x, viscosity * gradient_y)


EDDY_VISCOSITIES = {"Smagorinsky": smagorinsky, "Leith": leith}
"""Name to model: a function of the filtered flow and the filter width, up to a constant."""


def fitted(predicted: Field, exact: Field) -> Field:
    """A prediction times the constant that brings it closest to what is exact."""
    return predicted * (np.sum(predicted * exact) / np.sum(predicted**2))


def correlation(predicted: Field, exact: Field) -> float:
    """Pearson's correlation over every point of one field, or of several together."""
    return float(np.corrcoef(np.ravel(predicted), np.ravel(exact))[0, 1])
