"""Networks that tests export: small, and with all that is easily lost on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from model.inputs import inputs_of

__all__ = ["Closure", "eager", "inputs_of", "tensors_of"]


class Closure(torch.nn.Module):
    """Three inputs of three dtypes, statistics of batches, a weight that is not finite."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, 32),
            torch.nn.GELU(),
            torch.nn.BatchNorm1d(32),
            torch.nn.Dropout(0.5),
            # So few that a compiler would rather write its bias into the code.
            torch.nn.Linear(32, 4),
        )
        self.register_buffer("mask", torch.tensor([0.0, 0.0, 0.0, float("-inf")]))

    def forward(self, x: Any, scale: Any, shift: Any) -> Any:
        outputs = self.layers(x) * scale.float() + shift[:, None]
        return outputs, (outputs + self.mask).exp().sum(1).bfloat16()


def tensors_of(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same as tensors."""
    return tuple(
        torch.from_numpy(one.view(np.uint16)).view(torch.bfloat16)
        if one.dtype.name == "bfloat16"
        else torch.from_numpy(one)
        for one in inputs
    )


def eager(net: Any, inputs: tuple[Any, ...]) -> Any:
    """What torch itself gives, as NumPy arrays."""
    with torch.no_grad():
        first, second = net.eval()(*tensors_of(inputs))
    return first.numpy(), second.float().numpy()
