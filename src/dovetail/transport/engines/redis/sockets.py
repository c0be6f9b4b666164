"""Bytes to and from a server, without copies where the system can, and never without a deadline."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Any

from dovetail.transport.engines.redis.places import Access, Address

_MOST_BUFFERS = 512
"""Buffers that one system call takes: fewer than IOV_MAX."""
_JOINED = 64 << 10
"""Bytes up to which buffers are joined before they are encrypted."""


class PlainSocket:
    """A socket without TLS.

    It blocks, and the kernel keeps the deadline: so no system call is spent on it.
    """

    def __init__(self, connected: socket.socket, silence: float | None) -> None:
        connected.settimeout(None)
        limit = _timeval(silence)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._socket = connected

    def send(self, buffers: Sequence[Any]) -> None:
        """Send all of it."""
        left = list(buffers)
        try:
            while left:
                sent = self._socket.sendmsg(left[:_MOST_BUFFERS])
                left = _unsent(left, sent)
        except BlockingIOError:
            raise _silent() from None

    def receive_into(self, room: memoryview) -> int:
        try:
            return self._socket.recv_into(room)
        except BlockingIOError:
            raise _silent() from None

    def fill(self, room: memoryview, rest: memoryview) -> int:
        receive = self._socket.recvmsg_into
        here, nbytes = 0, len(room)
        try:
            while here < nbytes:
                got = receive((room[here:], rest))[0]
                if got == 0:
                    raise ConnectionResetError("the server closed the connection")
                here += got
        except BlockingIOError:
            raise _silent() from None
        return here - nbytes

    def ready(self, seconds: float) -> bool:
        """Whether something comes within so many seconds."""
        return _ready(self._socket, seconds)

    def shut(self) -> None:
        """End the connection; whoever waits on it is woken."""
        _shut(self._socket)

    def close(self) -> None:
        self._socket.close()

    def abandon(self) -> None:
        """Let go in a forked child: the parent's connection goes on."""
        self._socket.close()


class SecureSocket:
    """A socket with TLS."""

    def __init__(self, connected: ssl.SSLSocket, silence: float | None) -> None:
        connected.settimeout(silence)
        self._socket = connected

    def send(self, buffers: Sequence[Any]) -> None:
        """Send all of it; small buffers are joined."""
        small: list[Any] = []
        held = 0
        for buffer in buffers:
            nbytes = memoryview(buffer).nbytes
            if small and held + nbytes > _JOINED:
                self._socket.sendall(b"".join(small))
                small, held = [], 0
            if nbytes > _JOINED:
                self._socket.sendall(buffer)
            else:
                small.append(buffer)
                held += nbytes
        if small:
            self._socket.sendall(b"".join(small))

    def receive_into(self, room: memoryview) -> int:
        return self._socket.recv_into(room)

    def fill(self, room: memoryview, rest: memoryview) -> int:
        while len(room):
            got = self._socket.recv_into(room)
            if got == 0:
                raise ConnectionResetError("the server closed the connection")
            room = room[got:]
        return 0

    def ready(self, seconds: float) -> bool:
        """Whether something comes within so many seconds."""
        return self._socket.pending() > 0 or _ready(self._socket, seconds)

    def shut(self) -> None:
        """End the connection; whoever waits on it is woken."""
        _shut(self._socket)

    def close(self) -> None:
        self._socket.close()

    def abandon(self) -> None:
        """Let go in a forked child: nothing is said to the server."""
        socket.close(self._socket.detach())


def connect(
    address: Address, access: Access, timeout: float | None, silence: float | None
) -> PlainSocket | SecureSocket:
    """Connect to a server.

    Parameters
    ----------
    timeout
        Seconds for getting through.
    silence
        Seconds without a single byte after which an operation gives up.

    Raises
    ------
    OSError
    """
    if address.socket:
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            unix.settimeout(timeout)
            unix.connect(address.socket)
        except BaseException:
            unix.close()
            raise
        return PlainSocket(unix, silence)
    plain = socket.create_connection((address.host, address.port), timeout)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _notice_silent_death(plain)
        if access.tls is None:
            return PlainSocket(plain, silence)
        return SecureSocket(
            _encrypted(plain, access.tls, access.server_name or address.host), silence
        )
    except BaseException:
        plain.close()
        raise


def _encrypted(plain: socket.socket, tls: ssl.SSLContext, name: str) -> ssl.SSLSocket:
    secure = tls.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
    try:
        secure.do_handshake()
    except TimeoutError:
        secure.close()
        raise TimeoutError(
            errno.ETIMEDOUT, "it did not answer to TLS (does it speak TLS? If not, use redis://)"
        ) from None
    except BaseException:
        secure.close()
        raise
    return secure


def _notice_silent_death(connected: socket.socket) -> None:
    """A host that vanished without a word is noticed in half a minute."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("KEEPIDLE", 10), ("KEEPINTVL", 5), ("KEEPCNT", 4)):
        number = getattr(socket, f"TCP_{option}", None)
        if number is not None:
            connected.setsockopt(socket.IPPROTO_TCP, number, value)


def _shut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster


def _unsent(buffers: list[Any], done: int) -> list[Any]:
    """What is left of the buffers after their first bytes are done."""
    for index, buffer in enumerate(buffers):
        view = memoryview(buffer).cast("B")
        if done < view.nbytes:
            return [view[done:], *buffers[index + 1 :]]
        done -= view.nbytes
    return []


def _ready(connected: socket.socket, seconds: float) -> bool:
    poller = select.poll()
    poller.register(connected, select.POLLIN)
    return bool(poller.poll(max(0, min(seconds, 1e6)) * 1000))


def _timeval(seconds: float | None) -> bytes:
    if seconds is None:
        return struct.pack("@ll", 0, 0)
    whole = int(min(max(seconds, 1e-3), 1e9))
    micro = int((min(max(seconds, 1e-3), 1e9) - whole) * 1e6)
    return struct.pack("@ll", whole, micro)


def _silent() -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "it kept silent")
