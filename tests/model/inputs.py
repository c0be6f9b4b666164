"""What the networks of the tests are called with; torch is not imported."""

from __future__ import annotations

from typing import Any

import numpy as np


def inputs_of(batch: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """NumPy arrays to call it with; the second is bfloat16."""
    import ml_dtypes

    generator = np.random.default_rng(seed)
    return (
        generator.standard_normal((batch, 8), dtype=np.float32),
        generator.standard_normal((batch, 1), dtype=np.float32).astype(ml_dtypes.bfloat16),
        generator.integers(-3, 3, batch),
    )
