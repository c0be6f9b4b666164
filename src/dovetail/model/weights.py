"""The weights of a model: by name, out of it and into a copy of it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dovetail.data import Dataset
from dovetail.data.arrays import host_array
from dovetail.errors import UnsupportedDataError
from dovetail.model.compiled import CompiledModel

Layout = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Names to (shape, dtype)."""

_WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and DistributedDataParallel put before every name."""


def weights_of(model: Any) -> dict[str, NDArray[Any]]:
    """The weights of a torch module, or of a mapping, as host arrays; on the host, not copied.

    Raises
    ------
    UnsupportedDataError
        If it is neither, holds nothing, or holds what is no array.
    """
    state = _state_of(model)
    if not state:
        raise UnsupportedDataError(f"the {type(model).__name__} has no weights to publish")
    weights = {}
    for name, array in _plainly_named(state).items():
        if not isinstance(name, str):
            raise UnsupportedDataError(f"a weight has a name, not {name!r}")
        try:
            weights[name] = host_array(array)
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"the weight {name!r}: {error}") from error
    return weights


class Form(Protocol):
    """What a followed model is made of, and how a copy of it gets other weights."""

    layout: Layout
    """What published weights must look like."""
    boundless: frozenset[str]
    """Weights that are not finite in the model itself, as the masks of attention are."""

    def first(self) -> Any:
        """The model as it was given, in a copy where its weights could change."""
        ...

    def filled(self, weights: Dataset, spare: Any) -> Any:
        """A model with these weights: `spare` if that is one to be written over, or a new one."""
        ...


def form_of(model: Any) -> Form:
    """The form of a torch module, a compiled model, or a mapping of arrays.

    Raises
    ------
    UnsupportedDataError
    """
    if isinstance(model, CompiledModel):
        return CompiledForm(model)
    return ModuleForm(model) if _is_module(model) else MappingForm(model)


class ModuleForm:
    """A torch module. Copies are in evaluation mode, and their weights carry no gradient."""

    def __init__(self, module: Any) -> None:
        self._template = copy.deepcopy(module).eval().requires_grad_(False)
        weights = weights_of(module)
        self.layout, self.boundless = _layout_of(weights), _boundless_in(weights)

    def first(self) -> Any:
        return self._template

    def filled(self, weights: Dataset, spare: Any) -> Any:
        module = copy.deepcopy(self._template) if spare is None else spare
        own_names = dict(zip(self.layout, module.state_dict(), strict=True))
        module.load_state_dict({own_names[name]: weights.torch(name) for name in self.layout})
        return module


class MappingForm:
    """A mapping of names to arrays, given as a dict.

    What was published is not copied where the store shows its own memory: NumPy arrays are
    read-only views; torch tensors are copy-on-write.
    """

    def __init__(self, weights: Any) -> None:
        arrays = weights_of(weights)
        torch = sys.modules.get("torch")
        self._first = dict(weights)
        self._tensors = {
            name
            for name, array in self._first.items()
            if torch is not None and isinstance(array, torch.Tensor)
        }
        self.layout, self.boundless = _layout_of(arrays), _boundless_in(arrays)
        self._own_names = dict(zip(self.layout, self._first, strict=True))

    def first(self) -> Any:
        return self._first

    def filled(self, weights: Dataset, spare: Any) -> Any:
        return {
            own: weights.torch(name) if own in self._tensors else weights[name]
            for name, own in self._own_names.items()
        }


class CompiledForm:
    """A compiled model. Copies share its code, and have weights of their own."""

    def __init__(self, model: CompiledModel) -> None:
        self._template = model
        self.layout: Layout = {
            name: (tuple(int(extent or 0) for extent in spec.shape), spec.dtype)
            for name, spec in model.weights.items()
        }
        self.boundless = model.boundless

    def first(self) -> Any:
        return self._template.another()

    def filled(self, weights: Dataset, spare: Any) -> Any:
        model = self._template.another() if spare is None else spare
        model.replace_weights({name: weights[name] for name in self.layout})
        return model


def difference(wanted: Layout, found: Layout) -> str | None:
    """How published weights differ from what the model has; ``None`` if they do not."""
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    changed = [
        f"{name} is {_in_words(found[name])} and should be {_in_words(wanted[name])}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    parts = [f"{name} is missing" for name in missing]
    parts += [f"{name} is unknown to the model" for name in unexpected]
    parts += changed
    if not parts:
        return None
    more = len(parts) - 3
    return "; ".join(parts[:3]) + (f"; and {more} more" if more > 0 else "")


def _is_module(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _state_of(model: Any) -> Mapping[str, Any]:
    if _is_module(model):
        state: Mapping[str, Any] = model.state_dict()
        return state
    if isinstance(model, Mapping):
        return model
    raise UnsupportedDataError(
        f"a {type(model).__name__} is no model with weights: pass a torch.nn.Module, a mapping of "
        f"names to arrays, or, to follow one, what dovetail.load_model compiled"
    )


def _plainly_named(state: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The weights under the names that they have without torch's wrappers."""
    for wrapper in _WRAPPERS * 2:
        if all(isinstance(name, str) and name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): array for name, array in state.items()}
    return state


def _layout_of(weights: Mapping[str, NDArray[Any]]) -> Layout:
    return {name: (array.shape, array.dtype) for name, array in weights.items()}


def _boundless_in(weights: Mapping[str, NDArray[Any]]) -> frozenset[str]:
    return frozenset(name for name, array in weights.items() if not np.isfinite(array).all())


def _in_words(entry: tuple[tuple[int, ...], np.dtype[Any]]) -> str:
    shape, dtype = entry
    return f"{dtype}{list(shape)}"
