"""Frames, room and places: what needs no server."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

import dovetail as dv
from dovetail.transport.engines.dragon import places
from dovetail.transport.engines.dragon.index import Record, Room, StoreIndex, block_of, pool_for
from dovetail.transport.engines.dragon.wire import (
    FRAME,
    checksum,
    frame,
    proof,
    unframed,
    version_in,
)
from dovetail.transport.url import parse

VERSION = "0123456789abcdef" * 2


def framed(value: bytes) -> bytes:
    return frame(value, VERSION) + value


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 1001])
def test_a_value_comes_out_of_its_frame_as_it_went_in(count: int) -> None:
    value = bytes(np.random.default_rng(3).integers(0, 256, count, dtype=np.uint8))
    assert bytes(unframed(framed(value), "it")) == value
    assert version_in(framed(value)) == VERSION


@pytest.mark.parametrize("kept", [0, 8, FRAME - 1, FRAME, FRAME + 1, FRAME + 999])
def test_a_value_that_was_cut_short_is_corrupt(kept: int) -> None:
    with pytest.raises(dv.CorruptDataError, match="put it again"):
        unframed(framed(bytes(1000))[:kept], "it")


@pytest.mark.parametrize("at", [FRAME, FRAME + 500, FRAME + 999])
def test_a_byte_that_changed_is_noticed(at: int) -> None:
    damaged = bytearray(framed(bytes(1000)))
    damaged[at] ^= 1
    with pytest.raises(dv.CorruptDataError):
        unframed(damaged, "it")


def test_what_others_wrote_is_corrupt() -> None:
    with pytest.raises(dv.CorruptDataError, match="something else wrote it"):
        unframed(bytes(200), "it")


def test_the_checksum_tells_lost_pages_from_whole_values() -> None:
    value = np.arange(10_000, dtype="f8")
    lost = value.copy()
    lost[4096:4608] = 0
    assert checksum(value.data.cast("B")) != checksum(lost.data.cast("B"))


def test_a_proof_does_not_show_the_token() -> None:
    assert proof("secret", "nonce") != proof("other", "nonce")
    assert proof("secret", "nonce") != proof("secret", "another")
    assert "secret" not in proof("secret", "nonce")


def test_blocks_are_powers_of_two() -> None:
    assert [block_of(n) for n in (0, 1, 32, 33, 64, 65, 1 << 20)] == [
        32, 32, 32, 64, 64, 128, 1 << 20,
    ]  # fmt: skip
    assert all(pool_for(n) * 0.7 >= n for n in (1 << 20, 10 << 20, (1 << 30) + 1))


def test_what_does_not_fit_is_refused_with_the_arithmetic() -> None:
    room = Room(2, 1 << 20)
    store = StoreIndex("s", capacity=200_000)
    assert room.each == 1 << 19
    assert not room.refusal(store, "a", 100_000, 131_072, 0)
    store.note("a", Record("v", 100_000, 131_072, 0, b""))
    room.taken[0] += 131_072
    why = room.refusal(store, "b", 100_000, 131_072, 0)
    assert "128.0 KiB of the store's 195.3 KiB are taken by 1 values" in why
    assert not room.refusal(store, "a", 100_000, 131_072, 0), "it replaces what is there"
    store.capacity = None
    assert "of manager 0 are taken" in room.refusal(store, "b", 400_000, 1 << 19, 0)
    assert not room.refusal(store, "b", 400_000, 1 << 19, 1)
    store.forget("a")
    assert store.held == 0


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("dragon://run", ("run", "default")),
        ("dragon://run/fields", ("run", "fields")),
        ("dragon://run_1.x/a@b", ("run_1.x", "a@b")),
    ],
)
def test_a_url_names_a_server_and_a_store(url: str, names: tuple[str, str]) -> None:
    place = places.place_of(parse(url, "store"))
    assert (place.server, place.store) == names


def test_a_url_may_name_the_folder_of_a_server() -> None:
    place = places.place_of(parse("dragon:///runs/7/server?store=fields", "store"))
    assert place == (Path("/runs/7/server"), "fields")
    assert places.place_of(parse("dragon:///runs/7/", "store")) == (Path("/runs/7"), "default")
    with pytest.raises(dv.InvalidURLError, match="dragon://server/store"):
        places.place_of(parse("dragon://run?store=fields", "store"))


@pytest.mark.parametrize(
    "url",
    [
        "dragon://",
        "dragon:///a?store=..",
        "dragon://../x",
        "dragon://a/b/c",
        "dragon://a/",
        "dragon://.a",
    ],
)
def test_a_url_without_a_fit_name_is_refused(url: str) -> None:
    with pytest.raises(dv.InvalidURLError, match="dragon://run"):
        places.place_of(parse(url, "store"))


def test_the_folder_of_a_server_is_its_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path / "servers"))
    folder = places.made(places.root() / "run")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(places.made(folder).stat().st_mode) == 0o700


def test_a_folder_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    os.symlink(tmp_path, tmp_path / "run")
    with pytest.raises(dv.AccessDeniedError, match=places.FOLDER_VARIABLE):
        places.made(places.root() / "run")


def test_a_folder_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    assert places.socket_of(Path("/short")) == Path("/short/socket")
    long = tmp_path / ("x" * 200)
    assert len(str(places.socket_of(long))) < 108
    assert places.socket_of(long) != places.socket_of(tmp_path / ("y" * 200))


def test_a_contact_keeps_its_token_to_itself(tmp_path: Path) -> None:
    contact = places.Contact(1, 2, "host", "/socket", "", 0, "s3cret", 1, 1, 1, "d3scriptor")
    contact.write(tmp_path)
    assert stat.S_IMODE((tmp_path / "contact.json").stat().st_mode) == 0o600
    assert places.Contact.read(tmp_path) == contact
    assert "s3cret" not in repr(contact)
    assert "s3cret" not in str(contact)


def test_a_contact_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert places.Contact.read(tmp_path) is None
    for text in ("", "{", "[]", '{"token": 1}'):
        (tmp_path / "contact.json").write_text(text)
        assert places.Contact.read(tmp_path) is None
