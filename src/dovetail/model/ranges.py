"""The range of inputs that a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.data.arrays import host_array
from dovetail.model.arrays import arrays_of

_ROUNDING = 1e-6
"""A channel that was constant in training may differ by this much of its size."""


@dataclass(frozen=True, slots=True, eq=False)
class InputRange:
    """Bounds of each channel of a model's inputs.

    Parameters
    ----------
    lower, upper
        One bound a channel, inclusive; arrays of shape (channels,), or lists, or numbers for one
        channel. Finite.
    axis
        Which axis of the inputs numbers the channels: 1 for (sample, channel, y, x) and for
        (cell, feature), -1 for channels last, 0 for one sample alone.

    Examples
    --------
    >>> import numpy as np
    >>> seen = InputRange.of(np.array([[0.0, 10.0], [1.0, 30.0]]), margin=0.1)
    >>> seen.lower.round(3), seen.upper.round(3)
    (array([-0.1,  8. ]), array([ 1.1, 32. ]))
    >>> seen.outside(np.array([[0.5, 20.0], [0.5, 40.0]]))
    array([False,  True])
    """

    lower: NDArray[Any]
    upper: NDArray[Any]
    axis: int = 1

    def __post_init__(self) -> None:
        lower = np.array(self.lower, dtype=np.float64, ndmin=1)
        upper = np.array(self.upper, dtype=np.float64, ndmin=1)
        if lower.ndim != 1 or lower.shape != upper.shape:
            raise ValueError(
                f"lower has shape {lower.shape} and upper {upper.shape}: both must be (channels,)"
            )
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            raise ValueError("the bounds of an input range must be finite")
        if (lower > upper).any():
            channel = int(np.flatnonzero(lower > upper)[0])
            raise ValueError(
                f"channel {channel} has the lower bound {lower[channel]} above the upper one "
                f"{upper[channel]}"
            )
        lower.flags.writeable = upper.flags.writeable = False
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    @classmethod
    def of(
        cls,
        samples: Any,
        *,
        quantiles: tuple[float, float] = (0.0, 1.0),
        margin: float = 0.1,
        axis: int = 1,
    ) -> InputRange:
        """The range of these samples.

        Parameters
        ----------
        samples
            What the model was trained on: an array or tensor, its channels along `axis`. It is
            read once for extremes, and sorted in a copy for other quantiles.
        quantiles
            Take these quantiles of each channel instead of its extremes: ``(0.001, 0.999)``
            keeps a few wild cells from widening the range.
        margin
            Widen the range on either side by this part of its width; a millionth of the bounds
            comes on top, for rounding.
        axis
            As for :class:`InputRange`.

        Raises
        ------
        ValueError
            If there are no samples, or some are not finite.
        """
        array = host_array(samples)
        if array.size == 0 or not np.isfinite(array).all():
            raise ValueError("an input range is learned from samples, all of them finite")
        channels = np.moveaxis(array, _axis_in(array, axis), 0)
        channels = channels.reshape(len(channels), -1)
        if quantiles == (0.0, 1.0):
            lower, upper = channels.min(1), channels.max(1)
        else:
            lower, upper = np.quantile(channels, quantiles, axis=1)
        lower, upper = lower.astype(np.float64), upper.astype(np.float64)
        room = margin * (upper - lower) + _ROUNDING * np.maximum(abs(lower), abs(upper))
        return cls(lower - room, upper + room, axis)

    @property
    def channels(self) -> int:
        """How many channels it bounds."""
        return len(self.lower)

    def __or__(self, other: InputRange) -> InputRange:
        """The least range that holds both: for learning it batch by batch."""
        if not isinstance(other, InputRange):
            return NotImplemented
        if (other.channels, other.axis) != (self.channels, self.axis):
            raise ValueError(
                f"ranges of {self.channels} and {other.channels} channels, along axes {self.axis} "
                f"and {other.axis}, cannot be joined"
            )
        return InputRange(
            np.minimum(self.lower, other.lower), np.maximum(self.upper, other.upper), self.axis
        )

    def holds(self, inputs: Any) -> bool:
        """Whether all of the inputs are in range; NaN never is. Copies nothing."""
        arrays = arrays_of(inputs)
        axis = self._checked_axis(inputs)
        if 0 in inputs.shape:
            return True
        least, most = arrays.extremes(inputs, axis)
        # Written so that NaN is outside.
        return bool(((least >= self.lower) & (most <= self.upper)).all())

    def outside(self, inputs: Any) -> Any:
        """Which cells have a channel out of range; NaN always is.

        Returns
        -------
        array or tensor of bool
            As `inputs`, of the same shape without the axis of channels.
        """
        arrays = arrays_of(inputs)
        axis = self._checked_axis(inputs)
        shape = [1] * inputs.ndim
        shape[axis] = self.channels
        lower = arrays.like(self.lower.reshape(shape), inputs)
        upper = arrays.like(self.upper.reshape(shape), inputs)
        return ~arrays.every((inputs >= lower) & (inputs <= upper), axis)

    def _checked_axis(self, inputs: Any) -> int:
        axis = _axis_in(inputs, self.axis)
        if inputs.shape[axis] != self.channels:
            raise ValueError(
                f"inputs of shape {tuple(inputs.shape)} have {inputs.shape[axis]} channels along "
                f"axis {self.axis}; the input range bounds {self.channels}"
            )
        return axis


def _axis_in(array: Any, axis: int) -> int:
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"inputs of shape {tuple(array.shape)} have no axis {axis} of channels; say "
            f"axis=0 for one sample alone, axis=-1 for channels last"
        )
    if "complex" in str(array.dtype):
        raise TypeError(
            "complex numbers have no range: give real and imaginary parts as channels of their own"
        )
    return axis % int(array.ndim)
