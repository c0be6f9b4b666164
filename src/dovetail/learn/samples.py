"""A sample: named arrays, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.data.arrays import host_array
from dovetail.transport import ReadStep

Arrays = dict[str, NDArray[Any]]
NamedArrays = Mapping[str, Any] | ReadStep


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a sample comes from."""

    simulation: str = ""
    """Which run: the step's attribute ``simulation``, or else the name of its stream."""
    step: int = 0
    """The step's attribute ``step``, or else its index in the stream."""
    time: float | None = None
    """Of the simulation: the step's attribute ``time``."""
    model_version: int | None = None
    """The model in force when it was computed: the step's attribute ``model_version``."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """All attributes of the step: parameters of the run, among them."""

    @classmethod
    def of(cls, step: ReadStep, stream: str) -> Provenance:
        """What the attributes of a step of the stream named `stream` say."""
        attrs = dict(step.attrs)
        number = attrs.get("step", step.index)
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"the attribute step={number!r} of {stream} is no whole number")
        return cls(
            str(attrs.get("simulation", stream)),
            number,
            attrs.get("time"),
            attrs.get("model_version"),
            attrs,
        )

    def __str__(self) -> str:
        return f"step {self.step} of {self.simulation or 'an unnamed simulation'}"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


class Sample(Mapping[str, NDArray[Any]]):
    """A drawn sample: a mapping of names to read-only arrays, which never change.

    Attributes
    ----------
    provenance
        Where it comes from.
    number
        Its place in the order of arrival, from 0.
    seen
        How often it has been drawn, this time included.
    """

    __slots__ = ("_arrays", "number", "provenance", "seen")

    def __init__(self, arrays: Arrays, provenance: Provenance, number: int, seen: int) -> None:
        self._arrays = arrays
        self.provenance = provenance
        self.number = number
        self.seen = seen

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{name}: {a.dtype}{list(a.shape)}" for name, a in self.items())
        return f"<Sample {self.number} {{{arrays}}}, {self.provenance}, seen {self.seen} ×>"


def copied(arrays: NamedArrays) -> Arrays:
    """Read-only copies, which hold nothing of a stream.

    Raises
    ------
    TypeError
        If `arrays` is no mapping of names to arrays.
    UnsupportedDataError
        If one of them is nothing that an array can be made of.
    """
    if not hasattr(arrays, "keys"):
        raise TypeError(
            f"a sample is a mapping of names to arrays, not {type(arrays).__name__}: "
            f"write {{'u': array}}"
        )
    kept: Arrays = {}
    for name in arrays.keys():
        array = np.array(host_array(arrays[name]), order="C")
        array.flags.writeable = False
        kept[name] = array
    return kept


def non_finite(arrays: Arrays) -> str | None:
    """The name of the first array that holds NaN or infinity."""
    for name, array in arrays.items():
        if array.dtype.kind in "fcV" and not np.isfinite(array).all():
            return name
    return None


def nbytes(arrays: Arrays) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for array in arrays.values())
