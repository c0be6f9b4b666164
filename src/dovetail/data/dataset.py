"""A set of named arrays with attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.data.arrays import Attributes, attributes_to_json, host_array, torch_tensor
from dovetail.data.layout import (
    Header,
    Piece,
    Variable,
    attributes_of,
    encode,
    piece_of,
    variables_of,
)
from dovetail.errors import KeyNotFoundError, UnsupportedDataError

BARE = "value"
"""The name under which a bare array is stored."""


class Dataset(Mapping[str, NDArray[Any]]):
    """A read-only mapping of names to arrays, with attributes.

    Parameters
    ----------
    arrays
        A mapping of names to arrays; or one array, which is named ``value``.
    attrs
        JSON values.

    Notes
    -----
    What a store returns, and ``step.dataset()``, is a Dataset of read-only views of the
    transport's own memory where the engine can (shared memory, mapped files), and of one copy
    elsewhere. A view holds a lease: it stays valid and unchanged while it lives, whatever
    becomes of the key.
    """

    __slots__ = ("_arrays", "_attrs", "_block", "_metadata", "_variables", "version")

    version: str | None
    """The version token of the value this was read from, else ``None``."""

    def __init__(self, arrays: Any = None, attrs: Attributes | None = None) -> None:
        if arrays is None:
            arrays = {}
        if isinstance(arrays, Dataset):
            attrs = arrays.attrs if attrs is None else attrs
            arrays = dict(arrays)
        elif not isinstance(arrays, Mapping):
            arrays = {BARE: arrays}
        self._arrays: dict[str, NDArray[Any]] = {
            name: host_array(array) for name, array in arrays.items()
        }
        self._attrs: dict[str, Any] | None = dict(attrs or {})
        self._variables: dict[str, Variable] | None = None
        self._metadata: Mapping[str, str] = {}
        self._block: Any = None
        self.version = None

    @classmethod
    def from_block(cls, block: Any, header: Header, version: str | None = None) -> Dataset:
        """A Dataset over the bytes of a stored value, for engines.

        `block` exports a read-only buffer that begins with the value's first byte, and may
        offer ``private()``: a writable, copy-on-write mapping of the same bytes.
        """
        dataset = cls.__new__(cls)
        dataset._arrays = {}
        dataset._attrs = None
        dataset._variables = variables_of(header)
        _, _, dataset._metadata = header
        dataset._block = block
        dataset.version = version
        return dataset

    def __getitem__(self, name: str) -> NDArray[Any]:
        array = self._arrays.get(name)
        if array is None:
            variable = (self._variables or {}).get(name)
            if variable is None:
                raise KeyNotFoundError(f"no array {name!r}; there are {', '.join(self) or 'none'}")
            array = self._arrays[name] = variable.view(self._block)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays if self._variables is None else self._variables)

    def __len__(self) -> int:
        return len(self._arrays if self._variables is None else self._variables)

    def __contains__(self, name: object) -> bool:
        return name in (self._arrays if self._variables is None else self._variables)

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes."""
        if self._attrs is None:
            self._attrs = attributes_of(self._metadata)
        return self._attrs

    @property
    def array(self) -> NDArray[Any]:
        """The array of a Dataset that holds exactly one.

        Raises
        ------
        UnsupportedDataError
            If it holds none or several.
        """
        if len(self) != 1:
            raise UnsupportedDataError(
                f"this value holds {len(self)} arrays ({', '.join(self)}), not one: "
                "take it as a Dataset and choose by name"
            )
        return self[next(iter(self))]

    @property
    def variables(self) -> dict[str, Variable]:
        """How the arrays of a stored value lie; empty for a Dataset made in memory."""
        return dict(self._variables or {})

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        if self._variables is not None:
            return sum(variable.nbytes for variable in self._variables.values())
        return sum(array.nbytes for array in self._arrays.values())

    def torch(self, name: str | None = None) -> Any:
        """An array as a torch tensor; without a name, that of a Dataset that holds one.

        Torch has no read-only tensors, so the tensor is a copy-on-write mapping: writing to
        it changes neither the stored value nor the arrays of this Dataset. Where the value is
        not mapped it is a copy.
        """
        if name is None:
            name = next(iter(self)) if len(self) == 1 else BARE
        return torch_tensor(self._writable(name))

    def _writable(self, name: str) -> NDArray[Any]:
        variable = (self._variables or {}).get(name)
        private = getattr(self._block, "private", None)
        if variable is not None and private is not None:
            buffer = private()
            if buffer is not None:
                return variable.view(buffer)
        return self[name].copy()

    def __repr__(self) -> str:
        arrays = ", ".join(
            f"{name}: {array.dtype}{list(array.shape)}" for name, array in self.items()
        )
        return f"Dataset({{{arrays}}}, attrs={self.attrs!r})"


def pieces_of(value: Any, attrs: Attributes | None) -> tuple[list[Piece], dict[str, str]]:
    """A value as Pieces and string metadata, ready for an engine to store."""
    metadata: dict[str, str] = {}
    if type(value) is np.ndarray:
        pieces = [piece_of(BARE, value, metadata)]
    else:
        if isinstance(value, Dataset) and attrs is None:
            attrs = value.attrs
        named = value if isinstance(value, Mapping) else {BARE: value}
        pieces = [encode(name, array, metadata) for name, array in named.items()]
    if attrs:
        metadata["dovetail.attrs"] = attributes_to_json(attrs)
    return pieces, metadata
