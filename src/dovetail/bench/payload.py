"""What benchmarks move, and how much of it is under way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS_HELD = 4
"""How many steps a stream may hold before its producer waits."""


def payload(nbytes: int) -> NDArray[Any]:
    """An array of `nbytes` random bytes: float-sized words where they fit, else single bytes."""
    data = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    return data.view(np.uint64) if nbytes % 8 == 0 and nbytes else data


def read_every_byte(array: NDArray[Any]) -> None:
    """What a consumer does at the least with data it was given: here, add it up."""
    np.add.reduce(array, axis=None)
