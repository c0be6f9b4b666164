"""Talking to the home of a stream."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import socket
import threading
import time
import weakref
from collections import deque
from typing import Any

from dovetail.errors import FormatVersionError, PeerLostError, TransportClosedError
from dovetail.transport.engines.adios.sst.home import VERSION

ANSWERS_WITHIN = 60.0
"""Seconds in which a home answers, whatever else it does."""
AT_LEAST = 5.0
"""Seconds that a home is given however impatient its client is: its machine may be busy."""


def patience_of(timeout: float | None) -> float:
    """Seconds in which a home has to answer an end of a stream that waits for so many."""
    return ANSWERS_WITHIN if timeout is None else min(max(timeout, AT_LEAST), ANSWERS_WITHIN)


class Line:
    """A connection to the home of a stream.

    Parameters
    ----------
    connection
        Connected; it is closed with this.
    patience
        Seconds in which the home has to answer.

    Raises
    ------
    OSError
        If nobody answers who knows the token.
    """

    def __init__(self, connection: socket.socket, token: str, label: str, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._lost: Exception | None = None
        self._label = label
        self._incoming = b""
        self._lines: deque[bytes] = deque()
        self._told: deque[Any] = deque()
        self._entries: deque[tuple[int, int, str]] = deque()
        self._lock = threading.Lock()
        self._process = os.getpid()
        connection.settimeout(10.0)
        version, nonce = json.loads(self._next_line(10.0))
        if version != VERSION:
            raise FormatVersionError(
                f"{label} is served by another version of Dovetail ({version}; this one speaks "
                f"{VERSION})"
            )
        proof = hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()
        connection.sendall(proof.encode() + b"\n")
        self._next_line(10.0)
        connection.setblocking(True)
        _open.add(self)

    def ask(self, *request: Any) -> Any:
        """One request, and its answer.

        Raises
        ------
        PeerLostError
            If the home is gone, or does not answer.
        """
        if self._process != os.getpid():
            raise TransportClosedError(
                f"{self._label} was opened before this process was forked: open it after the fork"
            )
        with self._lock:
            try:
                if self._lost is not None:  # a late answer would be taken for that to another
                    raise self._lost
                self._connection.sendall(json.dumps(request).encode() + b"\n")
                return json.loads(self._next_line(self._patience))
            except (OSError, EOFError) as error:
                self._lost = error
                raise self._gone(error) from None

    def _gone(self, error: Exception) -> PeerLostError:
        return PeerLostError(f"the process that keeps the ledger of {self._label} is gone: {error}")

    def entries(self, timeout: float = 0.0) -> list[tuple[int, int, str]]:
        """Entries of the log that is followed that were told since the last call.

        Parameters
        ----------
        timeout
            Seconds to wait if there are none.

        Returns
        -------
        list of (int, int, str)
            The log, the position, the entry.

        Raises
        ------
        PeerLostError
            If the home is gone.
        """
        with self._lock:
            if not self._entries and timeout > 0:
                try:
                    self._receive(timeout)
                except (OSError, EOFError) as error:
                    self._lost = error
                    raise self._gone(error) from None
            told = list(self._entries)
            self._entries.clear()
            return told

    @property
    def heard(self) -> bool:
        """Whether something was told that :meth:`told` has not given yet."""
        return bool(self._told)

    def told(self) -> list[Any]:
        """What was told unasked since the last call; never waits.

        Raises
        ------
        EOFError, OSError
            If the home is gone.
        """
        with self._lock:
            self._receive(0.0)
            while self._lines:  # answers to nothing: there are none
                self._lines.popleft()
            told = list(self._told)
            self._told.clear()
            return told

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def _next_line(self, within: float) -> bytes:
        deadline = time.monotonic() + within
        while not self._lines:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {within:g} s")
            self._receive(left)
        return self._lines.popleft()

    def _receive(self, timeout: float) -> None:
        """Take in what has come, waiting for it for up to `timeout` seconds."""
        self._connection.settimeout(timeout)
        try:
            data = self._connection.recv(1 << 20)
        except (BlockingIOError, TimeoutError):
            return
        finally:
            with contextlib.suppress(OSError):
                self._connection.settimeout(None)
        if not data:
            raise EOFError("it closed the connection")
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        for line in lines:
            if line.startswith(b"!+"):
                self._entries.append(json.loads(line[2:]))
            elif line.startswith(b"!"):
                self._told.append(json.loads(line[1:]))
            else:
                self._lines.append(line)


_open: weakref.WeakSet[Line] = weakref.WeakSet()


def _close_all() -> None:
    # Or a forked child would keep its parent's connection, and with it its sign of life.
    for line in list(_open):
        line.close()


os.register_at_fork(after_in_child=_close_all)
