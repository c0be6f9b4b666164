"""Redis driven by hand: through redis-py with the hiredis parser, or by its protocol alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.bench.payload import payload
from dovetail.bench.transports.parts import by_hand
from dovetail.bench.transports.parts.received import check
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Actions, Opened

PATIENCE = 60


def staging(seat: Seat, nbytes: int, driver: str, server: Mapping[str, Any]) -> Opened:
    """Values staged in Redis."""
    return by_hand.staging(seat, nbytes, partial(_connected, driver, server, nbytes))


def gathering(seat: Seat, nbytes: int, driver: str, server: Mapping[str, Any]) -> Opened:
    """Values gathered through Redis."""
    return by_hand.gathering(seat, nbytes, partial(_connected, driver, server, nbytes))


def loading(seat: Seat, nbytes: int, driver: str, server: Mapping[str, Any], folder: str) -> Opened:
    """Files loaded into Redis."""
    return by_hand.loading(seat, folder, partial(_connected, driver, server, nbytes))


@contextmanager
def stream(seat: Seat, nbytes: int, server: Mapping[str, Any]) -> Iterator[Actions]:
    """Steps as items of lists, one for each producer and each consumer."""
    source = payload(nbytes)
    producers, consumers = seat.layout
    there = [f"there-{rank}" for rank in range(producers)][seat.rank :: consumers or 1]
    back = f"back-{seat.rank}"
    with _connected("raw", server, nbytes) as client:

        def deliver(count: int) -> None:
            for _ in range(count):
                client.push(f"there-{seat.rank}", source)

        whole = np.zeros(len(source) * len(there), source.dtype)
        received = None

        def take(count: int) -> None:
            nonlocal received
            for _ in range(count):
                for number, queue in enumerate(there):
                    received = np.frombuffer(client.pop(queue), source.dtype)
                    if len(there) > 1:  # one after another, into one array
                        begin = number * len(source)
                        whole[begin : begin + len(source)] = received
            if len(there) > 1:
                received = whole

        def ask(count: int) -> None:
            for _ in range(count):
                client.push(f"there-{seat.rank}", source)
                client.pop(back)

        def answer(count: int) -> None:
            for _ in range(count):
                client.pop(f"there-{seat.rank}")
                client.push(back, source)

        mine = (deliver, ask) if seat.side == "producer" else (take, answer)
        names = ("delivered", "one way") if producers == consumers else ("delivered",)
        yield dict(zip(names, mine, strict=False))
        if seat.side == "consumer":
            check(seat, nbytes, received)


class _RedisPy:
    """redis-py, with hiredis to parse replies."""

    def __init__(self, server: Mapping[str, Any], password: str) -> None:
        import redis

        if "socket" in server:
            where = {"unix_socket_path": server["socket"]}
        else:
            where = {"host": server["host"], "port": server["port"]}
        self._redis: Any = redis.Redis(**where, db=server["db"], password=password)

    def put(self, key: str, array: NDArray[Any]) -> None:
        self._redis.set(key, array.data.cast("B"))

    def get(self, key: str) -> Any:
        return self._redis.get(key)

    def hand_over(self, queue: str, key: str, array: NDArray[Any]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.set(key, array.data.cast("B"))
            pipeline.rpush(queue, key)
            pipeline.execute()

    def take(self, queue: str) -> Any:
        _, key = self._redis.blpop([queue], PATIENCE)
        return self._redis.getdel(key)

    def put_many(self, values: Mapping[str, NDArray[Any]]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key, array in values.items():
                pipeline.set(key, array.data.cast("B"))
            pipeline.execute()

    def close(self) -> None:
        self._redis.close()


class _Raw:
    """The protocol by hand: sent from where it lies, received into memory that is there already.

    All values have the same length, so each is received in one piece.
    """

    def __init__(self, server: Mapping[str, Any], password: str, nbytes: int) -> None:
        if "socket" in server:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(server["socket"])
        else:
            self._socket = socket.create_connection((server["host"], server["port"]))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._nbytes = nbytes
        self._room = memoryview(bytearray(nbytes + 256))
        self._ask(b"AUTH", password.encode())
        self._ask(b"SELECT", b"%d" % server["db"])

    def put(self, key: str, array: NDArray[Any]) -> None:
        self._send([b"SET", key.encode(), array.data.cast("B")])
        self._line()

    def get(self, key: str) -> Any:
        self._send([b"GET", key.encode()])
        return self._value(b"")

    def hand_over(self, queue: str, key: str, array: NDArray[Any]) -> None:
        name = key.encode()
        self._send([b"SET", name, array.data.cast("B")], [b"RPUSH", queue.encode(), name])
        self._line(lines=2)

    def take(self, queue: str) -> Any:
        self._send([b"BLPOP", queue.encode(), b"%d" % PATIENCE])
        key = self._line(lines=5).split(b"\r\n")[4]
        self._send([b"GETDEL", key])
        return self._value(b"")

    def push(self, queue: str, array: NDArray[Any]) -> None:
        self._ask(b"RPUSH", queue.encode(), array.data.cast("B"))

    def pop(self, queue: str) -> Any:
        name = queue.encode()
        self._send([b"BLPOP", name, b"%d" % PATIENCE])
        return self._value(b"*2\r\n$%d\r\n%b\r\n" % (len(name), name))

    def put_many(self, values: Mapping[str, NDArray[Any]]) -> None:
        self._send(*([b"SET", key.encode(), array.data.cast("B")] for key, array in values.items()))
        self._line(lines=len(values))

    def empty(self) -> None:
        self._ask(b"FLUSHDB")

    def close(self) -> None:
        self._socket.close()

    def _ask(self, *words: Any) -> None:
        self._send(words)
        self._line()

    def _send(self, *commands: Sequence[Any]) -> None:
        pieces: list[Any] = []
        for words in commands:
            ahead = b"*%d\r\n" % len(words)
            for word in words:
                pieces += [ahead + b"$%d\r\n" % len(word), word]
                ahead = b"\r\n"
            pieces.append(b"\r\n")
        views = [memoryview(piece) for piece in pieces]
        while views:
            sent = self._socket.sendmsg(views[:1000])
            done = 0
            while done < len(views) and sent >= len(views[done]):
                sent -= len(views[done])
                done += 1
            del views[:done]
            if sent:
                views[0] = views[0][sent:]

    def _line(self, lines: int = 1) -> bytes:
        got = bytearray()
        while got.count(b"\r\n") < lines:
            more = self._socket.recv(1 << 16)
            if not more:
                raise ConnectionResetError("the Redis server ended early")
            got += more
        if got.startswith(b"-"):
            raise RuntimeError(f"Redis answered {bytes(got)!r}")
        return bytes(got)

    def _value(self, ahead: bytes) -> Any:
        header = ahead + b"$%d\r\n" % self._nbytes
        total = len(header) + self._nbytes + 2
        got = 0
        while got < total:
            more = self._socket.recv_into(self._room[got:total])
            if more == 0 or (not got and bytes(self._room[:1]) in b"-"):
                raise RuntimeError(f"Redis answered {bytes(self._room[: got + more][:200])!r}")
            got += more
        if bytes(self._room[: len(header)]) != header:
            raise RuntimeError(f"Redis answered {bytes(self._room[: len(header)])!r}")
        return self._room[len(header) : total - 2]


@contextmanager
def emptied(server: Mapping[str, Any]) -> Iterator[None]:
    """A database of a server, emptied in the end."""
    with _connected("raw", server, 0) as client:
        try:
            yield
        finally:
            client.empty()


@contextmanager
def _connected(driver: str, server: Mapping[str, Any], nbytes: int) -> Iterator[Any]:
    password = Path(server["password_file"]).read_text().strip()
    client: Any
    client = _RedisPy(server, password) if driver == "redis-py" else _Raw(server, password, nbytes)
    try:
        yield client
    finally:
        client.close()
