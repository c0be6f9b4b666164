"""Global arrays from blocks: whatever way an array is cut, every selection of it is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dovetail as dv
from dovetail.data import Variable
from dovetail.transport.assembly import Block, GlobalArray, global_arrays

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""Where a block begins, and its shape."""


def variable(array: np.ndarray, start: Any = None, whole: Any = None) -> Variable:
    return Variable("u", array.dtype, array.shape, "C", 0, array.nbytes, whole, start)


def block(whole: np.ndarray, box: Box) -> Block:
    start, shape = box
    window = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    part = np.ascontiguousarray(whole[window])
    return Block(variable(part, start, whole.shape), memoryview(part).cast("B"), start)


def cut(draw: st.DrawFn, box: Box, depth: int) -> list[Box]:
    """Cut a box in two along some axis, again and again."""
    start, shape = box
    axes = [axis for axis, extent in enumerate(shape) if extent > 1]
    if not axes or depth == 0 or not draw(st.booleans()):
        return [box]
    axis = draw(st.sampled_from(axes))
    at = draw(st.integers(1, shape[axis] - 1))
    left = (start, (*shape[:axis], at, *shape[axis + 1 :]))
    right = (
        (*start[:axis], start[axis] + at, *start[axis + 1 :]),
        (*shape[:axis], shape[axis] - at, *shape[axis + 1 :]),
    )
    return cut(draw, left, depth - 1) + cut(draw, right, depth - 1)


@st.composite
def arrays_in_blocks(draw: st.DrawFn) -> tuple[np.ndarray, list[Box]]:
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    whole = np.arange(np.prod(shape), dtype=float).reshape(shape)
    boxes = cut(draw, ((0,) * len(shape), shape), depth=4)
    return whole, draw(st.permutations(boxes))


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> Box:
    start = tuple(draw(st.integers(0, extent)) for extent in shape)
    count = tuple(draw(st.integers(0, n - a)) for a, n in zip(start, shape, strict=True))
    return start, count


@given(arrays_in_blocks(), st.data())
def test_every_selection_of_a_tiled_array_is_what_numpy_would_slice(
    case: tuple[np.ndarray, list[Box]], data: st.DataObject
) -> None:
    whole, boxes = case
    blocks = tuple(block(whole, box) for box in boxes)
    array = GlobalArray("u", whole.shape, whole.dtype, blocks)
    start, count = data.draw(selections(whole.shape))
    window = tuple(slice(a, a + n) for a, n in zip(start, count, strict=True))
    np.testing.assert_array_equal(array.read(start, count), whole[window])


@given(arrays_in_blocks(), st.data())
def test_a_missing_block_is_noticed_where_it_is_asked_for(
    case: tuple[np.ndarray, list[Box]], data: st.DataObject
) -> None:
    whole, boxes = case
    missing = data.draw(st.integers(0, len(boxes) - 1))
    blocks = tuple(block(whole, box) for i, box in enumerate(boxes) if i != missing)
    array = GlobalArray("u", whole.shape, whole.dtype, blocks)
    with pytest.raises(dv.CoverageError, match="in no block"):
        array.read(*boxes[missing])
    for start, shape in boxes[:missing]:
        window = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
        np.testing.assert_array_equal(array.read(start, shape), whole[window])


@given(arrays_in_blocks(), st.data())
def test_a_cell_that_two_blocks_cover_is_noticed(
    case: tuple[np.ndarray, list[Box]], data: st.DataObject
) -> None:
    whole, boxes = case
    twice = data.draw(st.sampled_from(boxes))
    blocks = tuple(block(whole, box) for box in [*boxes, twice])
    with pytest.raises(dv.CoverageError, match="overlap"):
        GlobalArray("u", whole.shape, whole.dtype, blocks).read((0,) * whole.ndim, whole.shape)


def ranks(*arrays: np.ndarray) -> list[tuple[Any, dict[str, Variable]]]:
    return [(memoryview(a).cast("B") if a.ndim else a.data, {"u": variable(a)}) for a in arrays]


def test_blocks_without_a_place_are_joined_along_the_first_axis_in_rank_order() -> None:
    first, second = np.zeros((2, 3)), np.ones((1, 3))
    joined = global_arrays(ranks(first, second))["u"].read((0, 0), (3, 3))
    np.testing.assert_array_equal(joined, np.concatenate([first, second]))
    assert not joined.flags.writeable


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ((np.zeros((2, 3)), np.zeros((2, 4))), "cannot be joined"),
        ((np.zeros(()), np.zeros(())), "cannot be joined"),
        ((np.zeros(3), np.zeros(3, np.float32)), "one dtype"),
    ],
)
def test_blocks_that_form_no_array_are_refused(arrays: tuple[np.ndarray, ...], reason: str) -> None:
    with pytest.raises(dv.CoverageError, match=reason):
        global_arrays(ranks(*arrays))


def test_ranks_that_disagree_about_the_global_shape_are_refused() -> None:
    part = np.zeros((1, 3))
    placed = [(part.data, {"u": variable(part, (rank, 0), (2 + rank, 3))}) for rank in range(2)]
    with pytest.raises(dv.CoverageError, match="disagree"):
        global_arrays(placed)


def test_a_selection_outside_of_the_array_is_refused() -> None:
    array = global_arrays(ranks(np.zeros((2, 3))))["u"]
    with pytest.raises(dv.CoverageError, match="not inside"):
        array.read((1, 0), (2, 3))
    with pytest.raises(dv.CoverageError, match="axes"):
        array.read((1,), (1,))


def test_a_selection_inside_one_block_is_a_view() -> None:
    whole = np.arange(12.0).reshape(4, 3)
    array = GlobalArray(
        "u", (4, 3), whole.dtype, tuple(block(whole, ((row, 0), (2, 3))) for row in (0, 2))
    )
    assert array.read((2, 1), (2, 2)).base is not None
    np.testing.assert_array_equal(array.read((2, 1), (2, 2)), whole[2:, 1:])
