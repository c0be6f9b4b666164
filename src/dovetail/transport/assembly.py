"""Global arrays from the blocks that several ranks put into one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dovetail.data import Variable
from dovetail.errors import CoverageError

Extents = tuple[int, ...]


class Block(NamedTuple):
    """A part of a global array: where it begins, and its bytes."""

    variable: Variable
    memory: Any
    start: Extents

    def view(self) -> NDArray[Any]:
        return self.variable.view(self.memory)


class GlobalArray(NamedTuple):
    """An array of a step, in as many blocks as ranks put."""

    name: str
    shape: Extents
    dtype: np.dtype[Any]
    blocks: tuple[Block, ...]

    def read(self, start: Sequence[int], count: Sequence[int]) -> NDArray[Any]:
        """A selection, read-only: a view if it lies in one block, else a copy.

        Raises
        ------
        CoverageError
            If the selection is not inside the array, if no block covers some cell of it, or
            if two blocks cover one.
        """
        first, extent = selection_in(self.name, self.shape, start, count)
        if len(self.blocks) == 1:
            return self._from_one(self.blocks[0], first, extent)
        layout = tuple((block.start, block.variable.shape) for block in self.blocks)
        parts = parts_of(self.name, layout, first, extent)
        if len(parts) == 1:
            return self._from_one(self.blocks[parts[0].block], first, extent)
        whole = np.empty(extent, self.dtype)
        for part in parts:
            whole[part.target] = self.blocks[part.block].view()[part.source]
        whole.flags.writeable = False
        return whole

    def _from_one(self, block: Block, first: Extents, extent: Extents) -> NDArray[Any]:
        shape = block.variable.shape
        if block.start == first and shape == extent:
            return block.view()
        parts_of(self.name, ((block.start, shape),), first, extent)
        window = tuple(
            slice(begin - origin, begin - origin + size)
            for begin, origin, size in zip(first, block.start, extent, strict=True)
        )
        return block.view()[window]


def selection_in(
    name: str, shape: Extents, start: Sequence[int], count: Sequence[int]
) -> tuple[Extents, Extents]:
    """Start and count of a selection, checked against the shape of the whole array.

    Raises
    ------
    CoverageError
        If it does not lie inside.
    """
    first, extent = tuple(map(int, start)), tuple(map(int, count))
    rank = len(shape)
    if len(first) != rank or len(extent) != rank:
        raise CoverageError(f"{name!r} has {rank} axes; start={first} and count={extent} must too")
    inside = all(
        begin >= 0 and size >= 0 and begin + size <= whole
        for begin, size, whole in zip(first, extent, shape, strict=True)
    )
    if not inside:
        raise CoverageError(
            f"start={first}, count={extent} is not inside {name!r} of shape {shape}"
        )
    return first, extent


class Part(NamedTuple):
    """What one block gives to a selection."""

    block: int
    source: tuple[slice, ...]
    target: tuple[slice, ...]


@lru_cache(maxsize=256)  # the blocks of most streams lie alike in every step
def parts_of(
    name: str, layout: tuple[tuple[Extents, Extents], ...], first: Extents, extent: Extents
) -> tuple[Part, ...]:
    """Which part of which block fills which part of a selection."""
    wanted = math.prod(extent)
    if wanted == 0:
        return ()
    begin = np.array(first, np.int64)
    end = begin + np.array(extent, np.int64)
    starts = np.array([start for start, _ in layout], np.int64).reshape(len(layout), len(first))
    ends = starts + np.array([shape for _, shape in layout], np.int64).reshape(starts.shape)
    low, high = np.maximum(starts, begin), np.minimum(ends, end)
    touching = np.flatnonzero(np.all(low < high, axis=1))
    low, high = low[touching], high[touching]
    for i in range(len(touching) - 1):
        both = np.all((low[i + 1 :] < high[i]) & (low[i] < high[i + 1 :]), axis=1)
        if both.any():
            other = touching[i + 1 + int(np.flatnonzero(both)[0])]
            raise CoverageError(
                f"two blocks of {name!r} overlap: block {touching[i]} at {layout[touching[i]]} and "
                f"block {other} at {layout[other]} (start, shape)"
            )
    covered = int(np.prod(high - low, axis=1).sum())
    if covered != wanted:
        raise CoverageError(
            f"{wanted - covered} of {wanted} cells of {name!r} (start {first}, count {extent}) are "
            f"in no block: every rank must put its part of the global array"
        )
    return tuple(
        Part(
            int(index), _window(a - starts[index], b - starts[index]), _window(a - begin, b - begin)
        )
        for index, a, b in zip(touching, low, high, strict=True)
    )


def _window(begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(begin, end, strict=True))


def global_arrays(ranks: Sequence[tuple[Any, dict[str, Variable]]]) -> dict[str, GlobalArray]:
    """The arrays of a step from (memory, variables) of each writer rank, in rank order.

    Blocks that say where they begin are placed there; others are joined along axis 0 in rank
    order.

    Raises
    ------
    CoverageError
        If the blocks of one name differ in dtype or shape so that they form no array.
    """
    if len(ranks) == 1:
        memory, variables = ranks[0]
        return {
            name: array_of([Block(variable, memory, variable.start or ())])
            for name, variable in variables.items()
        }
    gathered: dict[str, list[Block]] = {}
    for memory, variables in ranks:
        for name, variable in variables.items():
            gathered.setdefault(name, []).append(Block(variable, memory, variable.start or ()))
    return {name: array_of(blocks) for name, blocks in gathered.items()}


def array_of(blocks: list[Block]) -> GlobalArray:
    """The array that the blocks of one name form, in rank order.

    Raises
    ------
    CoverageError
        If they differ in dtype or shape so that they form none.
    """
    first = blocks[0].variable
    name = first.name
    if any(block.variable.dtype != first.dtype for block in blocks):
        raise CoverageError(
            f"ranks put {name!r} as {', '.join(str(b.variable.dtype) for b in blocks)}: one dtype "
            f"is needed"
        )
    placed = [block for block in blocks if block.variable.start is not None]
    if placed and len(placed) != len(blocks):
        raise CoverageError(
            f"some ranks put {name!r} with shape= and start=, others without: all must say where "
            f"their block lies, or none"
        )
    if placed:
        shape = first.global_shape
        if shape is None or any(block.variable.global_shape != shape for block in blocks):
            raise CoverageError(
                f"ranks disagree on the global shape of {name!r}: "
                f"{', '.join(str(block.variable.global_shape) for block in blocks)}"
            )
        return GlobalArray(name, shape, first.dtype, tuple(blocks))
    return _joined(name, blocks)


def _joined(name: str, blocks: list[Block]) -> GlobalArray:
    first = blocks[0].variable
    if len(blocks) == 1:
        origin = (0,) * len(first.shape)
        return GlobalArray(name, first.shape, first.dtype, (blocks[0]._replace(start=origin),))
    alike = all(block.variable.shape[1:] == first.shape[1:] for block in blocks)
    if not first.shape or any(not block.variable.shape for block in blocks) or not alike:
        raise CoverageError(
            f"ranks put {name!r} of shapes {', '.join(str(b.variable.shape) for b in blocks)}, "
            f"which cannot be joined along axis 0: give shape= and start=, put it on one rank, or "
            f"keep numbers that all share in attrs"
        )
    rows, placed = 0, []
    for block in blocks:
        placed.append(block._replace(start=(rows, *(0,) * (len(first.shape) - 1))))
        rows += block.variable.shape[0]
    return GlobalArray(name, (rows, *first.shape[1:]), first.dtype, tuple(placed))
