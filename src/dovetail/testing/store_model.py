"""A store beside a plain dict: any sequence of operations leaves both the same.

Needs Hypothesis::

    def test_a_store_behaves_as_a_dict(url):
        check_store_against_a_dict(url)
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import dovetail as dv
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store

KEYS = ["a", "b", "a/b", "", "..", "\U0001f300" * 100, "s/a", "s/"]
keys = st.sampled_from(KEYS)
counts = st.sampled_from([0, 1, 500, 2000, 2047, 2048, 5000])
"""Lengths of payloads, on both sides of where engines change from copying to mapping."""
handles = st.integers(0, 1)
attributes = st.dictionaries(
    st.text(max_size=3),
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    max_size=2,
)


def check_store_against_a_dict(url: str, examples: int = 60, steps: int = 40) -> None:
    """Run the state machine on the store behind `url`, which is destroyed after each run."""

    class Machine(StoreModel):
        store_url = url

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


class StoreModel(RuleBasedStateMachine):
    """Two handles on one store, and the dict that they should amount to."""

    store_url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.handles: list[Store] = [dv.open_store(self.store_url) for _ in range(2)]
        self.values: dict[str, tuple[int, dict[str, Any]]] = {}
        self.lists: dict[str, list[str]] = {}
        self.held: list[tuple[int, dv.Dataset]] = []
        self.versions: dict[str, str] = {}
        self.seen: set[str] = set()
        self.number = 0

    def teardown(self) -> None:
        for number, value in self.held:
            assert unsealed(value) == number
        self.handles[1].close()
        self.handles[0].destroy()
        for number, value in self.held:
            assert unsealed(value) == number

    def note(self, key: str, version: str, attrs: dict[str, Any]) -> None:
        assert version not in self.seen, "a version was given out twice"
        self.seen.add(version)
        self.versions[key] = version
        self.values[key] = (self.number, attrs)

    @rule(handle=handles, key=keys, count=counts, attrs=attributes)
    def put(self, handle: int, key: str, count: int, attrs: dict[str, Any]) -> None:
        self.number += 1
        version = self.handles[handle].put(key, sealed(self.number, count), attrs)
        self.note(key, version, attrs)

    @rule(handle=handles, key=keys, count=counts, publish=st.booleans(), keep=st.booleans())
    def reserve(self, handle: int, key: str, count: int, publish: bool, keep: bool) -> None:
        self.number += 1
        store = self.handles[handle]
        room = {"payload": ((count,), "i8"), "seal": ((3,), "i8")}
        try:
            with store.reserve(key, room) as value:
                kept = value["payload"] if keep else None
                for name, array in sealed(self.number, count).items():
                    value[name][...] = array
                if not publish:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        self.note(key, store.stat(key).version, {})
        if kept is not None:
            assert not kept.flags.writeable
            assert (kept == self.number).all()

    @rule(handle=handles, key=keys)
    def delete(self, handle: int, key: str) -> None:
        if key in self.values:
            self.handles[handle].delete(key)
            del self.values[key], self.versions[key]
        else:
            with pytest.raises(dv.KeyNotFoundError):
                self.handles[handle].delete(key)

    @rule(handle=handles, key=keys, new_key=keys)
    def rename(self, handle: int, key: str, new_key: str) -> None:
        store = self.handles[handle]
        if not store.capabilities.rename:
            with pytest.raises(dv.CapabilityError):
                store.rename(key, new_key)
        elif key in self.values:
            store.rename(key, new_key)
            self.values[new_key] = self.values.pop(key)
            self.versions[new_key] = self.versions.pop(key)
        else:
            with pytest.raises(dv.KeyNotFoundError):
                store.rename(key, new_key)

    @rule(handle=handles, key=keys, hold=st.booleans())
    def get(self, handle: int, key: str, hold: bool) -> None:
        store = self.handles[handle]
        if key not in self.values:
            for operation in (store.get, store.stat):
                with pytest.raises(dv.KeyNotFoundError):
                    operation(key)
            with pytest.raises(dv.TransportTimeoutError):
                store.wait(key, timeout=0)
            return
        number, attrs = self.values[key]
        value = store.get(key)
        assert unsealed(value) == number
        assert value.attrs == attrs
        assert value.version == store.stat(key).version == self.versions[key]
        assert store.wait(key, timeout=0).version == value.version
        with pytest.raises(dv.TransportTimeoutError):
            store.wait(key, timeout=0, newer_than=value.version)
        if hold:
            self.held = [*self.held[-5:], (number, value)]

    @rule(handle=handles, key=keys, name=st.sampled_from(["x", "y/z", ""]))
    def append(self, handle: int, key: str, name: str) -> None:
        held = self.lists.setdefault(name, [])
        assert self.handles[handle].append(name, key) == len(held)
        held.append(key)

    @rule(handle=handles, name=st.sampled_from(["x", "y/z", ""]), start=st.integers(0, 3))
    def items(self, handle: int, name: str, start: int) -> None:
        expected = self.lists.get(name, [])[start:]
        assert self.handles[handle].items(name, start) == expected

    @rule(handle=handles, key=st.sampled_from(["a", ""]), count=counts)
    def put_in_a_scope(self, handle: int, key: str, count: int) -> None:
        self.number += 1
        version = self.handles[handle].scope("s/").put(key, sealed(self.number, count))
        self.note("s/" + key, version, {})

    @rule(handle=handles)
    def open_again(self, handle: int) -> None:
        self.handles[handle].close()
        self.handles[handle] = dv.open_store(self.store_url)

    @rule(handle=handles, prefix=st.sampled_from(["", "a", "s/", "x"]))
    def list_keys(self, handle: int, prefix: str) -> None:
        expected = sorted(key for key in self.values if key.startswith(prefix))
        assert self.handles[handle].keys(prefix) == expected

    @rule(handle=handles)
    def refuse(self, handle: int) -> None:
        with pytest.raises(dv.UnsupportedDataError):
            self.handles[handle].put("a", np.array([object()]))

    @invariant()
    def the_store_holds_what_the_dict_holds(self) -> None:
        assert self.handles[0].keys() == sorted(self.values)
        assert all(self.handles[1].exists(key) == (key in self.values) for key in KEYS)

    @invariant()
    def values_in_hand_have_not_changed(self) -> None:
        for number, value in self.held:
            assert unsealed(value) == number
