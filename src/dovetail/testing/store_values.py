"""What is put is what is got, whatever it is made of; and what is in hand stays."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import dovetail as dv
from dovetail.testing.store_fixtures import StoreFixtures
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store

DTYPES = [
    *(np.dtype(name) for name in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")),
    np.dtype("f2"),
    np.dtype(ml_dtypes.bfloat16),
    *(np.dtype(name) for name in ("f4", "f8", "c8", "c16")),
]
SHAPES = [(), (0,), (7,), (3, 0, 2), (3, 5), (2, 3, 4), (1, 1, 1, 1, 2)]


def arbitrary(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of arbitrary bit patterns, NaNs included."""
    generator = np.random.default_rng(7)
    if dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(np.bool_)
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(generator.bytes(count), dtype).reshape(shape).copy()


def identical(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Equal in dtype, shape and every bit."""
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


class StoreValues(StoreFixtures):
    """Values of every kind, zero-copy, reservations."""

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_every_dtype_and_shape_comes_back_bit_by_bit(
        self, store: Store, dtype: np.dtype[Any]
    ) -> None:
        for shape in SHAPES:
            array = arbitrary(shape, dtype)
            store.put("a", array)
            got = store.get("a")["value"]
            assert identical(got, array), shape
            assert identical(store.get_array("a"), array), shape

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_fortran_order_comes_back_in_fortran_order(
        self, store: Store, dtype: np.dtype[Any]
    ) -> None:
        array = np.asfortranarray(arbitrary((4, 3, 2), dtype))
        store.put("a", array)
        got = store.get("a")["value"]
        assert identical(got, array)
        assert got.flags.f_contiguous

    def test_arrays_that_are_not_contiguous_come_back_whole(self, store: Store) -> None:
        array = np.arange(60.0).reshape(5, 12)[::2, 1::3]
        store.put("a", array)
        assert identical(store.get_array("a"), np.ascontiguousarray(array))

    def test_arrays_of_the_other_byte_order_come_back_equal(self, store: Store) -> None:
        array = np.arange(5, dtype=">f8")
        store.put("a", array)
        assert np.array_equal(store.get_array("a"), array)

    @pytest.mark.parametrize("value", [3, 2.5, True, 1 + 2j, [1, 2, 3], [[1.0], [2.0]]], ids=str)
    def test_numbers_and_lists_are_arrays(self, store: Store, value: Any) -> None:
        store.put("a", value)
        assert identical(store.get_array("a"), np.asarray(value))

    def test_a_dataset_keeps_names_arrays_and_attributes(self, store: Store) -> None:
        arrays = {
            "u": np.arange(6.0).reshape(2, 3),
            "mask": np.array([True, False, True]),
            "half": np.array([1, 2, 3], "f2"),
            'with spaces, ünï¢ødé and "quotes"': np.arange(3),
            "": np.arange(2),
        }
        attrs = {"time": 0.25, "n": 3, "tags": ["a", None, {"b": True}], "name": "ü\u0000\n"}
        store.put("a", arrays, attrs)
        got = store.get("a")
        assert set(got) == set(arrays)
        assert all(identical(got[name], arrays[name]) for name in arrays)
        assert got.attrs == attrs

    def test_a_value_of_no_arrays_is_a_value(self, store: Store) -> None:
        store.put("a", {}, {"only": "attributes"})
        got = store.get("a")
        assert len(got) == 0
        assert got.attrs == {"only": "attributes"}

    def test_a_value_that_was_got_can_be_put_again(self, store: Store) -> None:
        store.put("a", {"u": np.arange(3.0), "k": np.asfortranarray(np.eye(3))}, {"t": 1})
        store.put("b", store.get("a"))
        got = store.get("b")
        assert identical(got["u"], np.arange(3.0))
        assert got["k"].flags.f_contiguous
        assert got.attrs == {"t": 1}

    def test_attributes_given_to_put_replace_those_of_a_dataset(self, store: Store) -> None:
        store.put("a", dv.Dataset(np.arange(3), {"old": 1}), {"new": 2})
        assert store.get("a").attrs == {"new": 2}

    def test_get_array_fills_the_array_it_is_given(self, store: Store) -> None:
        array = np.arange(12.0).reshape(3, 4)
        store.put("a", array)
        out = np.empty((3, 4))
        assert store.get_array("a", out) is out
        assert np.array_equal(out, array)

    @pytest.mark.parametrize(
        "out",
        [np.empty(3), np.empty((2, 3, 4)), np.empty((3, 4), "f4"), np.empty((3, 4), "c16")],
        ids=["smaller", "larger", "narrower", "wider"],
    )
    def test_get_array_refuses_an_array_that_does_not_fit(
        self, store: Store, out: NDArray[Any]
    ) -> None:
        store.put("a", np.arange(12.0).reshape(3, 4))
        with pytest.raises((ValueError, TypeError)):
            store.get_array("a", out)

    def test_get_array_of_several_arrays_asks_for_a_choice(self, store: Store) -> None:
        store.put("a", {"u": np.arange(3), "v": np.arange(3)})
        with pytest.raises(dv.UnsupportedDataError, match="u, v"):
            store.get_array("a")

    def test_what_was_got_cannot_be_written(self, store: Store) -> None:
        store.put("a", np.arange(3.0))
        got = store.get_array("a")
        with pytest.raises(ValueError, match="read-only"):
            got[0] = 9
        with pytest.raises(ValueError, match="WRITEABLE"):
            got.flags.writeable = True

    @pytest.mark.parametrize(
        "value",
        [
            np.array(["text"]),
            np.array([b"bytes"]),
            np.array([object()]),
            np.array(["2020-01-01"], "M8[D]"),
            np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
            np.zeros(2, np.longdouble),
            np.zeros(2, ml_dtypes.float8_e4m3fn),
            [[1, 2], [3]],
            "text",
            None,
            {1: np.arange(3)},
            {"__metadata__": np.arange(3)},
            {"dovetail.x": np.arange(3)},
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_what_has_no_safetensors_form_is_refused(self, store: Store, value: Any) -> None:
        store.put("a", np.arange(3))
        with pytest.raises(dv.UnsupportedDataError):
            store.put("a", value)
        assert np.array_equal(store.get_array("a"), np.arange(3))
        assert store.keys() == ["a"]

    @pytest.mark.parametrize(
        "attrs", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}, {("a",): 1}], ids=repr
    )
    def test_attributes_that_are_not_json_are_refused(
        self, store: Store, attrs: dict[Any, Any]
    ) -> None:
        with pytest.raises(dv.UnsupportedDataError):
            store.put("a", np.arange(3), attrs)
        assert not store.exists("a")

    def test_a_value_in_hand_never_changes(self, store: Store) -> None:
        for number in range(5):
            store.put("a", sealed(number, 5000))
        inhand = store.get("a")
        for number in range(100, 120):
            store.put("a", sealed(number, 5000))
        assert unsealed(inhand) == 4
        store.put("b", sealed(7, 5000))
        store.delete("a")
        store.put("a", sealed(8, 5000))
        assert unsealed(inhand) == 4
        store.close()
        assert unsealed(inhand) == 4

    def test_one_array_in_hand_keeps_its_bytes(self, store: Store) -> None:
        store.put("a", sealed(1, 5000))
        payload = store.get("a")["payload"]
        part = payload[17:4000:3]
        del payload
        for number in range(2, 12):
            store.put("a", sealed(number, 5000))
        assert (part == 1).all()

    def test_a_value_in_hand_outlives_its_store(self, url: str) -> None:
        with dv.open_store(url) as store:
            store.put("a", sealed(1, 5000))
            inhand = store.get("a")
            store.destroy()
        with dv.open_store(url) as store:
            store.put("a", sealed(2, 5000))
            assert unsealed(inhand) == 1
            store.destroy()

    def test_zero_copy_takes_no_memory_of_the_reader(self, store: Store) -> None:
        if not store.capabilities.zero_copy:
            pytest.skip("the engine declares that it copies")
        store.put("a", np.zeros(64 << 20, np.uint8))
        before = _private_bytes()
        got = store.get_array("a")
        assert int(got.sum()) == 0
        assert _private_bytes() - before < 16 << 20

    def test_torch_gets_a_tensor_that_can_be_written_without_harm(self, store: Store) -> None:
        torch = pytest.importorskip("torch")
        store.put("a", np.arange(4, dtype="f4"))
        store.put("b", np.arange(4).astype(ml_dtypes.bfloat16))
        tensor = store.get("a").torch()
        tensor += 1
        assert torch.equal(tensor, torch.arange(4, dtype=torch.float32) + 1)
        assert np.array_equal(store.get_array("a"), np.arange(4, dtype="f4"))
        brain = store.get("b").torch()
        assert brain.dtype == torch.bfloat16
        assert brain.tolist() == [0, 1, 2, 3]

    def test_torch_tensors_are_values(self, store: Store) -> None:
        torch = pytest.importorskip("torch")
        store.put("a", {"w": torch.eye(3), "b": torch.ones(2, dtype=torch.bfloat16)})
        got = store.get("a")
        assert identical(got["w"], np.eye(3, dtype="f4"))
        assert identical(got["b"], np.ones(2, ml_dtypes.bfloat16))

    def test_a_reservation_is_filled_in_place_and_published_on_exit(self, store: Store) -> None:
        specification = {"u": ((3, 4), "f8"), "z": ((2,), "c16"), "n": ((), "i4")}
        with store.reserve("a", specification, {"t": 1}) as room:
            room["u"][:] = 2.5
            room["z"][:] = [1j, 2]
            room["n"][...] = 7
            assert not store.exists("a")
        got = store.get("a")
        assert identical(got["u"], np.full((3, 4), 2.5))
        assert identical(got["z"], np.array([1j, 2], "c16"))
        assert identical(got["n"], np.array(7, "i4"))
        assert got.attrs == {"t": 1}

    def test_a_reservation_shows_the_old_value_until_it_ends(self, store: Store) -> None:
        store.put("a", np.zeros(1000))
        with store.reserve("a", {"value": ((1000,), "f8")}) as room:
            room["value"][:] = 1
            assert (store.get_array("a") == 0).all()
        assert (store.get_array("a") == 1).all()

    def test_a_reservation_left_by_an_exception_publishes_nothing(self, store: Store) -> None:
        store.put("a", np.zeros(1000))
        with pytest.raises(ZeroDivisionError):
            with store.reserve("a", {"value": ((1000,), "f8")}) as room:
                room["value"][:] = 1
                raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), store.reserve("new", {"value": ((10,), "f8")}):
            raise ZeroDivisionError
        assert (store.get_array("a") == 0).all()
        assert store.keys() == ["a"]

    def test_a_reserved_array_is_read_only_from_publication_on(self, store: Store) -> None:
        with store.reserve("a", {"value": ((1000,), "f8")}) as room:
            array = room["value"]
            part = array[10:20]
            array[:] = 3
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9
        for number in range(5):
            store.put("a", np.full(1000, float(number)))
        assert (array == 3).all()
        assert (part == 3).all()

    def test_a_part_of_a_reserved_array_harms_nobody_after_publication(self, store: Store) -> None:
        # NumPy cannot take back a view of a view: writing there must change nothing stored.
        with store.reserve("a", {"value": ((1000,), "f8")}) as room:
            part = room["value"][10:20]
            room["value"][:] = 3
        got = store.get_array("a")
        try:
            part[:] = 9
        except ValueError:
            return
        assert (got == 3).all()
        assert (store.get_array("a") == 3).all()
        for number in range(5):
            store.put("a", np.full(1000, float(number)))
            part[:] = 9
            assert (store.get_array("a") == number).all()

    def test_a_reserved_array_kept_after_an_exception_harms_no_later_value(
        self, store: Store
    ) -> None:
        kept = []
        with pytest.raises(ZeroDivisionError):
            with store.reserve("a", sealed_room(5000)) as room:
                kept.append(room["payload"])
                raise ZeroDivisionError
        for number in range(5):
            store.put("a", sealed(number, 5000))
            with contextlib.suppress(ValueError):  # read-only, as after publication: as good
                kept[0][:] = -1
            assert unsealed(store.get("a")) == number

    def test_a_reservation_of_what_has_no_form_is_refused(self, store: Store) -> None:
        for wrong in ({"a": ((3,), "O")}, {"a": ((-1,), "f8")}, {"dovetail.a": ((3,), "f8")}):
            with pytest.raises(dv.UnsupportedDataError):
                store.reserve("a", wrong).__enter__()
        assert store.keys() == []


def sealed_room(count: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Room for a sealed value."""
    return {"payload": ((count,), "i8"), "seal": ((3,), "i8")}


def _private_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon in /proc/self/status")
