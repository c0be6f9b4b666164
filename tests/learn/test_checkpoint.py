"""A checkpoint is whole or not there, gives back what it was given, and executes nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dovetail as dv

ARRAYS = {
    "f4": np.arange(6, dtype="f4").reshape(2, 3),
    "bfloat16": np.ones(3, ml_dtypes.bfloat16),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j, 3.0]),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 4)),
    "strided": np.arange(10)[::3],
    "i1": np.arange(5, dtype="i1"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def only_file_is(path: Path) -> bool:
    return [each.name for each in path.parent.iterdir()] == [path.name]


def test_arrays_come_back_as_they_were(path: Path) -> None:
    dv.save_checkpoint(path, {"arrays": ARRAYS, "rows": [np.full(3, n) for n in range(4)]})
    state = dv.load_checkpoint(path)
    assert list(state["arrays"]) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert state["arrays"][name].dtype == array.dtype
        np.testing.assert_array_equal(state["arrays"][name], array)
    assert [row.tolist() for row in state["rows"]] == [[n] * 3 for n in range(4)]
    state["arrays"]["f4"][0, 0] = 7  # the caller's own


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=15,
)


def plain(value: Any) -> Any:
    """The same, where NaN equals itself."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@settings(deadline=None)
@given(value=json_values)
def test_any_nested_value_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    dv.save_checkpoint(path, {"value": value})
    assert plain(dv.load_checkpoint(path)) == plain({"value": value})


@pytest.mark.requires("torch")
def test_tensors_come_back_as_tensors(path: Path) -> None:
    import torch

    tensors = {
        "half": torch.ones(3, dtype=torch.bfloat16),
        "needs a gradient": torch.zeros(2, 2, requires_grad=True),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
    }
    dv.save_checkpoint(path, {"tensors": tensors})
    for name, tensor in dv.load_checkpoint(path)["tensors"].items():
        assert tensor.dtype == tensors[name].dtype
        assert torch.equal(tensor, tensors[name])


def test_any_reader_of_safetensors_opens_it(path: Path) -> None:
    from safetensors.numpy import load_file

    dv.save_checkpoint(path, {"a": {"b": np.arange(3)}, "step": 7})
    assert {name: array.tolist() for name, array in load_file(path).items()} == {"a/b": [0, 1, 2]}


def test_what_has_a_state_is_asked_for_it_and_given_it_back(path: Path) -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    counter, other = Counter(), Counter()
    counter.count = 5
    dv.save_checkpoint(path, {"counter": counter, "epoch": 2})
    assert dv.load_checkpoint(path, {"counter": other}) == {"epoch": 2}
    assert other.count == 5
    with pytest.raises(dv.KeyNotFoundError, match="has no 'model'; it has counter, epoch"):
        dv.load_checkpoint(path, {"counter": other, "model": other})


def test_what_cannot_be_kept_is_refused_and_the_one_before_stays(path: Path) -> None:
    dv.save_checkpoint(path, {"step": 1})
    with pytest.raises(dv.UnsupportedDataError, match="schedule/0 is a function, which a check"):
        dv.save_checkpoint(path, {"step": 2, "schedule": [plain]})
    assert dv.load_checkpoint(path) == {"step": 1}
    assert only_file_is(path)


def test_a_disk_that_refuses_leaves_the_one_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dv.save_checkpoint(path, {"step": 1})

    def refuse(descriptor: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="no space left"):
        dv.save_checkpoint(path, {"step": 2})
    assert dv.load_checkpoint(path) == {"step": 1}
    assert only_file_is(path)


def test_two_that_save_at_once_are_told(path: Path) -> None:
    aside = path.with_name(f".{path.name}.saving")
    with aside.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another process is saving this checkpoint"):
            dv.save_checkpoint(path, {"step": 1})
    dv.save_checkpoint(path, {"step": 1})
    assert only_file_is(path)


def test_a_file_system_without_locks_is_written_to(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    dv.save_checkpoint(path, {"step": 1})
    assert dv.load_checkpoint(path) == {"step": 1}


def test_what_cannot_take_a_state_is_said_before_anything_is_given(path: Path) -> None:
    reservoir = dv.Reservoir(3)
    reservoir.put({"u": np.zeros(3)})
    dv.save_checkpoint(path, {"reservoir": reservoir, "step": 1})
    other = dv.Reservoir(3)
    with pytest.raises(TypeError, match=r"into\['step'\] is a int, which has no load_state_dict"):
        dv.load_checkpoint(path, {"reservoir": other, "step": 0})
    assert len(other) == 0


def test_scalars_in_a_list_stay_arrays_and_no_name_is_taken(path: Path) -> None:
    dv.save_checkpoint(path, {"__metadata__": np.arange(3), "list": [np.array(1.0)] * 2})
    state = dv.load_checkpoint(path)
    assert state["__metadata__"].tolist() == [0, 1, 2]
    assert [(type(item), item.shape) for item in state["list"]] == [(np.ndarray, ())] * 2


def test_what_a_killed_process_left_is_written_over(path: Path) -> None:
    path.with_name(f".{path.name}.saving").write_bytes(b"half a checkpoint" * 100)
    dv.save_checkpoint(path, {"step": 1})
    assert dv.load_checkpoint(path) == {"step": 1}
    assert only_file_is(path)


def test_there_is_none_is_said_as_of_any_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        dv.load_checkpoint(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "checkpoint"
    dv.save_checkpoint(path, {"arrays": ARRAYS, "pairs": {1: (2.0, b"3")}, "step": 7})
    return path.read_bytes()


def load(content: bytes, folder: Path) -> Any:
    path = folder / "foreign"
    path.write_bytes(content)
    return dv.load_checkpoint(path)


def test_no_byte_can_change_unnoticed(sound: bytes, tmp_path: Path) -> None:
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        with pytest.raises((dv.CorruptDataError, dv.FormatVersionError)):
            load(bytes(damaged), tmp_path)


def test_no_end_can_be_missing_unnoticed(sound: bytes, tmp_path: Path) -> None:
    for size in range(0, len(sound), 7):
        with pytest.raises(dv.CorruptDataError):
            load(sound[:size], tmp_path)


@settings(deadline=None)
@given(content=st.binary(max_size=300))
def test_foreign_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    with pytest.raises(dv.CorruptDataError, match="is no checkpoint"):
        load(content, tmp_path_factory.getbasetemp())


def test_a_file_of_another_kind_or_version_is_refused(sound: bytes, tmp_path: Path) -> None:
    from safetensors.numpy import save

    with pytest.raises(dv.CorruptDataError, match="is no checkpoint"):
        load(save({"a": np.zeros(3)}), tmp_path)
    newer = sound.replace(b'checkpoint.version":"1"', b'checkpoint.version":"2"')
    assert newer != sound
    with pytest.raises(dv.FormatVersionError, match="of version '2'; this Dovetail reads"):
        load(newer, tmp_path)


def test_a_tree_that_names_what_is_not_there_is_refused(path: Path) -> None:
    import zlib

    dv.save_checkpoint(path, {"a": np.arange(3.0)})
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["a"]["data_offsets"] = [0, 1 << 40]
    header["__metadata__"]["dovetail.checkpoint.crc32"] = "00000000"
    text = json.dumps(header, separators=(",", ":")).encode()
    checksum = b"%08x" % zlib.crc32(content[8 + size :], zlib.crc32(text))
    text = text.replace(b"00000000", checksum, 1)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    with pytest.raises(dv.CorruptDataError):
        dv.load_checkpoint(path)
