"""The learned closure: a small convolutional network from the filtered flow to Pi.

Its input is the velocity gradient of the filtered flow (vorticity and the two components of
strain), so a uniform wind changes nothing (Galilean invariance). Pi is quadratic in the velocity
of the whole flow, and its expansion in the width of the filter is quadratic in the filtered one;
the first layer therefore multiplies pairs of learned linear features instead of leaving a network
of thresholds to imitate a product. Padding is periodic, as the domain is, which makes the network
equivariant under translations.
"""

from __future__ import annotations

import torch
from coarse import CoarseGrid
from torch import Tensor, nn

INPUTS = 3
"""Channels of the input: vorticity, du/dx, (dv/dx + du/dy) / 2, all of unit 1 / time."""


class ClosureNetwork(nn.Module):
    """Pi from the filtered velocity gradient.

    Parameters
    ----------
    width
        Channels of the hidden layers.
    depth
        Hidden layers of 3 x 3 convolutions behind the quadratic one.

    Notes
    -----
    Normalisation is part of the network: a scale for the inputs, all of unit 1 / time, and one
    for the output, of unit 1 / time^2. Set both with :meth:`set_scales` before training.
    """

    input_scale: Tensor
    output_scale: Tensor

    def __init__(self, width: int = 16, depth: int = 3) -> None:
        super().__init__()
        self.left = _convolution(INPUTS, width, 5)
        self.right = _convolution(INPUTS, width, 5)
        self.hidden = nn.ModuleList(_convolution(width, width, 3) for _ in range(depth))
        self.last = _convolution(width, 1, 3)
        self.register_buffer("input_scale", torch.ones(()))
        self.register_buffer("output_scale", torch.ones(()))

    def set_scales(self, gradients: Tensor, forcing: Tensor) -> None:
        """Take the root mean squares of these samples as the units of input and output."""
        self.input_scale.copy_(gradients.square().mean().sqrt())
        self.output_scale.copy_(forcing.square().mean().sqrt())

    def forward(self, gradients: Tensor) -> Tensor:
        """Predict the subgrid forcing.

        Parameters
        ----------
        gradients
            Shape (batch, 3, ny, nx), in 1 / time, as by :meth:`CoarseGrid.velocity_gradient`.

        Returns
        -------
        Tensor
            Shape (batch, 1, ny, nx), in 1 / time^2, not dealiased: see :class:`InTheLoop`.
        """
        x = gradients / self.input_scale
        x = self.left(x) * self.right(x)
        for layer in self.hidden:
            x = x + nn.functional.gelu(layer(x))
        return self.last(x) * self.output_scale


def _convolution(channels_in: int, channels_out: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, padding_mode="circular")


class InTheLoop:
    """A function of fields as the closure of a coarse solver.

    Convolutions act on the points of the grid and know nothing of truncation, which is not
    local; nor do they know that the mean of Pi, a divergence, is zero. What the solver does not
    resolve is dropped, as it is of every product of fields.

    Parameters
    ----------
    grid
        Of the solver.
    of_fields
        From the velocity gradient, (batch, 3, n, n), to Pi, (batch, 1, n, n): a network, one
        that follows a trainer, or a guard around either.
    """

    def __init__(self, grid: CoarseGrid, of_fields: object) -> None:
        self.grid = grid
        self.of_fields = of_fields

    def __call__(self, vorticity_hat: Tensor) -> Tensor:
        """The coefficients of Pi, (batch, n, n // 2 + 1)."""
        forcing = self.of_fields(self.grid.velocity_gradient(vorticity_hat))
        return self.grid.transform(forcing.squeeze(-3))


SYMMETRIES = 8
"""Those of the square: turns and mirrors."""


def image(field: Tensor, symmetry: int) -> Tensor:
    """Mirror a pseudo-scalar field, (..., n, n): vorticity, its forcing, Pi.

    The equations have these symmetries, so the image of a sample is a sample, too. Each mirror
    turns the sense of rotation and with it the sign. The origin stays where it is, so images of
    fields on different grids belong together.

    Parameters
    ----------
    symmetry
        0 to 7: bits for the mirrors x -> -x, y -> -y and x <-> y; two of them make a turn.
    """
    if symmetry & 1:
        field = -field.flip(-1).roll(1, -1)
    if symmetry & 2:
        field = -field.flip(-2).roll(1, -2)
    if symmetry & 4:
        field = -field.transpose(-2, -1)
    return field
