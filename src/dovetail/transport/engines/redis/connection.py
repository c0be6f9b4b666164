"""One connection to one server, from its greeting to its end."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from dovetail.errors import AccessDeniedError, DovetailError, EngineUnavailableError
from dovetail.transport.engines.redis.places import Access, Address
from dovetail.transport.engines.redis.protocol import ProtocolError, Refusal, Replies, packed
from dovetail.transport.engines.redis.rooms import Rooms
from dovetail.transport.engines.redis.sockets import connect

OLDEST = (6, 2)
"""The oldest version whose commands suffice."""
_AT_THE_DOOR = ("WRONGPASS", "NOAUTH", "NOPERM")


class Connection:
    """A connection that has been let in. One thread uses it at a time.

    Raises
    ------
    OSError
        If the server cannot be reached now.
    ServerBusyError
        If it cannot answer yet.
    DovetailError
        If trying again would not help.
    """

    def __init__(
        self,
        address: Address,
        access: Access,
        db: int,
        timeout: float | None,
        silence: float | None,
        rooms: Rooms,
    ) -> None:
        self.address = address
        self.owner = os.getpid()
        """The process that made it, and alone may use it."""
        try:
            self.socket = connect(address, access, timeout, silence)
        except ssl.SSLEOFError:
            raise ConnectionResetError("it closed the connection") from None
        except ssl.SSLError as error:
            raise _no_tls(address, error) from None
        except OSError as error:
            for kind, why in _HOPELESS:
                if isinstance(error, kind):
                    raise why(address, error) from None
            raise
        try:
            self.replies = Replies(self.socket, rooms)
            self._greet(access, db)
        except BaseException:
            self.socket.close()
            raise

    def exchange(
        self, buffers: Sequence[Any], count: int, room: memoryview | None = None
    ) -> list[Any]:
        """Send commands; return their `count` replies.

        Parameters
        ----------
        room
            Where the first large string goes, if it has this size.

        Raises
        ------
        OSError, ProtocolError
            The connection is of no use any more.
        """
        self.socket.send(buffers)
        replies = self.replies
        replies.room = room
        return [replies.next() for _ in range(count)]

    def call(self, *words: bytes | str | int) -> Any:
        """One small command."""
        return self.exchange([packed(*words)], 1)[0]

    def close(self) -> None:
        self.socket.close()

    def shut(self) -> None:
        """End it under a thread that waits for something to come."""
        self.socket.shut()

    def abandon(self) -> None:
        """Let go in a forked child."""
        self.socket.abandon()

    def _greet(self, access: Access, db: int) -> None:
        hello: list[str | int] = ["HELLO", 3]
        if access.password:
            hello += ["AUTH", access.user or "default", access.password]
        commands: list[list[str | int]] = [
            hello,
            ["CLIENT", "SETNAME", "dovetail"],
            ["INFO", "server"],
        ]
        if db:
            commands.append(["SELECT", db])
        try:
            request = b"".join(packed(*command) for command in commands)
            greeting, _, info, *selected = self.exchange([request], len(commands))
        except ProtocolError as error:
            raise _no_redis(self.address, error.args[0], access.tls is not None) from None
        except ssl.SSLError as error:
            raise _no_certificate(self.address, error) from None
        except ConnectionResetError:
            if access.tls is None:
                raise ConnectionResetError(
                    "it closed the connection without an answer (does it want TLS, rediss://?)"
                ) from None
            raise
        if isinstance(greeting, Refusal):
            raise _turned_away(self.address, greeting, bool(access.password))
        for reply in selected:
            if isinstance(reply, Refusal):
                raise EngineUnavailableError(
                    f"the server at {self.address} has no database {db}: {reply.text}"
                )
        said = greeting if isinstance(greeting, dict) else {}
        self.id = int(said.get(b"id", 0))
        """The server's number for this connection."""
        self.mode = _text(said.get(b"mode"))
        """``standalone``, ``cluster`` or ``sentinel``."""
        self.role = _text(said.get(b"role"))
        """``master`` or ``replica``."""
        self.version = tuple(int(part) for part in re.findall(r"\d+", _text(said.get(b"version"))))
        """Of the server; a Valkey says the Redis version that it is compatible with."""
        if self.version < OLDEST:
            raise EngineUnavailableError(
                f"the server at {self.address} has version {_text(said.get(b'version'))}; "
                f"{'.'.join(map(str, OLDEST))} or newer is needed"
            )
        facts = {} if isinstance(info, Refusal) else facts_of(info)
        self.run = facts.get("run_id", "")
        """Names this run of the server process; empty if it does not tell us."""


class ServerBusyError(Exception):
    """The server cannot answer yet; the argument is what it says."""


def facts_of(info: Any) -> dict[str, str]:
    """What a reply to INFO says."""
    lines = bytes(info or b"").decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and line[0] != "#")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _turned_away(address: Address, refusal: Refusal, with_password: bool) -> Exception:
    if refusal.code in _AT_THE_DOOR:
        advice = (
            "the user or the password is wrong"
            if with_password
            else "it wants a password: give user:password@ in the URL, password_file= or "
            "password_env="
        )
        return AccessDeniedError(f"the server at {address} let us not in: {advice}")
    if refusal.code in ("LOADING", "BUSY", "MASTERDOWN"):
        return ServerBusyError(refusal.text)
    if refusal.code == "NOPROTO" or "unknown command" in refusal.text:
        return EngineUnavailableError(
            f"the server at {address} does not speak RESP3: Redis or Valkey of version 6.2 or "
            f"newer is needed (it says: {refusal.text[:200]})"
        )
    if "max number of clients" in refusal.text:
        return ServerBusyError(f"{refusal.text}; raise its maxclients")
    return EngineUnavailableError(f"the server at {address} let us not in: {refusal.text[:200]}")


def _no_redis(address: Address, beginning: Any, with_tls: bool) -> DovetailError:
    shown = bytes(beginning)[:60]
    if shown[:1] == b"\x15" and not with_tls:
        return EngineUnavailableError(f"the server at {address} wants TLS: use rediss://")
    return EngineUnavailableError(
        f"what listens at {address} is no Redis or Valkey server: it answered {shown!r}. Correct "
        f"the port"
    )


def _no_host(address: Address, error: OSError) -> Exception:
    if error.errno == socket.EAI_AGAIN:
        return ConnectionError(f"no answer yet to the question where {address.host} is")
    return EngineUnavailableError(
        f"there is no host {address.host!r} that this machine knows ({error.strerror}): correct "
        f"the URL"
    )


def _no_permission(address: Address, error: OSError) -> Exception:
    return AccessDeniedError(
        f"this user may not use {address}: {(error.strerror or str(error)).lower()}. Ask the owner "
        f"of the server"
    )


_HOPELESS: tuple[tuple[type[OSError], Callable[[Address, OSError], Exception]], ...] = (
    (socket.gaierror, _no_host),
    (PermissionError, _no_permission),
)
"""Errors after which it makes no sense to try again, and what to say."""


def _no_certificate(address: Address, error: ssl.SSLError) -> Exception:
    """With TLS 1.3 a server says only after the handshake that it misses our certificate."""
    if isinstance(error, ssl.SSLEOFError):
        return ConnectionResetError(
            "it closed the connection without an answer (does it ask for a certificate of ours, "
            "cert= and key=?)"
        )
    return _no_tls(address, error)


def _no_tls(address: Address, error: ssl.SSLError) -> DovetailError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return AccessDeniedError(
            f"the certificate of the server at {address} is not trusted: {error.verify_message}. "
            f"Give its authority with ca=, or its name with server_name="
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE"):
        return EngineUnavailableError(
            f"what listens at {address} does not speak TLS: use redis://, or correct the port"
        )
    return AccessDeniedError(
        f"no TLS connection with the server at {address}: {error.reason or error}. If it asks for "
        f"a certificate of ours, give cert= and key="
    )
