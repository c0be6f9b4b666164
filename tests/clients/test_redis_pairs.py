"""What one language puts on a server of Redis, every other reads, and lies as the layout says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clients.test_pairs import SHAPES, in_every_order
from transport.engines.redis.running import RunningServer

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.store_values import DTYPES, arbitrary, identical
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.engines.redis import scripts
from dovetail.transport.engines.redis.keys import Manifest, Names

pytestmark = [pytest.mark.requires("redis"), pytest.mark.requires("hiredis")]

every_pair = pytest.mark.parametrize(("writer", "reader"), [("", "c+"), ("c+", ""), ("c+", "cpp+")])


@every_pair
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_value_crosses_a_server_bit_by_bit(
    unix_url: str, writer: str, reader: str, dtype: np.dtype[Any]
) -> None:
    with dv.open_store(f"{writer}{unix_url}") as out, dv.open_store(f"{reader}{unix_url}") as into:
        for shape in SHAPES:
            array = np.asarray(arbitrary(shape, dtype))
            orders = in_every_order(array)
            version = out.put("a", orders, {"rank": len(shape), "ü": [1.5, None]})
            got = into.wait("a", 10)
            assert got.version == version == into.stat("a").version
            assert all(identical(got[name], array) for name in orders), shape
            assert got.attrs == {"rank": len(shape), "ü": [1.5, None]}
        out.destroy()


@every_pair
@pytest.mark.parametrize("options", ["", "&chunk=1000"])
def test_python_and_c_share_chunks_lists_names_and_waits(
    unix_url: str, writer: str, reader: str, options: str
) -> None:
    url = f"{unix_url}{options}"
    with (
        dv.open_store(f"{writer}{url}") as out,
        dv.open_store(f"{reader}{url}") as into,
        ThreadPoolExecutor(1) as thread,
    ):
        key = "../ünï¢ødé and spaces/*[}{" + "long" * 100
        waiting = thread.submit(into.wait, key, PATIENCE)
        version = out.put(key, sealed(1, 5000))
        assert waiting.result(PATIENCE).version == version
        assert into.keys() == into.keys("../") == [key]
        waiting = thread.submit(into.wait, key, PATIENCE, version)
        newer = out.put(key, sealed(2, 3))
        assert waiting.result(PATIENCE).version == newer
        assert [out.append("done", "a"), into.append("done", "b")] == [0, 1]
        listening = thread.submit(into.wait_items, "done", 3, PATIENCE)
        assert out.append("done", "ç") == 2
        assert listening.result(PATIENCE) == out.items("done") == ["a", "b", "ç"]
        out.put("moved", sealed(3, 7000))
        into.rename("moved", key)
        assert unsealed(out.get(key)) == 3
        out.scope("member/").put("x", 1.0)
        assert into.scope("member/").keys() == ["x"]
        into.delete(key)
        assert not out.exists(key)
        out.append("more", "x")
        into.destroy()
    with dv.open_store(url) as after:
        assert after.keys() == after.items("done") == []


def test_what_lies_on_the_server_is_what_the_layout_says(
    unix_url: str, unix_server: RunningServer
) -> None:
    name = unix_url.partition("name=")[2].partition("&")[0]
    stock = pytest.importorskip("safetensors.numpy")
    with dv.open_store(f"c+{unix_url}&chunk=1000") as store:
        small, large = store.put("small", np.arange(3)), store.put("large", np.arange(300))
        whole = bytes(unix_server.call("GET", Names(name).value("small")))
        assert whole[45:77].decode() == small
        assert np.array_equal(stock.load(whole)["value"], np.arange(3))
        manifest = Manifest.read(bytes(unix_server.call("GET", Names(name).value("large"))))
        assert manifest is not None
        assert manifest.version.decode() == large
        chunks = [
            bytes(unix_server.call("GET", Names(name).chunk("large", large.encode(), number)))
            for number in range(manifest.count)
        ]
        assert [len(chunk) for chunk in chunks[:-1]] == [1000] * (manifest.count - 1)
        assert np.array_equal(stock.load(b"".join(chunks))["value"], np.arange(300))
        store.destroy()
    assert unix_server.call("KEYS", f"*{{{name}:*") == []


def test_the_scripts_are_those_of_the_layout() -> None:
    """Word for word: a list may be appended to from two languages at once."""
    source = Path(__file__).parents[2] / "native" / "src" / "redis_scripts.hpp"
    text = source.read_text()
    for name in ("FORGET", "PUBLISH", "REMOVE", "REMOVE_IF", "MOVE", "APPEND", "HEAD"):
        theirs = getattr(scripts, name).decode()
        for part in theirs.split(scripts.SHARED.decode()):
            assert part in text, name
    assert scripts.SHARED.decode() in text
