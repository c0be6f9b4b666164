"""Any text but NUL is a key, and no key leaves its store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing.store_fixtures import StoreFixtures
from dovetail.transport.contract import Store

HOSTILE = {
    "empty": "",
    "dot": ".",
    "dotdot": "..",
    "parent": "../escape",
    "grandparent": "../../../../tmp/escape",
    "absolute": "/etc/passwd",
    "slashes": "a//b/",
    "hidden": ".hidden",
    "own-folder": ".dovetail",
    "own-suffix": "a.safetensors",
    "percent": "100%",
    "escaped-slash": "a%2Fb",
    "escaped-percent": "%25",
    "newline": "line\nbreak",
    "tab-and-bell": "\t\a\x7f",
    "space": " ",
    "trailing-dot": "a.",
    "backslash": "a\\b",
    "wildcard": "*?[a]{b}",
    "quotes": "'\"`$(x)",
    "option": "--help",
    "colon": "scheme://x?y=z&w",
    "umlaut": "größe",
    "composed": "\u00e9",
    "decomposed": "e\u0301",
    "four-byte": "\U0001f300\U0010ffff",
    "right-to-left": "\u202eabc",
    "long": "x" * 10_000,
    "long-slashes": "a/" * 5_000,
    "long-unicode": "\U0001f300" * 10_000,
}
everywhere = pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE.keys())


class StoreKeys(StoreFixtures):
    """Keys that try to be something else; listing; scopes."""

    @everywhere
    def test_any_text_is_a_key(self, store: Store, key: str) -> None:
        store.put(key, np.arange(5))
        assert store.exists(key)
        assert store.keys() == [key]
        assert np.array_equal(store.get_array(key), np.arange(5))
        assert store.stat(key).key == key
        assert store.keys(key) == [key]
        store.delete(key)
        assert not store.exists(key)
        assert store.keys() == []

    @everywhere
    def test_any_text_can_be_reserved_and_waited_for(self, store: Store, key: str) -> None:
        with store.reserve(key, {"value": ((2,), "f8")}) as room:
            room["value"][:] = 4
        assert (store.wait(key, timeout=0)["value"] == 4).all()

    @everywhere
    def test_any_text_names_a_list(self, store: Store, key: str) -> None:
        assert store.append(key, key) == 0
        assert store.items(key) == [key]
        assert store.keys() == []

    @everywhere
    def test_any_text_can_be_the_new_name_and_the_old(self, store: Store, key: str) -> None:
        if not store.capabilities.rename:
            with pytest.raises(dv.CapabilityError):
                store.rename(key, "plain")
            return
        store.put("plain", np.arange(5))
        store.rename("plain", key)
        assert store.keys() == [key]
        store.rename(key, "plain")
        assert store.keys() == ["plain"]

    def test_all_hostile_keys_live_side_by_side(self, store: Store) -> None:
        for number, key in enumerate(HOSTILE.values()):
            store.put(key, np.array(number))
        assert store.keys() == sorted(HOSTILE.values())
        for number, key in enumerate(HOSTILE.values()):
            assert int(store.get_array(key)) == number

    def test_no_key_writes_outside_the_folder_of_the_store(self, store: Store) -> None:
        if store.path is None:
            pytest.skip("the engine keeps no folder")
        around = store.path.parent
        before = sorted(item.name for item in around.iterdir())
        for key in HOSTILE.values():
            store.put(key, np.arange(3))
        assert sorted(item.name for item in around.iterdir()) == before
        inside = store.path.resolve()
        assert all(item.resolve().is_relative_to(inside) for item in inside.rglob("*"))

    def test_long_keys_that_differ_in_the_last_letter_are_two(self, store: Store) -> None:
        for last in "ab":
            store.put("x" * 9_999 + last, np.array(ord(last)))
        assert int(store.get_array("x" * 9_999 + "a")) == ord("a")
        assert int(store.get_array("x" * 9_999 + "b")) == ord("b")

    @pytest.mark.parametrize("key", ["a\0b", "\0", 7, b"bytes", None, ("a",)], ids=repr)
    def test_what_is_no_key_is_refused(self, store: Store, key: Any) -> None:
        for operation in (
            lambda: store.put(key, np.arange(3)),
            lambda: store.get(key),
            lambda: store.exists(key),
            lambda: store.delete(key),
            lambda: store.stat(key),
            lambda: store.wait(key, timeout=0),
            lambda: store.append(key, "item"),
            lambda: store.append("list", key),
        ):
            with pytest.raises(dv.InvalidKeyError):
                operation()
        assert store.keys() == []

    def test_half_a_surrogate_pair_is_no_text(self, store: Store) -> None:
        with pytest.raises(dv.InvalidKeyError):
            store.put("\ud800", np.arange(3))

    def test_keys_are_sorted_and_chosen_by_prefix(self, store: Store) -> None:
        for key in ("b", "a/2", "a/10", "a", "ab", "%61"):
            store.put(key, np.arange(1))
        assert store.keys() == ["%61", "a", "a/10", "a/2", "ab", "b"]
        assert store.keys("a/") == ["a/10", "a/2"]
        assert store.keys("a") == ["a", "a/10", "a/2", "ab"]
        assert store.keys("%") == ["%61"]
        assert store.keys("none") == []

    def test_what_is_absent_is_said_in_a_sentence(self, store: Store) -> None:
        for operation in (
            lambda: store.get("missing"),
            lambda: store.get_array("missing"),
            lambda: store.stat("missing"),
            lambda: store.delete("missing"),
            lambda: store.get_many(["missing"]),
        ):
            with pytest.raises(dv.KeyNotFoundError) as caught:
                operation()
            assert isinstance(caught.value, KeyError)
            assert "missing" in str(caught.value)
            assert len(str(caught.value).split()) > 3

    def test_a_scope_is_a_prefix(self, store: Store) -> None:
        inner = store.scope("run1/")
        inner.put("u", np.array(1))
        store.put("u", np.array(2))
        store.put("run1/v", np.array(3))
        assert store.keys() == ["run1/u", "run1/v", "u"]
        assert inner.keys() == ["u", "v"]
        assert {key: int(inner.get_array(key)) for key in inner.keys()} == {"u": 1, "v": 3}
        assert inner.keys("v") == ["v"]
        assert inner.stat("u").key == "u"
        inner.delete("v")
        assert not store.exists("run1/v")

    def test_scopes_nest(self, store: Store) -> None:
        innermost = store.scope("a/").scope("b/")
        innermost.put("k", np.arange(2))
        assert store.keys() == ["a/b/k"]
        assert innermost.exists("k")

    def test_lists_of_a_scope_are_its_own(self, store: Store) -> None:
        inner = store.scope("run1/")
        inner.append("done", "x")
        store.append("done", "y")
        assert inner.items("done") == ["x"]
        assert store.items("done") == ["y"]
        assert store.items("run1/done") in (["x"], ["run1/x"])

    def test_a_scope_renames_and_reserves_within_itself(self, store: Store) -> None:
        inner = store.scope("s/")
        with inner.reserve("a", {"value": ((1,), "f8")}) as room:
            room["value"][:] = 1
        if store.capabilities.rename:
            inner.rename("a", "b")
            assert store.keys() == ["s/b"]

    def test_a_missing_key_of_a_scope_is_named(self, store: Store) -> None:
        with pytest.raises(dv.KeyNotFoundError, match="nothing"):
            store.scope("s/").get("nothing")
