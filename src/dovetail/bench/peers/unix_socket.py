"""A plain stream socket between two processes, into memory that is there already."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from dovetail.bench.measure import Operation
from dovetail.bench.partner import Control, expect, partner
from dovetail.bench.payload import payload, read_every_byte

_BUFFER = 1 << 22


class UnixSocket:
    """``sendall`` and ``recv_into``, with large socket buffers."""

    name = "unix socket"

    def missing(self) -> str | None:
        return None

    @contextmanager
    def store(self, nbytes: int) -> Iterator[Mapping[str, Operation]]:
        """A value sent and acknowledged: what any store behind a socket must at least do."""
        with _connected(nbytes, None) as (connection, control):
            source = payload(nbytes).data
            answer = bytearray(1)

            def put(count: int) -> float:
                control.send(("acknowledge", count))
                expect(control, "ready")
                started = time.perf_counter()
                for _ in range(count):
                    connection.sendall(source)
                    connection.recv_into(answer)
                return time.perf_counter() - started

            yield {"put": put}

    @contextmanager
    def stream(self, nbytes: int, core: int | None) -> Iterator[Mapping[str, Operation]]:
        with _connected(nbytes, core) as (connection, control):
            source = payload(nbytes).data
            target = memoryview(bytearray(nbytes))

            def one_way(count: int) -> float:
                control.send(("echo", count))
                expect(control, "ready")
                started = time.perf_counter()
                for _ in range(count):
                    connection.sendall(source)
                    receive(connection, target)
                return (time.perf_counter() - started) / 2

            def send(work: str, count: int) -> float:
                control.send((work, count))
                expect(control, "ready")
                started = time.perf_counter()
                for _ in range(count):
                    connection.sendall(source)
                expect(control, "done")
                return time.perf_counter() - started

            yield {
                "one way": one_way,
                "delivered": lambda count: send("take", count),
                "summed": lambda count: send("sum", count),
            }


def receive(connection: socket.socket, target: memoryview) -> None:
    """Fill `target` from a socket."""
    got = connection.recv_into(target)
    while got < len(target):
        more = connection.recv_into(target[got:])
        if more == 0:
            raise ConnectionResetError("the other process of the benchmark ended early")
        got += more


@contextmanager
def _connected(nbytes: int, core: int | None) -> Iterator[tuple[socket.socket, Control]]:
    with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as folder:
        path = os.path.join(folder, "socket")  # noqa: PTH118 - an address, not a file
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(60)
            with partner(_answer, path, nbytes, core=core) as control:
                connection, _ = listener.accept()
                with connection:
                    _widen(connection)
                    expect(control, "ready")
                    yield connection, control


def _widen(connection: socket.socket) -> None:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, option, _BUFFER)


def _answer(control: Control, path: str, nbytes: int) -> None:
    array: Any = np.zeros_like(payload(nbytes))
    target = array.data.cast("B")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        _widen(connection)
        control.send("ready")
        while (order := control.recv()) is not None:
            work, count = order
            control.send("ready")
            for _ in range(count):
                receive(connection, target)
                if work == "echo":
                    connection.sendall(target)
                elif work == "acknowledge":
                    connection.sendall(b"+")
                elif work == "sum":
                    read_every_byte(array)
            if work in ("take", "sum"):
                control.send("done")
