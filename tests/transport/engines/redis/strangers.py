"""Servers on the loopback that are no Redis, or behave badly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stranger(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats each connection as `serve` says; gives its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=[connection], daemon=True).start()

    def treat(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            try:
                serve(connection)
                while not ended.wait(0.01):
                    pass
            except OSError:
                pass

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(20)


def http(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def ssh(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")


def silent(connection: socket.socket) -> None:
    connection.recv(1000)


def closes(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.shutdown(socket.SHUT_RDWR)


def never_ends_its_line(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 1000)


def boasts(connection: socket.socket) -> None:
    """Claims to send more than anybody could hold."""
    connection.recv(1000)
    connection.sendall(b"$99999999999999\r\n")


def nests(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"*1\r\n" * 10_000)


def ancient(connection: socket.socket) -> None:
    """As a server of version 5 answers."""
    connection.recv(1000)
    connection.sendall(b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n" * 3)
