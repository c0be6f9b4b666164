"""``dovetail store``, on real stores."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import dovetail as dv


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
def filled(url: str) -> str:
    with dv.open_store(url) as store:
        store.put("u/1", np.arange(12.0).reshape(3, 4), attrs={"time": 0.5})
        store.put("u/2", {"p": np.zeros(5, np.float32), "q": np.ones((2, 2), np.int16)})
        store.put("mesh", np.arange(4, dtype=np.uint8))
    return url


def test_ls_lists_keys_sizes_and_arrays(dovetail: Any, filled: str) -> None:
    heading, *lines = dovetail.output("store", "ls", filled).splitlines()
    assert heading.split() == ["KEY", "SIZE", "PUBLISHED", "ARRAYS"]
    assert [line.split()[0] for line in lines] == ["mesh", "u/1", "u/2"]
    assert "value: float64[3, 4]" in lines[1]
    assert "p: float32[5]" in lines[2]


def test_ls_by_prefix_as_json(dovetail: Any, filled: str) -> None:
    listing = dovetail.json("store", "ls", filled, "--prefix", "u/")
    assert listing["url"] == filled
    assert listing["unreadable"] == []
    assert [value["key"] for value in listing["values"]] == ["u/1", "u/2"]
    (variable,) = listing["values"][0]["variables"]
    assert variable == {"name": "value", "dtype": "float64", "shape": [3, 4], "nbytes": 96}
    assert abs(listing["values"][0]["time"] - time.time()) < 600


def test_ls_of_shared_memory(dovetail: Any, shm_url: str) -> None:
    with dv.open_store(shm_url) as store:
        store.put("key", np.ones(3))
    assert [value["key"] for value in dovetail.json("store", "ls", shm_url)["values"]] == ["key"]


def test_ls_reports_damaged_and_foreign_files(dovetail: Any, filled: str) -> None:
    folder = Path(filled.removeprefix("file://"))
    (folder / "damaged.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0rubbish!")
    (folder / "notes.txt").write_text("not a value")
    save_file({"a": np.ones(3)}, folder / "sound.safetensors")

    listing = dovetail.json("store", "ls", filled)
    assert "sound" in [value["key"] for value in listing["values"]]
    reasons = {entry["name"]: entry["reason"] for entry in listing["unreadable"]}
    assert len(reasons) == 2
    assert all(reasons.values())
    assert any(name.startswith("damaged") for name in reasons)
    assert "notes.txt" in reasons
    assert "NOT A VALUE" in dovetail.output("store", "ls", filled)
    assert (folder / "notes.txt").exists()


def test_keys_cannot_disturb_the_terminal(dovetail: Any, url: str) -> None:
    with dv.open_store(url) as store:
        store.put("a\x1b[2Jb\nc", np.ones(1))
    output = dovetail.output("store", "ls", url)
    assert "a\\x1b[2Jb\\nc" in output
    assert "\x1b" not in output


def test_stat_says_what_is_known(dovetail: Any, filled: str) -> None:
    with dv.open_store(filled) as store:
        expected = store.stat("u/2")
    stat = dovetail.json("store", "stat", filled, "u/2")
    assert stat["key"] == "u/2"
    assert stat["version"] == expected.version
    assert stat["nbytes"] == expected.nbytes
    assert stat["time"] == pytest.approx(expected.time)
    assert {variable["name"]: variable["shape"] for variable in stat["variables"]} == {
        "p": [5],
        "q": [2, 2],
    }
    assert expected.version in dovetail.output("store", "stat", filled, "u/2")


def test_get_summarizes(dovetail: Any, filled: str) -> None:
    summary = dovetail.json("store", "get", filled, "u/1")
    assert summary["attrs"] == {"time": 0.5}
    assert summary["output"] is None
    (variable,) = summary["variables"]
    assert (variable["minimum"], variable["mean"], variable["maximum"]) == (0.0, 5.5, 11.0)
    text = dovetail.output("store", "get", filled, "u/1")
    assert "time = 0.5" in text
    assert "float64" in text


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1.0, np.nan]), None),
        (np.array([], np.float32), None),
        (np.array([1 + 2j]), None),
        (np.array([True, False]), 0.5),
        (np.array([1, 3], ml_dtypes.bfloat16), 2.0),
    ],
    ids=["nan", "empty", "complex", "bool", "bfloat16"],
)
def test_get_summarizes_any_dtype(
    dovetail: Any, url: str, array: Any, expected: float | None
) -> None:
    with dv.open_store(url) as store:
        store.put("key", array)
    (variable,) = dovetail.json("store", "get", url, "key")["variables"]
    assert variable["mean"] == expected
    assert str(array.dtype) in dovetail.output("store", "get", url, "key")


def test_get_writes_files_that_others_can_read(dovetail: Any, filled: str, tmp_path: Path) -> None:
    tensors, archive, array = (tmp_path / name for name in ("u.safetensors", "u.npz", "u.npy"))
    dovetail.output("store", "get", filled, "u/2", "--output", tensors)
    dovetail.output("store", "get", filled, "u/2", "-o", archive)
    dovetail.output("store", "get", filled, "u/1", "-o", array)

    np.testing.assert_array_equal(load_file(tensors)["q"], np.ones((2, 2)))
    with np.load(archive) as arrays:
        assert sorted(arrays) == ["p", "q"]
        np.testing.assert_array_equal(arrays["q"], np.ones((2, 2)))
    np.testing.assert_array_equal(np.load(array), np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize(
    "value",
    [
        {"b": np.array([True]), "x": np.arange(3.0), "s": np.array(7, np.int8)},
        {"z": np.array([1 + 2j, 3]), "half": np.arange(5, dtype=np.float16)},
        {"fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3))},
        {"bits": np.arange(3).astype(ml_dtypes.bfloat16)},
        {"nothing": np.empty((0, 3))},
    ],
    ids=["mixed", "complex", "fortran", "bfloat16", "empty"],
)
def test_a_value_survives_the_way_to_a_file_and_back(
    dovetail: Any, url: str, tmp_path: Path, value: dict[str, Any]
) -> None:
    with dv.open_store(url) as store:
        store.put("key", value, attrs={"time": 1.5, "name": "🌊"})
    file = tmp_path / "value.safetensors"
    dovetail.output("store", "get", url, "key", "-o", file)
    dovetail.output("store", "put", url, "again", file)
    with dv.open_store(url) as store:
        again = store.get("again")
        assert again.attrs == {"time": 1.5, "name": "🌊"}
        assert sorted(again) == sorted(value)
        for name, array in value.items():
            assert again[name].dtype == array.dtype
            assert again[name].shape == array.shape
            np.testing.assert_array_equal(again[name], array)


def test_get_refuses_files_that_cannot_hold_the_value(
    dovetail: Any, filled: str, tmp_path: Path
) -> None:
    assert "2 arrays" in dovetail.error("store", "get", filled, "u/2", "-o", tmp_path / "u.npy")
    assert ".safetensors" in dovetail.error("store", "get", filled, "u/2", "-o", tmp_path / "u.dat")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_put_reads_every_kind_of_file(dovetail: Any, url: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "b.npz", x=np.ones(2), y=np.zeros(1))
    save_file({"t": np.full(4, 2.0, np.float32)}, tmp_path / "c.safetensors", {"from": "us"})
    (tmp_path / "d.dat").write_bytes(b"\1\2\3")
    (tmp_path / "e.dat").write_bytes(b"")
    for name in ("a.npy", "b.npz", "c.safetensors", "d.dat", "e.dat"):
        dovetail.output("store", "put", url, name[0], tmp_path / name)
    dovetail.output("store", "put", url, "f", "-", stdin=b"from a pipe")
    with dv.open_store(url) as store:
        np.testing.assert_array_equal(store.get_array("a"), np.arange(3))
        assert sorted(store.get("b")) == ["x", "y"]
        assert store.get("c").attrs == {"from": "us"}
        np.testing.assert_array_equal(store.get("c")["t"], np.full(4, 2.0, np.float32))
        assert store.get_array("d").tolist() == [1, 2, 3]
        assert store.get_array("e").size == 0
        assert store.get_array("f").tobytes() == b"from a pipe"


def test_put_says_which_version_it_published(dovetail: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "d.dat").write_bytes(b"\1\2\3")
    published = dovetail.json("store", "put", url, "key", tmp_path / "d.dat")
    with dv.open_store(url) as store:
        assert published == {"key": "key", "version": store.stat("key").version, "nbytes": 3}


def test_put_refuses_damaged_files(dovetail: Any, url: str, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "rubbish.npy").write_bytes(b"rubbish")
    (tmp_path / "rubbish.npz").write_bytes(b"rubbish")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "short.safetensors").write_bytes(b"1234")
    save_file({"t": np.ones(4)}, tmp_path / "cut.safetensors")
    cut = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(cut[:-3])
    for path in sorted(tmp_path.glob("*.*")):
        assert path.name in dovetail.error("store", "put", url, "key", path)
    assert "No such file" in dovetail.error("store", "put", url, "key", tmp_path / "absent.npy")
    with dv.open_store(url) as store:
        assert store.keys() == []


def test_load_makes_keys_of_relative_paths(dovetail: Any, url: str, tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    (cases / "deep").mkdir(parents=True)
    (cases / ".hidden").mkdir()
    (cases / ".hidden" / "file.npy").touch()
    (cases / ".file").touch()
    for number in range(30):
        np.save(cases / "deep" / f"{number}.npy", np.full(100, number))
    (cases / "read.me").write_text("some text")
    np.save(tmp_path / "single.npy", np.zeros(2))

    loaded = dovetail.json(
        "store", "load", url, cases, tmp_path / "single.npy", "--prefix", "in/", "--workers", "3"
    )
    assert loaded["failed"] == []
    keys = {entry["key"] for entry in loaded["loaded"]}
    assert keys == {"in/read.me", "in/single", *(f"in/deep/{number}" for number in range(30))}
    assert loaded["nbytes"] == sum(entry["nbytes"] for entry in loaded["loaded"])
    with dv.open_store(url) as store:
        assert set(store.keys()) == keys
        for number in range(30):
            assert set(store.get_array(f"in/deep/{number}").tolist()) == {number}


def test_load_goes_on_after_a_bad_file_and_says_so(dovetail: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.npy").write_bytes(b"rubbish")
    np.save(tmp_path / "in" / "good.npy", np.ones(1))
    done = dovetail("store", "load", url, tmp_path / "in")
    assert done.returncode == 1
    assert b"loaded 1 files" in done.stdout
    assert b"bad.npy" in done.stderr
    with dv.open_store(url) as store:
        assert store.keys() == ["good"]


def test_load_refuses_two_files_of_one_key(dovetail: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", np.ones(1))
    np.savez(tmp_path / "in" / "a.npz", np.ones(1))
    assert "both" in dovetail.error("store", "load", url, tmp_path / "in", status=2)


def test_rm_removes_keys(dovetail: Any, filled: str) -> None:
    assert dovetail.json("store", "rm", filled, "mesh") == {"url": filled, "removed": ["mesh"]}
    assert dovetail.output("store", "rm", filled, "--prefix", "u/").splitlines() == [
        "removed u/1",
        "removed u/2",
    ]
    with dv.open_store(filled) as store:
        assert store.keys() == []


def test_rm_of_an_absent_key_is_an_error_after_the_rest(dovetail: Any, filled: str) -> None:
    assert "absent" in dovetail.error("store", "rm", filled, "absent", "mesh")
    with dv.open_store(filled) as store:
        assert store.keys() == ["u/1", "u/2"]
    assert "--prefix" in dovetail.error("store", "rm", filled, status=2)


def test_destroy_removes_what_is_ours(dovetail: Any, filled: str) -> None:
    folder = Path(filled.removeprefix("file://"))
    (folder / "notes.txt").write_text("mine")
    assert dovetail.json("store", "destroy", filled)["values"] == 3
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_reader_that_has_had_enough_is_no_error(dovetail: Any, url: str) -> None:
    with dv.open_store(url) as store:
        for number in range(3000):
            store.put(f"{number:04} " + "x" * 60, np.ones(1))
    with subprocess.Popen(
        [*dovetail.command, "store", "ls", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["store", "get", "shm://dovetail-test-absent", "key"], "there is no store"),
        (["store", "ls", "smh://x"], "shm"),
        (["store", "ls", "nowhere"], "DOVETAIL_STORE_NOWHERE"),
        (["store", "ls", "file:///dev/null"], "/dev/null"),
        (["store", "stat", "file:///proc/dovetail", "key"], "/proc/dovetail"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    dovetail: Any, arguments: list[str], says: str, shm_url: str
) -> None:
    arguments = [shm_url if word == "shm://dovetail-test-absent" else word for word in arguments]
    text = dovetail.error(*arguments)
    assert text.startswith("dovetail: ")
    assert text.count("\n") == 1
    assert says in text


def test_looking_for_a_store_does_not_make_one(dovetail: Any, tmp_path: Path) -> None:
    dovetail.error("store", "ls", f"file://{tmp_path}/absent")
    assert not (tmp_path / "absent").exists()


def test_a_key_that_is_not_there_is_named(dovetail: Any, url: str) -> None:
    dv.open_store(url).put("here", 1.0)
    assert "'absent'" in dovetail.error("store", "get", url, "absent")


def test_the_traceback_is_there_for_those_who_ask(dovetail: Any) -> None:
    done = dovetail("store", "ls", "smh://x", DOVETAIL_DEBUG="1")
    assert done.returncode == 1
    assert b"InvalidURLError" in done.stderr
    assert b"Traceback" in done.stderr


def test_a_bare_name_is_looked_up_in_the_environment(dovetail: Any, filled: str) -> None:
    done = dovetail("store", "ls", "staging", DOVETAIL_STORE_STAGING=filled)
    assert b"mesh" in done.stdout
