"""What falls back as one: a whole call, a sample, or a cell.

Masks are true where the model is *not* trusted. Those of a call have no axes, those of samples one,
those of cells all axes of the inputs but that of the channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from dovetail.model.arrays import arrays_of


class Grain(Protocol):
    """How doubts about cells become doubts about what falls back as one."""

    def strangers(self, outside: Any) -> Any:
        """Inputs out of range, given cell by cell."""
        ...

    def broken(self, mask: Any, channel: int) -> Any:
        """Outputs that are not finite, given element by element."""
        ...

    def spread(self, variance: Any, mean: Any, limit: float, channel: int) -> Any:
        """Where the spread is above `limit`, relative to the mean."""
        ...

    def all_of(self, mask: Any) -> bool:
        """Whether nothing is left to the model."""
        ...

    def put_together(self, mask: Any, physics: Any, outputs: Any, channel: int) -> Any:
        """Physics where the mask holds, the model's outputs elsewhere."""
        ...


class CallGrain:
    """The call as a whole."""

    def __init__(self, tolerated: float) -> None:
        self._tolerated = tolerated

    def strangers(self, outside: Any) -> Any:
        return _share(outside, 0) > self._tolerated

    def broken(self, mask: Any, channel: int) -> Any:
        return mask.any()

    def spread(self, variance: Any, mean: Any, limit: float, channel: int) -> Any:
        squares = arrays_of(mean).mean_square(mean, tuple(range(mean.ndim)))
        return variance.mean() > limit**2 * squares.reshape(())

    def all_of(self, mask: Any) -> bool:
        return bool(mask)

    def put_together(self, mask: Any, physics: Any, outputs: Any, channel: int) -> Any:
        return physics


class SampleGrain:
    """Each sample along axis 0."""

    def __init__(self, tolerated: float) -> None:
        self._tolerated = tolerated

    def strangers(self, outside: Any) -> Any:
        return _share(outside, 1) > self._tolerated

    def broken(self, mask: Any, channel: int) -> Any:
        return _share(mask, 1) > 0

    def spread(self, variance: Any, mean: Any, limit: float, channel: int) -> Any:
        squares = arrays_of(mean).mean_square(mean, tuple(range(1, mean.ndim)))
        variance = variance.reshape(len(variance), -1).mean(1)
        return variance > limit**2 * squares.reshape(-1)

    def all_of(self, mask: Any) -> bool:
        return bool(mask.all())

    def put_together(self, mask: Any, physics: Any, outputs: Any, channel: int) -> Any:
        _check(physics, outputs)
        mask = mask.reshape(len(mask), *[1] * (outputs.ndim - 1))
        return arrays_of(outputs).choose(mask, physics, outputs)


class CellGrain:
    """Each cell."""

    def __init__(self, tolerated: float) -> None:
        if tolerated:
            raise ValueError(
                "per='cell' judges each cell by itself: there is no share of cells to tolerate"
            )

    def strangers(self, outside: Any) -> Any:
        return outside

    def broken(self, mask: Any, channel: int) -> Any:
        return ~arrays_of(mask).every(~mask, _axis(mask, channel))

    def spread(self, variance: Any, mean: Any, limit: float, channel: int) -> Any:
        axis = _axis(mean, channel)
        arrays = arrays_of(mean)
        squares = arrays.mean_square(mean, tuple(range(int(axis != 0), mean.ndim)))
        return (variance > limit**2 * squares).any(axis)

    def all_of(self, mask: Any) -> bool:
        return bool(mask.all())

    def put_together(self, mask: Any, physics: Any, outputs: Any, channel: int) -> Any:
        _check(physics, outputs)
        axis = _axis(outputs, channel)
        cells = (*outputs.shape[:axis], *outputs.shape[axis + 1 :])
        if tuple(mask.shape) != cells:
            raise ValueError(
                f"per='cell' needs outputs on the cells of the inputs: those are "
                f"{tuple(mask.shape)}, and outputs of shape {tuple(outputs.shape)} have {cells}"
            )
        shape = [*cells[:axis], 1, *cells[axis:]]
        return arrays_of(outputs).choose(mask.reshape(shape), physics, outputs)


GRAINS: Final[dict[str, Callable[[float], Grain]]] = {
    "call": CallGrain,
    "sample": SampleGrain,
    "cell": CellGrain,
}


def _share(mask: Any, kept: int) -> Any:
    return arrays_of(mask).share(mask, tuple(range(kept, mask.ndim)))


def _axis(outputs: Any, channel: int) -> int:
    if not -outputs.ndim <= channel < outputs.ndim:
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} have no axis {channel} of channels: cells "
            f"cannot be told from them"
        )
    return channel % int(outputs.ndim)


def _check(physics: Any, outputs: Any) -> None:
    if tuple(physics.shape) != tuple(outputs.shape):
        raise ValueError(
            f"the fallback gave shape {tuple(physics.shape)}, the model {tuple(outputs.shape)}: "
            f"they must be the same"
        )
