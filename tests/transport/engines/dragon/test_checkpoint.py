"""A store is written to disk and comes back in a new runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from transport.engines.dragon.servers import Server

import dovetail as dv
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.engines.dragon import snapshot

pytestmark = pytest.mark.requires("dragon")


@pytest.fixture
def kept(tmp_path: Path, server: Server) -> Iterator[str]:
    """The URL of a store with a checkpoint."""
    url = f"dragon://shared/kept?start=no&checkpoint={tmp_path}/kept"
    yield url
    dv.open_store(url).destroy()


def test_everything_that_was_flushed_is_there_in_a_new_runtime(
    tmp_path: Path, folder_of_servers: Path
) -> None:
    url = f"dragon://kept?memory=64MiB&checkpoint={tmp_path}/kept"
    values = {
        "small": sealed(1, 10),
        "large": sealed(2, 500_000),
        "../ü\n": {"u": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "z": np.array(1j)},
    }
    with Server(url), dv.open_store(url) as store:
        versions = {key: store.put(key, value, {"key": key}) for key, value in values.items()}
        for item in ("b", "a"):
            store.append("done", item)
        store.flush()
    with Server(url), dv.open_store(url) as store:
        assert store.keys() == sorted(values)
        for key in values:
            assert store.stat(key).version == versions[key]
            assert store.get(key).attrs == {"key": key}
        assert unsealed(store.get("small")) == 1
        assert unsealed(store.get("large")) == 2
        assert store.get("../ü\n")["u"].flags.f_contiguous
        assert store.get("../ü\n")["z"] == 1j
        assert store.items("done") == ["b", "a"]
        assert store.append("done", "c") == 2


def test_what_was_not_flushed_is_not_promised(kept: str) -> None:
    with dv.open_store(kept) as store:
        store.put("a", sealed(1, 10))
        store.flush()
        store.put("b", sealed(2, 10))
        store.delete("a")
        store.destroy()
    with dv.open_store(kept) as store:
        assert store.keys() == ["a"]


def test_a_checkpoint_replaces_the_one_before(kept: str, tmp_path: Path) -> None:
    with dv.open_store(kept) as store:
        for number in range(3):
            store.put("a", sealed(number, 10))
            store.flush()
            assert [path.name for path in tmp_path.iterdir()] == ["kept"]
        store.destroy()
    with dv.open_store(kept) as store:
        assert unsealed(store.get("a")) == 2


def test_a_store_that_changes_meanwhile_is_saved_as_of_one_moment(kept: str) -> None:
    count = 300
    state = {f"k{number}": number for number in range(count)}
    moments = [dict(state)]
    with dv.open_store(kept) as store:
        store.put_many({key: sealed(number, 5000) for key, number in state.items()})
        with ThreadPoolExecutor(1) as thread, dv.open_store(kept) as other:
            saving = thread.submit(store.flush)
            while not saving.done():
                turn = len(moments)
                key = f"k{(turn * 7919) % count}"
                if turn % 3 == 0 or key not in state:
                    other.put(key, sealed(count + turn, 5000))
                    state[key] = count + turn
                elif turn % 3 == 1:
                    other.delete(key)
                    del state[key]
                else:
                    other.rename(key, f"moved{turn}")
                    state[f"moved{turn}"] = state.pop(key)
                moments.append(dict(state))
            saving.result()
        store.destroy()
    with dv.open_store(kept) as store:
        saved = {key: unsealed(store.get(key)) for key in store.keys()}
    assert saved in moments


def test_the_stock_reader_opens_a_checkpoint(kept: str, tmp_path: Path) -> None:
    stock = pytest.importorskip("safetensors.numpy")
    with dv.open_store(kept) as store:
        store.put("a", sealed(5, 1000))
        store.flush()
    (file,) = (tmp_path / "kept").glob("*.safetensors")
    assert unsealed(stock.load_file(file)) == 5


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    kept: str, tmp_path: Path
) -> None:
    with dv.open_store(kept) as store:
        store.put("a", sealed(1, 10))
        store.flush()
        (tmp_path / "kept.new").write_text("in the way")
        store.put("a", sealed(2, 10))
        with pytest.raises(OSError, match="was not written"):
            store.flush()
        store.destroy()
    with dv.open_store(kept) as store:
        assert unsealed(store.get("a")) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / snapshot.INDEX).unlink(),
        lambda folder: (folder / snapshot.INDEX).write_text("{"),
        lambda folder: (folder / snapshot.INDEX).write_text("[]"),
        lambda folder: (folder / "00000000.safetensors").unlink(),
        lambda folder: (folder / "00000000.safetensors").write_bytes(b"\xff" * 100),
        lambda folder: (folder / snapshot.INDEX).write_text(
            json.dumps({"format": 99, "files": {}, "lists": {}})
        ),
        lambda folder: (folder / snapshot.INDEX).write_text(
            json.dumps({"format": 1, "files": {"a": ["../a", "v"]}, "lists": {}})
        ),
    ],
    ids=["no-index", "no-json", "no-object", "no-file", "no-value", "format", "elsewhere"],
)
def test_a_damaged_checkpoint_is_corrupt_and_stays(kept: str, tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    with dv.open_store(kept) as store:
        store.put("a", sealed(1, 10))
        store.flush()
        store.destroy()
    damage(tmp_path / "kept")
    with pytest.raises(dv.CorruptDataError, match="was not restored"):
        dv.open_store(kept)
    assert (tmp_path / "kept").is_dir()
    for file in (tmp_path / "kept").iterdir():
        file.unlink()
    (tmp_path / "kept").rmdir()


def test_a_checkpoint_with_no_room_for_it_is_refused(
    tmp_path: Path, folder_of_servers: Path
) -> None:
    url = f"dragon://small?checkpoint={tmp_path}/kept"
    with Server(f"{url}&memory=64MiB"), dv.open_store(url) as store:
        store.put("a", np.zeros(30 << 20, np.uint8))
        store.flush()
    with Server(f"{url}&memory=16MiB"), pytest.raises(dv.StoreFullError, match="not restored"):
        dv.open_store(url)
