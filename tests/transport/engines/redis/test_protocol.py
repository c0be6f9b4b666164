"""The protocol is read as it is sent, however it is cut into pieces, and nothing else is."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.transport.engines.redis.protocol import (
    LARGE,
    ProtocolError,
    Refusal,
    Replies,
    opened,
    packed,
)
from dovetail.transport.engines.redis.rooms import Rooms


class Pieces:
    """A socket that gives its bytes in pieces of random sizes."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        self._data = memoryview(data)
        self._chance = random.Random(seed)

    def receive_into(self, room: memoryview) -> int:
        nbytes = min(len(room), len(self._data), self._chance.choice([1, 2, 7, 100, 1 << 20]))
        room[:nbytes] = self._data[:nbytes]
        self._data = self._data[nbytes:]
        return nbytes

    def fill(self, room: memoryview, rest: memoryview) -> int:
        here = 0
        while here < len(room):
            got = self.receive_into(room[here:])
            if got == 0:
                raise ConnectionResetError
            here += got
        return self.receive_into(rest[: self._chance.choice([0, 1, 2, 50])])


def replies(data: bytes, seed: int = 0) -> Replies:
    return Replies(Pieces(data, seed), Rooms())


SENT = (
    b"+OK\r\n"
    b":-12\r\n"
    b"$5\r\nhel\r\n\r\n"
    b"$0\r\n\r\n"
    b"$-1\r\n"
    b"_\r\n"
    b"#t\r\n"
    b",1.5\r\n"
    b"(12345678901234567890\r\n"
    b"-OOM no room\r\n"
    b"!10\r\nMOVED a b!\r\n"
    b"=7\r\ntxt:abc\r\n"
    b"*3\r\n:1\r\n*1\r\n$1\r\na\r\n*-1\r\n"
    b"~2\r\n:1\r\n:2\r\n"
    b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*0\r\n"
    b"|1\r\n+about\r\n:1\r\n:7\r\n"
    b">3\r\n+message\r\n+channel\r\n+1\r\n"
    b":8\r\n"
)
RECEIVED = [
    b"OK", -12, b"hel\r\n", b"", None, None, True, 1.5, 12345678901234567890,
    Refusal("OOM", "OOM no room"), Refusal("MOVED", "MOVED a b!"), b"txt:abc",
    [1, [b"a"], None], [1, 2], {b"a": 1, b"b": []}, 7, 8,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_replies_come_in_order_however_they_are_cut(seed: int) -> None:
    source = replies(SENT, seed)
    assert [source.next() for _ in RECEIVED] == RECEIVED
    assert source.next_push() == [b"message", b"channel", b"1"]
    with pytest.raises(ConnectionResetError):
        source.next()


@given(st.integers(0, 3 * LARGE), st.integers(0, 100))
def test_strings_of_every_size_come_whole(nbytes: int, seed: int) -> None:
    value = np.random.default_rng(seed).bytes(nbytes)
    source = replies(b"$%d\r\n%b\r\n:5\r\n" % (nbytes, value), seed)
    assert bytes(source.next()) == value
    assert source.next() == 5


def test_a_large_string_goes_where_it_is_wanted() -> None:
    value = np.random.default_rng(0).bytes(LARGE)
    room = memoryview(bytearray(LARGE))
    source = replies(b"$%d\r\n%b\r\n" % (LARGE, value) * 2)
    source.room = room
    assert source.next() is room
    assert bytes(room) == value
    assert source.next() is not room


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400\r\n", b"\x15\x03\x03", b"$x\r\n", b"$99999999999\r\n", b":1.5\r\n",
     b"*99999999999\r\n", b"*1\r\n" * 50, b"%1\r\n*1\r\n:1\r\n:2\r\n", b"+" + b"x" * 100_000,
     b"*x\r\n", b"\r\n"],
)  # fmt: skip
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        replies(data).next()


def test_commands_are_packed_as_they_are_expected() -> None:
    assert packed("SET", b"k", 12, "ü") == (
        b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n12\r\n$2\r\n\xc3\xbc\r\n"
    )
    assert opened(5, b"SET", b"k") + b"hello\r\n" == packed("SET", "k", "hello")


def test_memory_is_used_again_only_when_nobody_holds_it() -> None:
    rooms = Rooms()
    first = rooms.take(100_000)
    view = np.frombuffer(first, np.uint8)[10:20]
    where = np.frombuffer(first, np.uint8).ctypes.data
    del first
    assert np.frombuffer(rooms.take(100_000), np.uint8).ctypes.data != where
    del view
    again = rooms.take(90_000)
    assert np.frombuffer(again, np.uint8).ctypes.data == where
    assert len(again) == 90_000
