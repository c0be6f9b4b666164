"""Nested states (of models, optimizers, datasets) as JSON and arrays, and back. No pickle.

JSON has neither arrays, nor tuples, nor keys that are numbers: such a thing becomes an object with
``$`` for its kind.

=============  ======================================================================
kind           is
=============  ======================================================================
``array``      a NumPy array, kept under a name
``tensor``     a torch tensor, likewise
``rows``       a list of NumPy arrays of one shape and dtype, kept as one
``tuple``      a tuple
``pairs``      a mapping whose keys are not all plain text
``float``      NaN or infinity
``bytes``      bytes, in base64
=============  ======================================================================
"""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dovetail.data.arrays import host_array, torch_tensor
from dovetail.errors import CorruptDataError, UnsupportedDataError

KIND, CONTENT = "$", "is"
NO_NAME = "__metadata__"
"""What safetensors means by it is no array."""


class Leaf(NamedTuple):
    """An array of a nested value."""

    rows: list[NDArray[Any]]
    """What it is made of, in order: the whole, or its slices along axis 0."""
    shape: tuple[int, ...]
    """Of the whole."""


Leaves = dict[str, Leaf]
"""Arrays by name."""


def flatten(value: Any, path: str, leaves: Leaves) -> Any:
    """A nested value as JSON; its arrays go into `leaves`, not copied if they are on the host.

    Raises
    ------
    UnsupportedDataError
        For anything else than what the module's table and JSON have.
    """
    torch = sys.modules.get("torch")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {KIND: "float", CONTENT: repr(value)}
    if isinstance(value, complex):
        return {KIND: "array", CONTENT: _whole(path, np.asarray(value), leaves)}
    if isinstance(value, (bytes, bytearray)):
        return {KIND: "bytes", CONTENT: base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return {KIND: "array", CONTENT: _whole(path, value, leaves)}
    if torch is not None and isinstance(value, torch.Tensor):
        return {KIND: "tensor", CONTENT: _whole(path, host_array(value), leaves)}
    if isinstance(value, Mapping):
        return _mapping(value, path, leaves)
    if isinstance(value, list):
        if _are_rows(value):
            return {
                KIND: "rows",
                CONTENT: _leaf(path, Leaf(value, (len(value), *value[0].shape)), leaves),
            }
        return _items(value, path, leaves)
    if isinstance(value, tuple):
        return {KIND: "tuple", CONTENT: _items(value, path, leaves)}
    raise UnsupportedDataError(
        f"{path} is a {type(value).__name__}, which a checkpoint cannot hold: it holds JSON "
        f"values, arrays, tensors, tuples and bytes, nested, and what has a state_dict() of these"
    )


def unflatten(tree: Any, leaf: Callable[[str], NDArray[Any]]) -> Any:
    """The nested value again; `leaf` gives the array of a name.

    Raises
    ------
    CorruptDataError
        If the tree is none that :func:`flatten` makes.
    """
    if isinstance(tree, list):
        return [unflatten(item, leaf) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if KIND not in tree:
        return {key: unflatten(item, leaf) for key, item in tree.items()}
    kind, content = tree[KIND], tree.get(CONTENT)
    if kind in ("array", "tensor", "rows") and isinstance(content, str):
        array = leaf(content)
        if kind == "rows" and array.ndim:
            return [array[place, ...] for place in range(len(array))]
        if kind != "rows":
            return array if kind == "array" else torch_tensor(array)
    if kind == "tuple" and isinstance(content, list):
        return tuple(unflatten(item, leaf) for item in content)
    if kind == "pairs" and isinstance(content, list):
        return {unflatten(key, leaf): unflatten(item, leaf) for key, item in content}
    if kind == "float" and content in ("nan", "inf", "-inf"):
        return float(content)
    if kind == "bytes" and isinstance(content, str):
        return base64.b64decode(content, validate=True)
    raise CorruptDataError(f"a checkpoint cannot hold {str(tree)[:80]}")


def _mapping(value: Mapping[Any, Any], path: str, leaves: Leaves) -> dict[str, Any]:
    if all(type(key) is str for key in value) and KIND not in value:
        return {key: flatten(item, f"{path}/{key}", leaves) for key, item in value.items()}
    pairs = [
        [flatten(key, f"{path}/keys", leaves), flatten(item, f"{path}/{key}", leaves)]
        for key, item in value.items()
    ]
    return {KIND: "pairs", CONTENT: pairs}


def _items(value: list[Any] | tuple[Any, ...], path: str, leaves: Leaves) -> list[Any]:
    return [flatten(item, f"{path}/{place}", leaves) for place, item in enumerate(value)]


def _are_rows(value: list[Any]) -> bool:
    first = value[0] if value else None
    return isinstance(first, np.ndarray) and all(
        isinstance(item, np.ndarray) and item.shape == first.shape and item.dtype == first.dtype
        for item in value
    )


def _whole(path: str, array: NDArray[Any], leaves: Leaves) -> str:
    return _leaf(path, Leaf([array], array.shape), leaves)


def _leaf(path: str, leaf: Leaf, leaves: Leaves) -> str:
    name = path.strip("/") or "value"
    while name in leaves or name == NO_NAME:
        name += "'"
    leaves[name] = leaf
    return name
