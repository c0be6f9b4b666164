"""Two containers' worth of process numbers over one /dev/shm."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.clearing import clear
from faults.namespaces import OWN_PIDS
from faults.tally import Tally

import dovetail as dv
from dovetail.testing import store_roles, stream_roles
from dovetail.testing.children import ChildServer
from dovetail.testing.values import sealed, unsealed

pytestmark = pytest.mark.requires("unshare")


@pytest.fixture
def containers() -> Iterator[tuple[ChildServer, ChildServer]]:
    """Two servers whose children have the same small process numbers."""
    with ChildServer(prefix=OWN_PIDS) as left, ChildServer(prefix=OWN_PIDS) as right:
        yield left, right


def test_store(
    shm_url: str,
    containers: tuple[ChildServer, ChildServer],
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
) -> None:
    """Writer killed in one pid namespace, with a writer in another going on."""
    left, right = containers
    url = f"{shm_url}?capacity=8MiB"
    ledgers = [store_roles.Ledger(str(tmp_path / name)) for name in ("left", "right")]
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        stays = left.start(
            store_roles.put_for_ever,
            url=url,
            key="left",
            sizes=[20_000, 300],
            ledger=str(tmp_path / "left"),
        )
        assert stays.receive() == "ready"
        for _ in faults:
            dies = right.start(
                store_roles.put_for_ever,
                url=url,
                key="right",
                sizes=[20_000, 300],
                ledger=str(tmp_path / "right"),
                first=ledgers[1].number + 1,
            )
            assert dies.receive() == "ready"
            time.sleep(chance.uniform(0, 0.01))
            dies.kill()
            last = ledgers[1].number
            if last:  # else every one was killed before its first value
                assert unsealed(store.get("right")) in (last, last + 1)
            assert not stays.channel.waiting(), stays.receive()
            dies.close()
        assert unsealed(store.get("left")) > 0
        stays.close()
    faults.note(f"{ledgers[0].number} values published by the one that stayed")


def test_stream(
    shm_url: str,
    containers: tuple[ChildServer, ChildServer],
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
) -> None:
    """Writer killed in one pid namespace, with a reader in another."""
    left, right = containers
    ledger = stream_roles.Ledger(str(tmp_path / "ledger"), 8)
    for _ in faults:
        ledger.slots[:] = 0
        writer = left.start(
            stream_roles.produce,
            url=shm_url,
            policy=["buffered", 4],
            ledger=str(tmp_path / "ledger"),
            sizes=[4000, 10],
        )
        assert writer.receive() == "ready"
        reader = right.start(stream_roles.consume, url=shm_url, ledger=str(tmp_path / "ledger"))
        assert reader.receive() == "ready"
        time.sleep(chance.uniform(0, 0.01))
        writer.kill()
        outcome, seen = reader.receive()
        assert outcome == "PeerLostError"
        assert seen == list(range(len(seen)))
        assert len(seen) in (ledger.slots[0], ledger.slots[0] + 1)
        reader.join()
        writer.close()
        clear(shm_url)
