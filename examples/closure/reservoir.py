"""A bounded memory of samples between a stream and a trainer.

Samples of one simulation come in the order of its time, each like the one before. Batches drawn
at random from a memory of many break that correlation; see Meyer et al., "Training deep surrogate
models with large scale online learning", ICML 2023, and "High throughput training of deep
surrogates from large ensemble runs", SC 2023 (arXiv 2309.16743).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from closure import INPUTS, TARGET
from numpy.typing import NDArray
from torch import Tensor


class Reservoir:
    """The most recent samples, thinned at random.

    While there is room every sample is kept. Then each new one takes the place of one chosen at
    random, so the age of what is kept is distributed exponentially: mostly recent, never all.

    Parameters
    ----------
    capacity
        The most samples held.
    seed
        Of the choice of places and of batches.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.received = 0
        self.generator = torch.Generator().manual_seed(seed)
        self._gradients = torch.empty(0)
        self._forcing = torch.empty(0)

    def __len__(self) -> int:
        return min(self.received, self.capacity)

    def add(self, sample: Mapping[str, NDArray[np.floating]]) -> None:
        """Copy a sample in. The arrays may belong to a stream: they are not kept."""
        gradients, forcing = as_tensors(sample)
        if not self.received:
            self._gradients = torch.empty((self.capacity, *gradients.shape))
            self._forcing = torch.empty((self.capacity, *forcing.shape))
        place = self.received
        if self.received >= self.capacity:
            place = int(torch.randint(self.capacity, (), generator=self.generator))
        self._gradients[place] = gradients
        self._forcing[place] = forcing
        self.received += 1

    def all(self) -> tuple[Tensor, Tensor]:
        """Every sample held: inputs (n, 3, ny, nx) and targets (n, 1, ny, nx), not copied."""
        return self._gradients[: len(self)], self._forcing[: len(self)]

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Samples drawn at random, with replacement."""
        places = torch.randint(len(self), (size,), generator=self.generator)
        return self._gradients[places], self._forcing[places]


def as_tensors(sample: Mapping[str, NDArray[np.floating]]) -> tuple[Tensor, Tensor]:
    """A sample as the closure's inputs, (3, ny, nx), and its target, (1, ny, nx), copied."""
    gradients = torch.from_numpy(np.stack([sample[name] for name in INPUTS]))
    forcing = torch.from_numpy(np.array(sample[TARGET])[np.newaxis])
    return gradients, forcing
