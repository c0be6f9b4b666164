"""Samples as torch tensors that are their receiver's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dovetail.data.arrays import torch_tensor
from dovetail.learn.samples import Sample


def tensors(sample: Sample) -> dict[str, torch.Tensor]:
    """One sample: names to tensors, each a copy."""
    return {name: torch_tensor(array.copy()) for name, array in sample.items()}


def stacked(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Several samples: names to tensors of shape (samples, …), each value copied once.

    Raises
    ------
    ValueError
        If arrays of one name differ in shape.
    """
    if not samples:
        return {}
    return {name: torch_tensor(_stack(name, samples)) for name in samples[0]}


def _stack(name: str, samples: Sequence[Sample]) -> NDArray[Any]:
    arrays = [sample[name] for sample in samples]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ValueError(
            f"{name!r} has the shapes {', '.join(map(str, sorted(shapes)))} in one batch: make "
            f"them alike with prepare=, or take samples one by one and collate them yourself"
        )
    return np.stack(arrays)
