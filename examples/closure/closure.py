"""The learned closure: a small convolutional network from the filtered flow to Pi.

Its input is the velocity gradient of the filtered flow (vorticity and the two components of
strain), so a uniform wind changes nothing (Galilean invariance). Pi is quadratic in the velocity
of the whole flow, and its expansion in the width of the filter is quadratic in the filtered one;
the first layer therefore multiplies pairs of learned linear features instead of leaving a network
of thresholds to imitate a product. Padding is periodic, as the domain is, which makes the network
equivariant under translations.
"""

from __future__ import annotations

from functools import cache

import torch
from spectral import PeriodicGrid
from torch import Tensor, nn

INPUTS = ("vorticity", "strain_normal", "strain_shear")
"""The variables of a sample that the network reads, as channels in this order."""

TARGET = "subgrid_forcing"
"""The variable that it predicts."""


class Closure(nn.Module):
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

    def __init__(self, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        self.left = _convolution(len(INPUTS), width, 5)
        self.right = _convolution(len(INPUTS), width, 5)
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
            Shape (batch, 3, ny, nx), in 1 / time, channels as in :data:`INPUTS`.

        Returns
        -------
        Tensor
            Shape (batch, 1, ny, nx), in 1 / time^2, not dealiased: see :func:`resolved`.
        """
        x = gradients / self.input_scale
        x = self.left(x) * self.right(x)
        for layer in self.hidden:
            x = x + nn.functional.gelu(layer(x))
        return self.last(x) * self.output_scale


def _convolution(channels_in: int, channels_out: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, padding_mode="circular")


def resolved(forcing: Tensor) -> Tensor:
    """What a dealiased solver keeps of a forcing: the modes up to kmax, without the mean.

    Convolutions act on the points of the grid and know nothing of truncation, which is not
    local; nor do they know that the mean of Pi, a divergence, is zero. A solver would drop the
    rest in any case, as it does with every product of fields.

    Parameters
    ----------
    forcing
        Shape (..., n, n).
    """
    modes = _resolved_modes(forcing.shape[-1])
    return torch.fft.irfft2(torch.fft.rfft2(forcing) * modes, s=forcing.shape[-2:])


@cache
def _resolved_modes(n: int) -> Tensor:
    grid = PeriodicGrid(n)
    return torch.from_numpy(grid.resolved & (grid.k_squared > 0.0))


SYMMETRIES = 8
"""Those of the square: four turns, each mirrored or not."""


def image(gradients: Tensor, forcing: Tensor, symmetry: int) -> tuple[Tensor, Tensor]:
    """Turn and mirror a batch. The equations have these symmetries: images are samples, too.

    Arrays are (batch, channel, y, x). Under the mirror x -> -x the normal strain stays, and
    vorticity, shear strain and Pi change sign; under a quarter turn vorticity and Pi stay, and
    both components of strain change sign.

    Parameters
    ----------
    symmetry
        0 to 7: the number of quarter turns, and 4 more for the mirror, which comes first.
    """
    mirrored, turns = divmod(symmetry, 4)
    signs = torch.tensor([1.0, -1.0, -1.0]) if turns % 2 else torch.ones(3)
    if mirrored:
        signs = signs * torch.tensor([-1.0, 1.0, -1.0])
        gradients, forcing = gradients.flip(-1), -forcing.flip(-1)
    gradients = torch.rot90(gradients, turns, (-2, -1)) * signs[:, None, None]
    return gradients, torch.rot90(forcing, turns, (-2, -1))
