"""Steps on their way out: gathered by the producer, then written as ADIOS2 variables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dovetail.data.arrays import host_array
from dovetail.data.dtypes import COMPLEX128, code_of
from dovetail.data.layout import Variable, check_name, make_room
from dovetail.errors import CoverageError, TransportClosedError, UnsupportedDataError
from dovetail.transport.assembly import Block, GlobalArray, array_of
from dovetail.transport.contract import Shape
from dovetail.transport.engines.adios.layout import (
    ATTRIBUTES,
    OURS,
    STEP,
    Extents,
    described,
    stored_dtype,
    variable_of,
    write_description,
)
from dovetail.transport.engines.adios.library import Opened


class Placed(NamedTuple):
    """One array of a step on its way out."""

    variable: Variable
    array: NDArray[Any]
    """Contiguous in C or Fortran order; not changed until the step has been written."""


class VariableWriter:
    """Writes whole steps to one ADIOS2 engine."""

    def __init__(self, opened: Opened) -> None:
        self._adios, self._io, self._engine, self._library = opened
        self._known: dict[str, tuple[np.dtype[Any], _Dimensions, Any]] = {}
        self._step = self._io.DefineVariable(STEP)
        self._attributes = self._io.DefineVariable(ATTRIBUTES)
        self._texts: dict[str, Any] = {}

    def write(
        self,
        index: int,
        attributes: str,
        arrays: Sequence[Placed],
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """One step. The arrays are read before this returns.

        Parameters
        ----------
        texts
            More string variables, of names that begin with ``dovetail/``.

        Raises
        ------
        RuntimeError
            As ADIOS2 raises it.
        """
        names: dict[str, list[Any]] = {}
        self._engine.BeginStep()
        for variable, array in arrays:
            bits, dimensions = _as_stored(variable, array)
            name = self._name_for(variable.name, bits.dtype, len(dimensions.shape))
            names[variable.name] = described(variable, name)
            self._put(name, bits, dimensions)
        self._engine.Put(self._step, write_description(index, time.time(), names))
        self._engine.Put(self._attributes, attributes)
        for name, text in (texts or {}).items():
            if name not in self._texts:
                self._texts[name] = self._io.DefineVariable(name)
            self._engine.Put(self._texts[name], text)
        self._engine.EndStep()

    def write_jointly(
        self, comm: Any, index: int, attributes: Mapping[str, Any], arrays: Sequence[Placed]
    ) -> None:
        """One step of a stream that all ranks of a communicator have opened; each calls this.

        Raises
        ------
        CoverageError
            On all ranks, if the blocks of one name form no array.
        RuntimeError
            As ADIOS2 raises it.
        """
        told = comm.allgather((dict(attributes), [variable for variable, _ in arrays]))
        merged: dict[str, Any] = {}
        for those, _ in reversed(told):
            merged |= those
        blocks: dict[str, list[Block]] = {}
        for rank, (_, variables) in enumerate(told):
            for variable in variables:
                block = Block(variable, rank, variable.start or ())
                blocks.setdefault(variable.name, []).append(block)
        wholes = {name: array_of(of_ranks) for name, of_ranks in blocks.items()}
        mine = {variable.name: array for variable, array in arrays}
        descriptions: list[dict[str, list[Any]]] = [{} for _ in told]
        self._engine.BeginStep()
        for whole in wholes.values():
            self._put_jointly(whole, comm.Get_rank(), mine.get(whole.name), descriptions)
        if comm.Get_rank() == 0:
            text = write_description(index, time.time(), *descriptions)
            self._engine.Put(self._step, text)
            self._engine.Put(self._attributes, json.dumps(merged))
        self._engine.EndStep()

    def _put_jointly(
        self,
        whole: GlobalArray,
        rank: int,
        array: NDArray[Any] | None,
        descriptions: list[dict[str, list[Any]]],
    ) -> None:
        """The block of this rank, if it has one, under a name that all ranks find."""
        order: Any = "F" if all(one.variable.order == "F" for one in whole.blocks) else "C"
        name = self._name_for(whole.name, stored_dtype(whole.dtype), len(whole.shape))
        self._known.setdefault(
            name, (stored_dtype(whole.dtype), _Dimensions(whole.shape, (), ()), None)
        )
        for one in whole.blocks:
            placed = one.variable._replace(
                order=order, global_shape=whole.shape, start=tuple(one.start)
            )
            descriptions[one.memory][whole.name] = described(placed, name)
            if one.memory == rank and array is not None and array.size:
                lies = array if placed.order == one.variable.order else array.copy(order=order)
                self._put(name, *_as_stored(placed, lies))

    def close(self) -> None:
        self._engine.Close()

    def _put(self, name: str, bits: NDArray[Any], dimensions: _Dimensions) -> None:
        stored = self._defined(name, bits, dimensions)
        deferred = self._library.Mode.Deferred
        if bits.size:
            # By address, since arrays that cannot be written to are refused.
            self._engine.Put(stored, bits.__array_interface__["data"][0], deferred)
        else:
            self._engine.Put(stored, np.empty(bits.shape, bits.dtype), deferred)

    def _name_for(self, name: str, dtype: np.dtype[Any], axes: int) -> str:
        candidate, number = name, 1
        while not self._usable(candidate, dtype, axes):
            number += 1
            candidate = f"{name.removeprefix(OURS).replace(chr(0), '?')}@{number}"
        return candidate

    def _usable(self, name: str, dtype: np.dtype[Any], axes: int) -> bool:
        if not name or "\0" in name or name.startswith(OURS):
            return False
        known = self._known.get(name)
        return known is None or (known[0] == dtype and len(known[1].shape) == axes)

    def _defined(self, name: str, bits: NDArray[Any], dimensions: _Dimensions) -> Any:
        known = self._known.get(name)
        if known is None or known[2] is None:
            like = np.empty(0, bits.dtype)
            variable = self._io.DefineVariable(name, like, *map(list, dimensions))
        else:
            _, before, variable = known
            if before == dimensions:
                return variable
            shape, start, count = map(list, dimensions)
            variable.SetShape(shape)
            variable.SetSelection([start, count])
        self._known[name] = (bits.dtype, dimensions, variable)
        return variable


class _Dimensions(NamedTuple):
    shape: Extents
    start: Extents
    extent: Extents


def _as_stored(variable: Variable, array: NDArray[Any]) -> tuple[NDArray[Any], _Dimensions]:
    """The bits of an array as ADIOS2 takes them, and where they lie in its axes."""
    shape, start = variable.global_shape, variable.start
    if shape is None or start is None:
        shape, start = array.shape, (0,) * array.ndim
    if variable.order == "F":
        array, shape, start = array.T, shape[::-1], start[::-1]
    return array.view(stored_dtype(array.dtype)), _Dimensions(shape, start, array.shape)


class Copies:
    """Memory for arrays that wait for the end of their step, used again from step to step."""

    _MOST = 64

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.uint8]]] = {}
        self._taken: list[NDArray[np.uint8]] = []

    def copy(self, array: NDArray[Any]) -> NDArray[Any]:
        """A copy of an array that is contiguous in C or Fortran order, in the same order."""
        if array.nbytes == 0:
            return array.copy(order="K")
        free = self._free.get(array.nbytes)
        memory = free.pop() if free else np.empty(array.nbytes, np.uint8)
        self._taken.append(memory)
        order: Any = "C" if array.flags.c_contiguous else "F"
        copied = memory.view(array.dtype).reshape(array.shape, order=order)
        copied[...] = array
        return copied

    def give_back(self) -> None:
        """The step is over: what was copied is of no use any more."""
        if len(self._free) > self._MOST:
            self._free.clear()
        for memory in self._taken:
            self._free.setdefault(memory.nbytes, []).append(memory)
        self._taken.clear()


class GatheredStep:
    """A step under construction: it is written as a whole when its ``with`` block ends."""

    def __init__(
        self,
        index: int,
        stream: str,
        copies: Copies,
        finish: Callable[[list[Placed] | None], None],
    ) -> None:
        self._index = index
        self._stream = stream
        self._copies = copies
        self._finish = finish
        self._placed: dict[str, Placed] = {}
        self._handed_out: list[NDArray[Any]] = []
        self._open = True

    @property
    def index(self) -> int:
        return self._index

    def put(
        self, name: str, array: Any, shape: Shape | None = None, start: Shape | None = None
    ) -> None:
        self._check(name)
        given = host_array(array)
        order = "C" if given.flags.c_contiguous else "F"
        variable = _placed(name, given.dtype, given.shape, order, shape, start)
        self._placed[name] = Placed(variable, self._copies.copy(given))

    def __setitem__(self, name: str, array: Any) -> None:
        self.put(name, array)

    def empty(
        self,
        name: str,
        count: Shape,
        dtype: DTypeLike,
        shape: Shape | None = None,
        start: Shape | None = None,
    ) -> NDArray[Any]:
        self._check(name)
        make_room(name, count, dtype, {})
        extents, wanted = tuple(int(extent) for extent in count), np.dtype(dtype)
        variable = _placed(name, wanted, extents, "C", shape, start)
        memory = np.empty(extents, wanted)
        room = memory.view()
        self._handed_out.append(room)
        self._placed[name] = Placed(variable, memory)
        return room

    def _check(self, name: Any) -> None:
        if not self._open:
            raise TransportClosedError(
                f"step {self._index} of {self._stream} has ended: begin another with step()"
            )
        check_name(name)
        if name in self._placed:
            raise UnsupportedDataError(
                f"{name!r} is in step {self._index} already: a step holds one array of each name"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        self._open = False
        for room in self._handed_out:
            room.flags.writeable = False
        try:
            self._finish(list(self._placed.values()) if kind is None else None)
        finally:
            self._copies.give_back()


def _placed(
    name: str,
    dtype: np.dtype[Any],
    count: Extents,
    order: str,
    shape: Shape | None,
    start: Shape | None,
) -> Variable:
    """Where a block lies in its global array.

    Raises
    ------
    CoverageError
        If it does not lie inside.
    """
    if dtype != COMPLEX128:
        code_of(dtype)
    if shape is None and start is None:
        return variable_of(name, dtype, count, order)
    if shape is None or start is None:
        raise CoverageError(f"{name!r}: give both shape= and start=, or neither")
    whole, first = tuple(int(extent) for extent in shape), tuple(int(extent) for extent in start)
    inside = len(whole) == len(first) == len(count) and all(
        begin >= 0 and begin + size <= extent
        for begin, size, extent in zip(first, count, whole, strict=True)
    )
    if not inside:
        raise CoverageError(
            f"a block of shape {count} at start={first} does not lie inside {name!r} of global "
            f"shape {whole}"
        )
    return variable_of(name, dtype, count, order, whole, first)
