"""The few operations that a guard needs, on NumPy arrays and torch tensors alike.

A tensor is examined where it lies: only the answers cross from a device.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Arrays(Protocol):
    """What is asked of arrays of one kind. Axes are non-negative."""

    def extremes(self, array: Any, axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The least and the greatest of each entry along `axis`, on the host."""
        ...

    def every(self, mask: Any, axis: int) -> Any:
        """Where `mask` holds all along `axis`."""
        ...

    def finite(self, array: Any) -> Any:
        """Where an array is finite."""
        ...

    def share(self, mask: Any, axes: tuple[int, ...]) -> Any:
        """The share of `mask` that holds, over `axes`, as float64."""
        ...

    def mean_square(self, array: Any, axes: tuple[int, ...]) -> Any:
        """The mean of the squared sizes over `axes`, kept with length 1, as float64."""
        ...

    def stack(self, arrays: list[Any]) -> Any:
        """Several arrays as one, along a new first axis."""
        ...

    def choose(self, mask: Any, yes: Any, no: Any) -> Any:
        """`yes` where `mask` holds, `no` elsewhere."""
        ...

    def like(self, array: NDArray[Any], other: Any) -> Any:
        """A host array beside `other`, on its device."""
        ...


class NumpyArrays:
    """NumPy arrays."""

    def extremes(self, array: Any, axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
        others = tuple(place for place in range(array.ndim) if place != axis)
        return array.min(others), array.max(others)

    def every(self, mask: Any, axis: int) -> Any:
        return mask.all(axis)

    def finite(self, array: Any) -> Any:
        return np.isfinite(array)

    def share(self, mask: Any, axes: tuple[int, ...]) -> Any:
        return mask.mean(axes, dtype=np.float64)

    def mean_square(self, array: Any, axes: tuple[int, ...]) -> Any:
        return np.square(np.abs(array), dtype=np.float64).mean(axes, keepdims=True)

    def stack(self, arrays: list[Any]) -> Any:
        return np.stack(arrays)

    def choose(self, mask: Any, yes: Any, no: Any) -> Any:
        return np.where(mask, yes, no)

    def like(self, array: NDArray[Any], other: Any) -> Any:
        return array


class TorchTensors:
    """Torch tensors, on any device."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch

    def extremes(self, array: Any, axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
        array = array.detach()
        others = tuple(place for place in range(array.ndim) if place != axis)
        least, most = (array.amin(others), array.amax(others)) if others else (array, array)
        return least.double().cpu().numpy(), most.double().cpu().numpy()

    def every(self, mask: Any, axis: int) -> Any:
        return mask.all(dim=axis)

    def finite(self, array: Any) -> Any:
        return self._torch.isfinite(array)

    def share(self, mask: Any, axes: tuple[int, ...]) -> Any:
        return mask.double().mean(axes) if axes else mask.double()

    def mean_square(self, array: Any, axes: tuple[int, ...]) -> Any:
        squares = array.abs().double().square()
        return squares.mean(axes, keepdim=True) if axes else squares

    def stack(self, arrays: list[Any]) -> Any:
        return self._torch.stack(arrays)

    def choose(self, mask: Any, yes: Any, no: Any) -> Any:
        return self._torch.where(mask, yes, no)

    def like(self, array: NDArray[Any], other: Any) -> Any:
        return self._torch.from_numpy(array.copy()).to(other.device)


_NUMPY = NumpyArrays()


def arrays_of(array: Any) -> Arrays:
    """The operations for arrays of this kind.

    Raises
    ------
    TypeError
        If it is neither a NumPy array nor a torch tensor.
    """
    if isinstance(array, np.ndarray):
        return _NUMPY
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return TorchTensors(torch)
    raise TypeError(
        f"a {type(array).__name__} cannot be guarded: inputs and outputs are NumPy arrays or "
        f"torch tensors"
    )
