"""What a published model must show before it is put in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dovetail.data.arrays import host_array

Gate = Callable[[Callable[..., Any], Mapping[str, Any]], bool | str | None]
"""``gate(candidate, attrs)``: True or None accepts; False, or a text that says why, refuses.

The candidate is called as the followed model is. A gate that raises refuses.
"""


class ValidationGate:
    """Accepts a model whose error on data of your own is small enough.

    Parameters
    ----------
    inputs
        What the model is called with: an array or tensor, or a tuple of several arguments. Take
        data that the model was not trained on.
    targets
        What it should answer.
    max_error
        The greatest root mean square error that is accepted, relative to the root mean square
        of `targets`. At 1 a model must do better than to answer zero.

    Attributes
    ----------
    last_error : float or None
        Of the last candidate; ``None`` if it gave nothing to compare.
    """

    def __init__(self, inputs: Any, targets: Any, max_error: float = 1.0) -> None:
        self._inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        self._targets = host_array(targets)
        self._scale = _root_mean_square(self._targets)
        if not (np.isfinite(self._scale) and self._scale > 0):
            raise ValueError(
                "the targets of a validation gate must be finite, and not all zero: errors are "
                "relative to their root mean square"
            )
        if not max_error > 0:
            raise ValueError(f"max_error={max_error}: it must be greater than zero")
        self.max_error = max_error
        self.last_error: float | None = None

    def __call__(self, candidate: Callable[..., Any], attrs: Mapping[str, Any]) -> str | None:
        self.last_error = None
        outputs = host_array(candidate(*self._inputs))
        if outputs.shape != self._targets.shape:
            return f"outputs have shape {outputs.shape}, targets {self._targets.shape}"
        error = _root_mean_square(outputs - self._targets) / self._scale
        self.last_error = error
        if error <= self.max_error:  # never true of NaN
            return None
        return f"validation error {error:.3g} is above {self.max_error:.3g}"


def objection(gate: Gate, candidate: Callable[..., Any], attrs: Mapping[str, Any]) -> str | None:
    """Why the gate refuses a candidate; ``None`` if it accepts."""
    try:
        verdict = gate(candidate, attrs)
        if verdict is None:
            return None
        if isinstance(verdict, str):
            return verdict or "the gate refused it"
        return None if bool(verdict) else "the gate refused it"
    except Exception as error:  # a gate is the user's code, and a fault in it is a refusal
        return f"{type(error).__name__}: {error}"


def _root_mean_square(array: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.abs(array), dtype=np.float64))))
