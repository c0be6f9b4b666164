"""The networks that are called: as small as those that stand in for a subgrid model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final


def mlp() -> tuple[Any, tuple[int, ...]]:
    """8 inputs a cell, two hidden layers of 64, 4 outputs; and the shape of one sample."""
    import torch

    torch.manual_seed(0)
    linear, gelu = torch.nn.Linear, torch.nn.GELU
    return torch.nn.Sequential(
        linear(8, 64), gelu(), linear(64, 64), gelu(), linear(64, 4)
    ).eval(), (8,)


def cnn() -> tuple[Any, tuple[int, ...]]:
    """Two convolutions over 4 fields of 16 × 16 cells; and the shape of one sample."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(4, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 4, 3, padding=1)
    ).eval(), (4, 16, 16)


NETWORKS: Final[dict[str, Callable[[], tuple[Any, tuple[int, ...]]]]] = {"mlp": mlp, "cnn": cnn}
