"""How a step lies in ADIOS2 variables.

An array is the variable of its name, of the global shape, with one block a writer rank. What
ADIOS2 lacks is said beside it:

- bool is stored as uint8, float16 and bfloat16 as uint16: their bits;
- an array in Fortran order is stored as it lies, under its reversed shape, start and count;
- an array under a name that an earlier step gave to another dtype or number of axes, or that
  ADIOS2 or this layout keeps for itself, is stored under a name with ``@`` and a number;
- the string variable ``dovetail/step`` holds, as JSON, which array is which variable, its dtype,
  order, shape and place, the number of the step, and when it was ended; where several ranks write
  one stream by MPI, for each of them, under ``others``;
- the string variable ``dovetail/attrs`` holds the attributes of the step, as JSON.

A step without ``dovetail/step`` was written by another program and is read as it is: arrays, with
single values as arrays without axes; texts, and ADIOS2 attributes, are attributes of the step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from dovetail.data.layout import Variable, size_in_bytes
from dovetail.errors import CorruptDataError

Extents = tuple[int, ...]

OURS = "dovetail/"
STEP = "dovetail/step"
ATTRIBUTES = "dovetail/attrs"
VERSION = 1
"""Of this layout."""

_STORED_AS: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.bool_): np.dtype(np.uint8),
    np.dtype(np.float16): np.dtype(np.uint16),
    np.dtype(ml_dtypes.bfloat16): np.dtype(np.uint16),
}
_PLAIN = {
    "char": "i1",
    "int8_t": "i1",
    "int16_t": "i2",
    "int32_t": "i4",
    "int64_t": "i8",
    "uint8_t": "u1",
    "uint16_t": "u2",
    "uint32_t": "u4",
    "uint64_t": "u8",
    "float": "f4",
    "double": "f8",
    "float complex": "c8",
    "double complex": "c16",
}
OF_ADIOS: dict[str, np.dtype[Any]] = {kind: np.dtype(code) for kind, code in _PLAIN.items()}
"""The dtypes behind the names that ADIOS2 gives to its types."""

_OF_NAME: dict[str, np.dtype[Any]] = {
    str(dtype): dtype for dtype in (*OF_ADIOS.values(), *_STORED_AS)
}


class StoredArray(NamedTuple):
    """One array of a step in one stream of blocks."""

    variable: Variable
    """Its logical dtype, shape, order and place; offsets mean nothing here."""
    name: str
    """Its name in ADIOS2."""


@dataclass(frozen=True, slots=True)
class StoredStep:
    """What one stream of blocks says of one step of ours."""

    index: int
    time: float
    ranks: tuple[dict[str, StoredArray], ...]
    """The arrays of each rank that writes this stream of blocks: mostly there is one."""


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that ADIOS2 has for the bits of `dtype`."""
    return _STORED_AS.get(dtype, dtype)


def described(variable: Variable, name: str) -> list[Any]:
    """One array as it is described in ``dovetail/step``."""
    block = [variable.global_shape, variable.start] if variable.start is not None else []
    return [name, str(variable.dtype), variable.order, variable.shape, *block]


def write_description(index: int, time: float, *ranks: dict[str, list[Any]]) -> str:
    """The text of ``dovetail/step``."""
    arrays, *others = ranks
    more = {"others": others} if others else {}
    return json.dumps({"layout": VERSION, "index": index, "time": time, "arrays": arrays, **more})


def read_description(text: str) -> StoredStep:
    """What the text of ``dovetail/step`` says.

    Raises
    ------
    CorruptDataError
        If it cannot be understood.
    """
    try:
        step = json.loads(text)
        if step["layout"] != VERSION:
            raise ValueError(f"the layout is {step['layout']!r}; this version reads {VERSION}")
        ranks = tuple(
            {name: _array(name, *about) for name, about in arrays.items()}
            for arrays in [step["arrays"], *step.get("others", [])]
        )
        return StoredStep(int(step["index"]), float(step["time"]), ranks)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptDataError(
            f"the description of a step in the variable {STEP} cannot be understood: {error!r}"
        ) from error


def read_attributes(text: str) -> dict[str, Any]:
    """What the text of ``dovetail/attrs`` says.

    Raises
    ------
    CorruptDataError
    """
    try:
        attrs = json.loads(text)
    except ValueError as error:
        raise CorruptDataError(f"the variable {ATTRIBUTES} is not JSON: {error}") from error
    if not isinstance(attrs, dict):
        raise CorruptDataError(f"the variable {ATTRIBUTES} is not a JSON object")
    return attrs


def variable_of(
    name: str,
    dtype: np.dtype[Any],
    shape: Extents,
    order: Any = "C",
    global_shape: Extents | None = None,
    start: Extents | None = None,
) -> Variable:
    """An array, or a block of one, as the rest of Dovetail describes it."""
    return Variable(name, dtype, shape, order, 0, size_in_bytes(shape, dtype), global_shape, start)


def _array(name: str, stored: str, dtype: str, order: str, shape: Any, *block: Any) -> StoredArray:
    if order not in ("C", "F"):
        raise ValueError(f"the order {order!r} of {name!r} is neither C nor F")
    whole, start = (_extents(block[0]), _extents(block[1])) if block else (None, None)
    return StoredArray(
        variable_of(name, _OF_NAME[dtype], _extents(shape), order, whole, start), stored
    )


def _extents(numbers: Any) -> Extents:
    return tuple(int(number) for number in numbers)
