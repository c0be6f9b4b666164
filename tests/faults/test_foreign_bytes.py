"""Whatever lies in a store's folder, reading it ends in a sound value or CorruptDataError."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from faults.tally import Tally
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

import dovetail as dv
from dovetail.transport.contract import Store

MUTATIONS_EACH = 100
"""Mutated headers in one trial: 10,000 in an ordinary run."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with dv.open_store(f"file://{tmp_path}/store") as store:
        yield store


@pytest.fixture
def file(store: Store) -> Path:
    """A place for bytes that claim to be the value ``x``."""
    assert store.path is not None
    return store.path / "x.safetensors"


def sound_values(store: Store) -> list[bytes]:
    """The bytes of values, ours and the stock library's, of every kind."""
    store.put("a", np.arange(5.0))
    store.put(
        "b",
        {
            "u": np.arange(6, dtype="f4").reshape(2, 3),
            "z": np.arange(2) * 1j,
            "f": np.asfortranarray(np.eye(3)),
            "m": np.array([True, False, True]),
            "h": np.arange(3).astype(ml_dtypes.bfloat16),
            "none": np.zeros((0, 4), "u2"),
            "n": np.array(7, "i1"),
        },
        {"t": 0.5, "who": "ü\U0001f300"},
    )
    store.put("c", {}, {"only": "attributes"})
    assert store.path is not None
    ours = [(store.path / f"{key}.safetensors").read_bytes() for key in "abc"]
    for key in "abc":
        store.delete(key)
    theirs = save({"w": np.arange(4, dtype="i2"), "v": np.ones(1)}, {"format": "np"})
    return [*ours, theirs]


def read_everything(store: Store, key: str) -> dict[str, bytes] | None:
    """All of a value, or ``None`` if it is reported as corrupt."""
    try:
        value = store.get(key)
        assert isinstance(value.attrs, dict)
        arrays = {name: value[name].tobytes(order="A") for name in value}
        assert {variable.name for variable in store.stat(key).variables} == set(arrays)
    except dv.CorruptDataError:
        return None
    return arrays


def test_every_prefix_of_a_value_is_corrupt(store: Store, file: Path) -> None:
    refused = 0
    for whole in sound_values(store):
        file.write_bytes(whole)
        assert read_everything(store, "x") is not None
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            assert read_everything(store, "x") is None, size
            refused += 1
    assert refused > 1000


def test_a_value_with_bytes_after_its_end_is_corrupt(store: Store, file: Path) -> None:
    for whole in sound_values(store):
        file.write_bytes(whole + b"\0")
        assert read_everything(store, "x") is None


def test_mutated_headers(store: Store, file: Path, chance: random.Random, faults: Tally) -> None:
    """Mutated headers, 100 a trial, read by ours and by the stock reader."""
    wholes = sound_values(store)
    ours = theirs = 0
    for _ in faults:
        for _ in range(MUTATIONS_EACH):
            mutated = mutate(chance, chance.choice(wholes))
            file.write_bytes(mutated)
            arrays = read_everything(store, "x")
            stock = stock_read(mutated)
            ours += arrays is not None
            theirs += stock is not None
            if arrays is not None:
                assert stock is not None, f"the stock reader refuses {mutated!r}"
                described = {n: data for n, data in stock.items() if n in arrays}
                assert described.keys() == arrays.keys(), mutated
                assert all(arrays[name] == described[name] for name in arrays), mutated
    faults.note(f"still a value for us {ours}, for the stock reader {theirs}")


def stock_read(data: bytes) -> dict[str, bytes] | None:
    """All of a value as the stock library reads it, or ``None`` if it refuses."""
    from safetensors import deserialize

    try:
        return {name: bytes(info["data"]) for name, info in deserialize(data)}
    except SafetensorError:
        return None


def mutate(chance: random.Random, whole: bytes) -> bytes:
    """A value whose header was changed in a way that headers go wrong."""
    (length,) = struct.unpack("<Q", whole[:8])
    header, data = bytearray(whole[8 : 8 + length]), whole[8 + length :]
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(header) or 1)
        match chance.randrange(9):
            case 0 if header:
                header[at] ^= 1 << chance.randrange(8)
            case 1 if header:
                header[at] = chance.randrange(256)
            case 2:
                header[at:at] = chance.choice(FRAGMENTS)
            case 3:
                del header[at : at + chance.randint(1, 20)]
            case 4:
                header[at:at] = header[chance.randrange(len(header) or 1) :][:30]
            case 5 | 6:
                digits = [i for i, byte in enumerate(header) if 48 <= byte <= 57]
                if digits:
                    header[chance.choice(digits)] = chance.choice(b"0123456789")
            case 7:
                header = bytearray(rewrite(chance, bytes(header)))
            case 8:
                data = data[: chance.randrange(len(data) + 1)] if data else b"\0"
    if chance.random() < 0.1:
        length = chance.choice([0, 1, 2**63, 2**64 - 1, 10**8, 10**8 + 1, len(header) + 1])
    else:
        length = len(header)
    return struct.pack("<Q", length) + bytes(header) + data


FRAGMENTS = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u0000", b"\\ud800", b"\0", b"\xff",
    b"\xef\xbb\xbf", b"-1", b"1e3", b"0.5", b"null", b"true", b"18446744073709551616",
    b"18446744073709551615,", b"4294967296,4294967296,", b'"x":{"dtype":"U8","shape":[0],'
    b'"data_offsets":[0,0]},', b'"__metadata__":{},', b'"__metadata__":{"a":1},', b"[[[[[[[[",
    b'"dtype":"F64",', b'"F8_E4M3"', b'"dovetail.order.u":"F",',
]  # fmt: skip


def rewrite(chance: random.Random, header: bytes) -> bytes:
    """A header that is still JSON, in which one thing is of another kind."""
    try:
        content: Any = json.loads(header)
    except ValueError:
        return header
    if not isinstance(content, dict) or not content:
        return header
    name = chance.choice(list(content))
    values: list[Any] = [None, [], {}, "", 0, -1, 2**64, 0.5, [0, 2**63], [-1, 1], [1, 0], "F32"]
    if isinstance(content[name], dict) and content[name] and chance.random() < 0.8:
        field = chance.choice(list(content[name]))
        content[name][field] = chance.choice([*values, [1] * 70, [0] * 70, [0, 2**64 - 1]])
    else:
        content[name] = chance.choice(values)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "header",
    [
        '{"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"F32","shape":[0' + ",1" * 70 + '],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"F32","shape":[4611686018427387904,0,4611686018427387904],'
        '"data_offsets":[0,0]}}',
        '{"a":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}}',
        '{"__metadata__":{"dovetail.attrs":"[]"}}',
        '{"__metadata__":{"dovetail.attrs":"{"}}',
        '{"__metadata__":{"dovetail.attrs":"' + "[" * 100_000 + '"}}',
        '{"__metadata__":{"dovetail.dtype.a":"complex128"},'
        '"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
        '{"__metadata__":{"dovetail.version":"zz"}}',
        '{"__metadata__":{"dovetail.version":"zzzzzzzzzzzzzzzz"}}',
    ],
    ids=lambda header: header[:70],
)
def test_headers_that_only_look_sound_are_a_value_or_corrupt(
    store: Store, file: Path, header: str
) -> None:
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    read_everything(store, "x")


def test_what_is_no_file_is_corrupt(store: Store, file: Path) -> None:
    assert store.path is not None
    file.mkdir()
    (store.path / "pipe.safetensors").unlink(missing_ok=True)
    os.mkfifo(store.path / "pipe.safetensors")
    (store.path / "dangling.safetensors").symlink_to("nowhere")
    (store.path / "escape.safetensors").symlink_to("/etc/passwd")
    (store.path / "loop.safetensors").symlink_to("loop.safetensors")
    for key in ("x", "pipe", "dangling", "escape", "loop"):
        with pytest.raises((dv.CorruptDataError, dv.KeyNotFoundError)):
            store.get(key)
    (store.path / "pipe.safetensors").unlink()


def test_a_foreign_file_that_is_cut_in_hand_harms_nobody(store: Store, file: Path) -> None:
    file.write_bytes(save({"value": np.arange(100_000.0)}))
    got = store.get_array("x")
    os.truncate(file, 100)
    assert np.array_equal(got, np.arange(100_000.0))
    with pytest.raises(dv.CorruptDataError):
        store.get("x")


def test_a_value_can_be_put_over_a_damaged_file(store: Store, file: Path) -> None:
    file.write_bytes(b"damaged")
    store.put("x", np.arange(3))
    assert np.array_equal(store.get_array("x"), np.arange(3))


def test_a_damaged_file_can_be_deleted_by_its_key(store: Store, file: Path) -> None:
    file.write_bytes(b"damaged")
    store.delete("x")
    assert not file.exists()


def test_the_stock_torch_reader_opens_every_dtype(store: Store) -> None:
    torch_reader = pytest.importorskip("safetensors.torch")
    torch = pytest.importorskip("torch")
    names = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16",
             "float32", "float64", "complex64"]  # fmt: skip
    tensors = {name: torch.ones((2, 3), dtype=getattr(torch, name)) for name in names}
    store.put("t", tensors)
    assert store.path is not None
    read = torch_reader.load_file(store.path / "t.safetensors")
    for name in names:
        assert read[name].dtype == tensors[name].dtype
        assert torch.equal(read[name], tensors[name])


def test_the_stock_numpy_reader_opens_every_value(store: Store) -> None:
    arrays = {name: np.ones((2, 3), name) for name in ("?", "u1", "i8", "f2", "f4", "f8")}
    arrays["fortran"] = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    arrays["none"] = np.zeros((0, 3))
    arrays["scalar"] = np.array(2.5)
    arrays["complex"] = np.ones(2, "c16")
    store.put("n", arrays, {"t": 1})
    assert store.path is not None
    data = (store.path / "n.safetensors").read_bytes()
    read = load(data)
    for name, array in arrays.items():
        if name == "complex":
            assert np.array_equal(read[name], array.view("f8").reshape(2, 2))
        elif name == "fortran":
            assert np.array_equal(read[name], array.T)
        else:
            assert read[name].dtype == array.dtype
            assert np.array_equal(read[name], array)
    with safe_open(store.path / "n.safetensors", "np") as value:
        metadata = value.metadata()
    assert json.loads(metadata["dovetail.attrs"]) == {"t": 1}


def test_arrays_lie_aligned(store: Store) -> None:
    store.put("a", {"b": np.ones(3, "u1"), "d": np.ones(3), "h": np.ones(3, "f2")})
    variables = store.stat("a").variables
    assert [variable.name for variable in variables] == ["d", "h", "b"]
    assert variables[0].offset % 64 == 0
    assert all(variable.offset % variable.dtype.itemsize == 0 for variable in variables)
