"""Values larger than any string of a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transport.engines.redis.running import on_a_socket

import dovetail as dv
from dovetail.testing.children import wait_until

pytestmark = pytest.mark.requires("redis")


@pytest.mark.soak
def test_a_value_above_512_mb_is_one_value(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 1 << 60, 600 << 17)
    with on_a_socket(tmp_path / "server", "capacity=2GiB") as server:
        with dv.open_store(server.url) as store:
            version = store.put("large", array, {"t": 1})
            stat = store.stat("large")
            assert stat.version == version
            assert stat.nbytes > 600 << 20
            got = store.get("large")
            assert got.attrs == {"t": 1}
            assert np.array_equal(got["value"], array)
            with pytest.raises(dv.StoreFullError):
                store.put_many({f"k{number}": array for number in range(3)})
            assert np.array_equal(store.get_array("large"), array)
            store.put("large", 1)
            for key in store.keys():
                store.delete(key)
            # The server gives the buffers of connections back by and by.
            held = lambda: store.statistics().bytes_held  # noqa: E731
            wait_until(lambda: held() < 50 << 20, "the room of all chunks to be free")
