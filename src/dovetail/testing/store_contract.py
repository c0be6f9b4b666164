"""The store contract as one suite.

An engine's test module subclasses :class:`StoreContract` and provides the fixture ``url``.
What the engine declares in its :class:`~dovetail.transport.contract.Capabilities` is tested
as declared: an operation that it does not offer must be refused with
:class:`~dovetail.CapabilityError`.
"""

from __future__ import annotations

import pytest

import dovetail as dv
from dovetail.testing.store_changes import StoreChanges
from dovetail.testing.store_fixtures import StoreFixtures
from dovetail.testing.store_keys import StoreKeys
from dovetail.testing.store_sharing import StoreSharing
from dovetail.testing.store_values import StoreValues, identical
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store

__all__ = ["StoreContract", "StoreFixtures", "identical"]


class StoreContract(StoreValues, StoreKeys, StoreChanges, StoreSharing):
    """All promises of a Store, and of a folder of values where the engine keeps one.

    Fixtures to override
    --------------------
    url
        The URL of a store that does not exist yet; required.
    small_url
        The same with room for about 1 MiB; by default ``url`` with ``capacity=1MiB``.
    """

    def test_the_store_is_what_the_protocol_says(self, store: Store) -> None:
        assert isinstance(store, Store)
        assert store.capabilities.store

    def test_the_stock_reader_opens_every_value(self, store: Store) -> None:
        if store.path is None:
            pytest.skip("the engine keeps no folder")
        stock = pytest.importorskip("safetensors.numpy")
        store.put("a", sealed(3, 1000), {"t": 1})
        store.put("a", sealed(4, 500))
        (file,) = store.path.glob("*.safetensors")
        assert unsealed(stock.load_file(file)) == 4

    def test_a_sound_foreign_file_is_a_value(self, store: Store) -> None:
        if store.path is None:
            pytest.skip("the engine keeps no folder")
        stock = pytest.importorskip("safetensors.numpy")
        stock.save_file(sealed(6, 100), store.path / "theirs.safetensors", {"who": "they"})
        assert store.keys() == ["theirs"]
        got = store.get("theirs")
        assert unsealed(got) == 6
        assert got.attrs == {"who": "they"}
        assert store.stat("theirs").version
        (store.path / "theirs.safetensors").unlink()

    def test_a_damaged_file_is_reported_and_never_deleted(self, store: Store) -> None:
        if store.path is None:
            pytest.skip("the engine keeps no folder")
        damaged = store.path / "damaged.safetensors"
        damaged.write_bytes(b"\xff" * 100)
        for operation in (store.get, store.get_array, store.stat):
            with pytest.raises(dv.CorruptDataError, match="damaged"):
                operation("damaged")
        assert store.exists("damaged")
        assert "damaged" in store.keys()
        store.put("other", sealed(1, 10))
        assert damaged.read_bytes() == b"\xff" * 100
        damaged.unlink()

    def test_destroy_leaves_what_others_wrote(self, url: str) -> None:
        with dv.open_store(url) as store:
            folder = store.path
            if folder is None:
                pytest.skip("the engine keeps no folder")
            stock = pytest.importorskip("safetensors.numpy")
            store.put("ours", sealed(1, 100))
            foreign = folder / "theirs.safetensors"
            notes = folder / "notes.txt"
            damaged = folder / "damaged.safetensors"
            stock.save_file(sealed(6, 100), foreign)
            notes.write_text("mine")
            damaged.write_bytes(b"\xff" * 100)
            store.destroy()
        left = sorted(item.name for item in folder.iterdir())
        assert left == ["damaged.safetensors", "notes.txt", "theirs.safetensors"]
        for item in (foreign, notes, damaged):
            item.unlink()
        dv.open_store(url).destroy()
