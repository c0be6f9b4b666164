"""Classical subgrid models, as the yardstick of a learned one.

Each is a closure of :class:`coarse.CoarseSolver`: from the coefficients of the filtered vorticity
to those of Pi. An eddy viscosity is of the form Pi = div(nu_e grad(W)), nu_e >= 0. Constants may be
tensors that broadcast against a batch, so that many can be tried at once.
"""

from __future__ import annotations

import torch
from coarse import CoarseGrid
from torch import Tensor


class Leith:
    """nu_e = C delta^3 |grad(W)|; Leith, Physica D 98 (1996) 481: made for enstrophy's cascade."""

    def __init__(self, grid: CoarseGrid, constant: Tensor | float) -> None:
        self.grid = grid
        self.constant = torch.as_tensor(constant)[..., None, None, None]

    def __call__(self, vorticity_hat: Tensor) -> Tensor:
        gradient = self.grid.gradient(vorticity_hat)
        viscosity = self.constant * self.grid.delta**3 * _magnitude(gradient)
        return self.grid.divergence(viscosity * gradient)


class DynamicSmagorinsky:
    """nu_e = C delta^2 |S|, and C from the flow itself, at each instant.

    Smagorinsky, Mon. Weather Rev. 91 (1963) 99; Germano et al., Phys. Fluids A 3 (1991) 1760, with
    Lilly's least squares (Phys. Fluids A 4 (1992) 633): the model, filtered once more with twice
    the width, has to account for the fluxes that this filter is seen to hide. Averaged over the
    domain, and cut off at zero.
    """

    def __init__(self, grid: CoarseGrid) -> None:
        self.grid = grid
        test_width = 2.0 * grid.delta
        self._test = grid.resolved * torch.exp(-grid.k_squared * test_width**2 / 24.0)
        # The variances of two Gaussians in succession add up.
        self._both_widths_squared = grid.delta**2 + test_width**2

    def __call__(self, vorticity_hat: Tensor) -> Tensor:
        grid, tested = self.grid, self._test * vorticity_hat
        flux = grid.delta**2 * self._strained_gradient(vorticity_hat)
        hidden = self._flux(tested) - self._tested(self._flux(vorticity_hat))
        modelled = self._both_widths_squared * self._strained_gradient(tested) - self._tested(flux)
        over = (-3, -2, -1)
        # Of div(nu_e grad(W)) = -div(flux of vorticity), the sign of the flux.
        constant = (hidden * modelled).sum(over).clamp(min=0.0) / modelled.square().sum(over)
        return grid.divergence(constant[..., None, None, None] * flux)

    def _strained_gradient(self, vorticity_hat: Tensor) -> Tensor:
        strain = self.grid.velocity_gradient(vorticity_hat)[..., 1:, :, :]
        return 2.0 * _magnitude(strain) * self.grid.gradient(vorticity_hat)

    def _flux(self, vorticity_hat: Tensor) -> Tensor:
        return self.grid.velocity(vorticity_hat) * self.grid.field(vorticity_hat).unsqueeze(-3)

    def _tested(self, field: Tensor) -> Tensor:
        return self.grid.field(self._test * self.grid.transform(field))


class DeconvolvedLeith:
    """What the filter hides of the resolved modes, exactly, and Leith's viscosity for the rest.

    The Gaussian is undone on the resolved modes, u* = U / transfer, and the part of Pi that is
    made of them, U . grad(W) - filtered(u* . grad(w*)), is computed: approximate deconvolution
    (Stolz and Adams, Phys. Fluids 11 (1999) 1699) without the approximation. What the unresolved
    modes do is left to the eddy viscosity, acting on w*. It knows the filter, which a solver in
    practice does not: the hardest classical model to beat here.
    """

    def __init__(self, grid: CoarseGrid, constant: Tensor | float) -> None:
        self.grid = grid
        self._leith = Leith(grid, constant)
        self._inverse = grid.resolved / grid.transfer.clamp(min=1e-6)

    def __call__(self, vorticity_hat: Tensor) -> Tensor:
        deconvolved = self._inverse * vorticity_hat
        unfiltered = self._leith(deconvolved) - self.grid.advection(deconvolved)
        return self.grid.advection(vorticity_hat) + self.grid.transfer * unfiltered


class GradientModel:
    """The first term of the exact expansion of Pi in the width of a Gaussian filter.

    Pi = -(delta^2 / 12) div(grad(U) . grad(W)); Leonard, Adv. Geophys. 18A (1974) 237, and
    Clark, Ferziger and Reynolds, J. Fluid Mech. 91 (1979) 1. It correlates well a priori, yet
    it takes too little out of the resolved flow: in two dimensions it moves no kinetic energy
    between resolved and subgrid scales at all (Jakhar et al., arXiv 2306.05014), and large-eddy
    simulations with it alone have been found unstable (Vreman, Geurts and Kuerten, Theor. Comput.
    Fluid Dyn. 8 (1996) 309).
    """

    def __init__(self, grid: CoarseGrid) -> None:
        self.grid = grid

    def __call__(self, vorticity_hat: Tensor) -> Tensor:
        vorticity, normal, shear = self.grid.velocity_gradient(vorticity_hat).unbind(-3)
        along_x, along_y = self.grid.gradient(vorticity_hat).unbind(-3)
        # du/dx = -dv/dy = normal; dv/dx and du/dy are the shear plus and minus half the vorticity.
        flux = torch.stack(
            [
                normal * along_x + (shear - vorticity / 2) * along_y,
                (shear + vorticity / 2) * along_x - normal * along_y,
            ],
            dim=-3,
        )
        return -(self.grid.delta**2) / 12.0 * self.grid.divergence(flux)


class GradientLeith:
    """The gradient model and, for what it does not take out, Leith's viscosity: a mixed model.

    Bardina, Ferziger and Reynolds, AIAA paper 80-1357 (1980), had the idea for scale similarity;
    Vreman, Geurts and Kuerten (above) for the gradient model.
    """

    def __init__(self, grid: CoarseGrid, constant: Tensor | float) -> None:
        self._gradient = GradientModel(grid)
        self._leith = Leith(grid, constant)

    def __call__(self, vorticity_hat: Tensor) -> Tensor:
        return self._gradient(vorticity_hat) + self._leith(vorticity_hat)


def _magnitude(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-3, keepdim=True).sqrt()
