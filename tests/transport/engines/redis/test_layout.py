"""The page on the key layout says what is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from dovetail.errors import CorruptDataError, InvalidURLError
from dovetail.transport.engines.redis import scripts
from dovetail.transport.engines.redis.keys import Manifest, Names, check_name, slot_of

PAGE = Path(__file__).parents[4] / "docs" / "engines" / "redis-key-layout.md"
SCRIPTS = ["FORGET", "PUBLISH", "REMOVE", "REMOVE_IF", "MOVE", "APPEND", "HEAD"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_shows_every_script_as_it_is(name: str) -> None:
    shared = scripts.SHARED.decode()
    text = getattr(scripts, name).decode().replace(shared, "-- shared\n")
    page = PAGE.read_text()
    assert f'```lua title="{name.lower()}"\n{text}```' in page
    assert f'```lua title="shared"\n{shared}```' in page


def test_slots_are_those_of_a_cluster() -> None:
    # From the specification of Redis Cluster, and asked of a server.
    assert slot_of(b"123456789") == 0x31C3 % 16384
    assert slot_of(b"foo{bar}zap") == slot_of(b"bar") == 5061
    assert slot_of(b"foo{}{bar}") == slot_of(b"foo{}{bar}x"[:-1])
    assert slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")


@pytest.mark.parametrize("key", ["", "u", "a}b", "}", "{", "{x}y", "größe", "a:b"])
def test_all_names_of_a_key_have_one_slot(key: str) -> None:
    names = Names("fields")
    slots = {
        slot_of(name)
        for name in (names.value(key), names.chunk(key, b"0" * 32, 7), names.news(key),
                     names.items(key), names.receipt(key, b"sender"))
    }  # fmt: skip
    assert len(slots) == 1
    assert names.key_of(names.value(key)) == key


def test_keys_that_are_alike_up_to_a_brace_lie_together() -> None:
    names = Names("fields")
    assert slot_of(names.value("run7}u")) == slot_of(names.value("run7}v"))


def test_a_manifest_comes_back_and_nothing_else_is_one() -> None:
    manifest = Manifest(b"0123456789abcdef" * 2, 1 << 40, 256 << 20)
    assert manifest.count == 4096
    assert len(manifest.to_bytes()) == 72
    assert Manifest.read(manifest.to_bytes()) == manifest
    assert Manifest.read(b"\x10\0\0\0\0\0\0\0{}") is None
    for damaged in (b"DVCHUNKS", manifest.to_bytes() + b"x", manifest.to_bytes()[:-1] + b"-"):
        with pytest.raises(CorruptDataError, match="manifest"):
            Manifest.read(damaged)


@pytest.mark.parametrize("name", ["", ".a", "a:b", "a/b", "{a}", "a}", "*", "ä", "a" * 201, "a\n"])
def test_what_cannot_name_a_store_is_refused(name: str) -> None:
    with pytest.raises(InvalidURLError, match="letters, digits"):
        check_name(name)
