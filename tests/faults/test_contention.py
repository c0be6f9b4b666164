"""64 processes on one key."""

from __future__ import annotations

from faults.tally import Tally

import dovetail as dv
from dovetail.testing import store_roles as roles
from dovetail.testing.children import ChildServer
from dovetail.testing.values import unsealed

PROCESSES = 64


def test_one_key(shm_url: str, children: ChildServer, faults: Tally) -> None:
    """64 processes on one key, in rounds of put, get, check, append."""
    rounds = max(1, faults.wanted // 10)
    with dv.open_store(f"{shm_url}?capacity=256MiB") as store:
        started = [
            children.start(roles.contend, url=store.url, key="a", me=me, rounds=rounds, count=3000)
            for me in range(PROCESSES)
        ]
        for child in started:
            assert child.receive() == "ready"
        for child in started:
            child.send("go")
        for child in started:
            assert child.receive(timeout=300) == "done"
            child.join()
        unsealed(store.get("a"))
        items = store.items("all")
        assert len(items) == len(set(items)) == PROCESSES * rounds
        for me in range(PROCESSES):
            mine = [item for item in items if item.startswith(f"{me}-")]
            assert mine == [f"{me}-{turn}" for turn in range(rounds)]
        assert store.keys() == ["a"]
    for _ in faults:
        pass
    faults.note(f"{PROCESSES * rounds} rounds of {PROCESSES} processes")
