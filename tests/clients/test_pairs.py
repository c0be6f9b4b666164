"""What one language writes, every other reads: all dtypes, orders, and ranks of array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clients.languages import SCHEMES, between
from numpy.typing import NDArray

import dovetail as dv
from dovetail.testing.store_values import DTYPES, arbitrary, identical

PAIRS = [between(writer, reader) for writer in SCHEMES for reader in SCHEMES]
SHAPES = [(), (5,), (2, 3), (2, 3, 2), (2, 1, 3, 2), (1, 2, 1, 2, 3), (2, 1, 2, 1, 2, 2),
          (2, 1, 2, 1, 1, 2, 3), (0,), (3, 0, 2)]  # fmt: skip

every_pair = pytest.mark.parametrize(("writer", "reader"), PAIRS)


def in_every_order(array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """One array as C lays it out, as Fortran does, with gaps, and backwards."""
    wide = np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
    backwards = array[::-1].copy()[::-1] if array.ndim else array
    return {
        "row-major": array,
        "column-major": np.array(array, order="F"),
        "with gaps": wide,
        "backwards": backwards,
    }


@pytest.fixture
def place(shm_url: str) -> str:
    return shm_url.partition("://")[2]


@every_pair
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_value_crosses_bit_by_bit(
    place: str, writer: str, reader: str, dtype: np.dtype[Any]
) -> None:
    with (
        dv.open_store(f"{writer}://{place}") as out,
        dv.open_store(f"{reader}://{place}") as into,
    ):
        for shape in SHAPES:
            array = np.asarray(arbitrary(shape, dtype))
            orders = in_every_order(array)
            out.put("a", orders, {"rank": len(shape), "ü": [1.5, None]})
            got = into.get("a")
            assert all(identical(got[name], array) for name in orders), shape
            assert got.attrs == {"rank": len(shape), "ü": [1.5, None]}
            if array.size and len(shape) > 1 and max(shape) < array.size:
                assert got["column-major"].flags.f_contiguous
                assert not got["column-major"].flags.c_contiguous


@every_pair
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_step_crosses_bit_by_bit(
    place: str, writer: str, reader: str, dtype: np.dtype[Any]
) -> None:
    with (
        dv.open_stream(f"{writer}://{place}", "w", policy=dv.buffered(1)) as out,
        dv.open_stream(f"{reader}://{place}", "r") as into,
    ):
        for shape in SHAPES:
            array = np.asarray(arbitrary(shape, dtype))
            orders = in_every_order(array)
            with out.step(attrs={"rank": len(shape)}) as step:
                for name, laid_out in orders.items():
                    step.put(name, laid_out)
                room = step.empty("filled in place", shape, dtype)
                room[...] = array
            got = next(into)
            assert all(identical(got[name], array) for name in [*orders, "filled in place"])
            assert got.attrs == {"rank": len(shape)}
            got.end()


@every_pair
def test_a_global_array_crosses_in_blocks_of_either_order(
    place: str, writer: str, reader: str
) -> None:
    whole = np.arange(6 * 8, dtype="f4").reshape(6, 8)
    halves = [(0, 3), (3, 6)]
    with (
        dv.open_stream(f"{writer}://{place}", "w", rank=0, size=2) as first,
        dv.open_stream(f"{writer}://{place}", "w", rank=1, size=2) as second,
        dv.open_stream(f"{reader}://{place}", "r") as into,
    ):
        for out, (begin, end), lay_out in zip(
            (first, second), halves, (np.ascontiguousarray, np.asfortranarray), strict=True
        ):
            with out.step(attrs={"from": begin}) as step:
                step.put("u", lay_out(whole[begin:end]), shape=whole.shape, start=(begin, 0))
                step["rows"] = lay_out(whole[begin:end])
        got = next(into)
        assert identical(got["u"], whole)
        assert identical(got["rows"], whole)
        assert identical(got.read("u", (2, 1), (3, 4)), whole[2:5, 1:5])
        assert got.attrs == {"from": 0}


@every_pair
def test_keys_lists_versions_and_waits_are_shared(place: str, writer: str, reader: str) -> None:
    with (
        dv.open_store(f"{writer}://{place}") as out,
        dv.open_store(f"{reader}://{place}") as into,
    ):
        key = "../ünï¢ødé and spaces/" + "long" * 100
        version = out.put(key, np.arange(3))
        assert into.keys() == [key]
        assert into.stat(key).version == version
        with pytest.raises(dv.TransportTimeoutError):
            into.wait(key, 0, newer_than=version)
        newer = out.put(key, np.arange(4))
        assert into.wait(key, 10, newer_than=version).version == newer
        assert [out.append("done", "a"), into.append("done", "b")] == [0, 1]
        assert out.wait_items("done", 2, 10) == into.items("done") == ["a", "b"]
        out.scope("member/").put("x", 1.0)
        assert into.scope("member/").keys() == ["x"]
        into.delete(key)
        assert not out.exists(key)
