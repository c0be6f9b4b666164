"""A Dataset is a read-only mapping of names to arrays, with attributes."""

from __future__ import annotations

import numpy as np
import pytest

from dovetail.data import Dataset
from dovetail.data.dataset import pieces_of
from dovetail.errors import UnsupportedDataError


def test_a_bare_array_is_a_dataset_of_one_named_value() -> None:
    dataset = Dataset(np.arange(3), {"t": 1})
    assert list(dataset) == ["value"]
    assert dataset.array is dataset["value"]
    assert dataset.attrs == {"t": 1}
    assert dataset.nbytes == 24


def test_a_dataset_of_a_dataset_keeps_arrays_and_attributes() -> None:
    first = Dataset({"u": np.arange(3)}, {"t": 1})
    assert Dataset(first)["u"] is first["u"]
    assert Dataset(first).attrs == {"t": 1}
    assert Dataset(first, {"t": 2}).attrs == {"t": 2}


def test_a_missing_array_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="'w'; there are u, v"):
        Dataset({"u": 1, "v": 2})["w"]


@pytest.mark.parametrize("arrays", [{}, {"u": 1, "v": 2}], ids=["none", "two"])
def test_the_array_of_none_or_several_is_refused(arrays: dict[str, int]) -> None:
    with pytest.raises(UnsupportedDataError, match="not one"):
        Dataset(arrays).array  # noqa: B018


def test_a_dataset_cannot_be_assigned_to() -> None:
    with pytest.raises(TypeError):
        Dataset({"u": 1})["u"] = 2  # type: ignore[index]


def test_attributes_are_copied_in() -> None:
    attrs = {"t": 1}
    dataset = Dataset({}, attrs)
    attrs["t"] = 2
    assert dataset.attrs == {"t": 1}


def test_attributes_that_are_not_json_are_refused_when_stored() -> None:
    with pytest.raises(UnsupportedDataError):
        pieces_of(Dataset({}, {"x": object()}), None)


def test_torch_of_a_dataset_in_memory_does_not_change_it() -> None:
    pytest.importorskip("torch")
    dataset = Dataset({"u": np.arange(3.0)})
    tensor = dataset.torch("u")
    tensor += 1
    assert dataset["u"].tolist() == [0, 1, 2]


def test_a_dataset_does_not_touch_the_arrays_it_was_given() -> None:
    array = np.arange(3.0)
    Dataset({"u": array})
    assert array.flags.writeable
