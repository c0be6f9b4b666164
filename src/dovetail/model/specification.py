"""What an exported model takes and gives, and how a compiled one lies in its folder.

``dovetail.json`` of a compiled model, as the native core reads it::

    {"format": 1, "torch": "2.13.0", "device": "cpu", "threads": "one", "processor": "avx2 fma …",
     "code_bytes": 123, "source": "<sha256>", "extents": {"batch": [1, null]},
     "inputs":  [{"name": "x", "dtype": "F32", "shape": ["batch", 8]}],
     "outputs": [{"name": "output0", "dtype": "F32", "shape": ["batch", 4]}],
     "weights": [{"name": "layer.bias", "dtype": "F32", "shape": [4], "used": true,
                  "finite": true}]}

An extent is a number, a name (the same name is the same number throughout a call), or ``null``
where it is known only after the call.
"""

from __future__ import annotations

import re
from typing import Any, Final

from dovetail.errors import UnsupportedDataError

FORMAT: Final = 1
DESCRIPTION: Final = "dovetail.json"
CODE: Final = "model.so"

_CODES: Final = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "complex128": "C128",
}


def described(program: Any) -> dict[str, Any]:
    """What an exported program takes and gives: the fields of ``dovetail.json`` that say so.

    Raises
    ------
    UnsupportedDataError
        If it takes or gives what is no tensor.
    """
    signature = program.graph_signature
    values = {node.name: node for node in program.graph.nodes}
    names: dict[str, str] = {}
    inputs = [_input(values, name, names) for name in signature.user_inputs]
    outputs = [
        _array(f"output{place}", _value_of(values, name, f"output {place}"), names)
        for place, name in enumerate(signature.user_outputs)
    ]
    return {
        "inputs": inputs,
        "outputs": outputs,
        "weights": _weights(program, values),
        "extents": _extents(program, names),
    }


def _input(values: dict[str, Any], name: Any, names: dict[str, str]) -> dict[str, Any]:
    value = _value_of(values, name, f"input {name}")
    for axis, extent in enumerate(value.shape):
        symbol = str(extent)
        # What is computed from other extents is checked only by what it is computed with.
        if not isinstance(extent, int) and re.fullmatch(r"\w+", symbol):
            names.setdefault(symbol, "batch" if axis == 0 and not names else f"{name}_{axis}")
    return _array(name, value, names)


def _value_of(values: dict[str, Any], name: Any, role: str) -> Any:
    value = values[name].meta.get("val") if name in values else None
    if not hasattr(value, "shape"):
        raise UnsupportedDataError(
            f"the {role} of the model is no tensor ({name!r}): export a module that takes and "
            f"gives tensors"
        )
    return value


def _array(name: str, value: Any, names: dict[str, str]) -> dict[str, Any]:
    shape = [
        extent if isinstance(extent, int) else names.get(str(extent)) for extent in value.shape
    ]
    return {"name": name, "dtype": _code_of(value.dtype, name), "shape": shape}


def _code_of(dtype: Any, name: str) -> str:
    code = _CODES.get(str(dtype).removeprefix("torch."))
    if code is None:
        raise UnsupportedDataError(f"{name} has the dtype {dtype}, which no array here can have")
    return code


def _weights(program: Any, values: dict[str, Any]) -> list[dict[str, Any]]:
    signature = program.graph_signature
    read = {
        target
        for place, target in (signature.inputs_to_parameters | signature.inputs_to_buffers).items()
        if values[place].users
    }
    return [
        {
            "name": name,
            "dtype": _code_of(weight.dtype, name),
            "shape": list(weight.shape),
            "used": name in read,
            "finite": bool(weight.isfinite().all()),
        }
        for name, weight in program.state_dict.items()
    ]


def _extents(program: Any, names: dict[str, str]) -> dict[str, list[int | None]]:
    bounds = {str(symbol): found for symbol, found in program.range_constraints.items()}
    return {
        name: [_number(bounds[symbol].lower), _number(bounds[symbol].upper)]
        if symbol in bounds
        else [None, None]
        for symbol, name in names.items()
    }


def _number(bound: Any) -> int | None:
    """A bound as a number; ``None`` for infinity, and for the huge numbers that stand for it."""
    try:
        number = int(bound)
    except (OverflowError, TypeError, ValueError, AttributeError):
        return None
    return number if abs(number) < 2**62 else None
