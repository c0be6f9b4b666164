"""The home of a stream: the process that keeps its ledger, and knows who is there.

It is run as a script, needs the standard library only, and moves no arrays. Its clients send
lines of JSON, ``[operation, argument, …]``, and get a line for each, in order; a line that begins
with ``!`` is told unasked. A client has to prove first that it has read the contact file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

VERSION = 2
LONGEST_LINE = 1 << 26
"""Bytes."""
PATIENCE = 10.0
"""Seconds that a stranger has to prove itself."""
LOOK = 0.1
"""Seconds between two looks at what clients that have gone have left."""
GRACE = 0.05
"""Seconds that a home without a stream waits for another client."""


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.incoming = b""
        self.outgoing = b""
        self.nonce = secrets.token_hex(16)
        self.events = select.EPOLLIN
        self.known = False
        self.since = time.monotonic()
        self.names: set[str] = set()
        """Under which it gives signs of life."""
        self.carrier: str | None = None
        self.mirror: str | None = None
        self.stores: set[str] = set()
        """The folders in which blocks lie that it works with."""
        self.address: str | None = None
        """Of its SST stream."""
        self.follows = -1
        """The log of which it is told every entry, unasked."""
        self.owned: str | None = None
        """The carrier of a writer."""

    @property
    def takes_part(self) -> bool:
        """Whether it is an end of the stream, and no process that serves one."""
        return self.known and self.carrier is None and self.mirror is None


class Home:
    """The ledger, and those who are connected."""

    def __init__(self, listeners: list[socket.socket], token: str, linger: float) -> None:
        self._token = token.encode()
        self._linger = linger
        self._poller = select.epoll()
        self._listeners = {listener.fileno(): listener for listener in listeners}
        for listener in listeners:
            listener.setblocking(False)
            self._poller.register(listener, select.EPOLLIN)
        self._clients: set[Client] = set()
        self._connected: dict[int, Client] = {}
        """By descriptor."""
        self._at_rest = False
        """All are known, an end of the stream is there, and nothing is to be tidied up."""
        self._mirrors: dict[str, Client] = {}
        self._carriers: dict[str, Client] = {}
        self._ever: set[str] = set()
        self._words: dict[str, str] = {}
        self._moved_by: set[str] = set()
        """The data planes of SST that were seen in use."""
        self._logs: dict[int, list[str]] = {}
        self._head: Any = None
        self._blocks: dict[str, tuple[str, int, int]] = {}
        self._left_at = time.monotonic()
        self._left_stores: dict[str, float] = {}
        """Those of clients that have gone: until when it is looked whether they are held."""

    def serve(self) -> None:
        """Until nobody needs it any more."""
        while self._at_rest or not self._over():
            for descriptor, events in self._poller.poll(
                -1 if self._at_rest else self._until_next()
            ):
                client = self._connected.get(descriptor)
                if client is not None:
                    self._attend(client, events)
                elif descriptor in self._listeners:
                    self._admit(self._listeners[descriptor])
            if not self._at_rest:
                self._look_at_the_clock()

    # --- connections ------------------------------------------------------------------------

    def _over(self) -> bool:
        if any(client.takes_part or not client.known for client in self._clients):
            self._left_at = time.monotonic()
            return False
        if self._left_stores:
            return False
        alone = time.monotonic() - self._left_at
        return alone >= (self._linger if self._logs else GRACE)

    def _until_next(self) -> float:
        now = time.monotonic()
        moments = [client.since + PATIENCE for client in self._clients if not client.known]
        if self._left_stores:
            moments.append(now + LOOK)
        if not any(client.takes_part for client in self._clients):
            moments.append(self._left_at + (self._linger if self._logs else GRACE))
        return max(0.0, min([now + 60.0, *moments]) - now)

    def _admit(self, listener: Any) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            if connection.family == socket.AF_INET:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
            client = Client(connection)
            self._clients.add(client)
            self._connected[connection.fileno()] = client
            self._at_rest = False
            self._poller.register(connection, select.EPOLLIN)
            self._tell(client, json.dumps([VERSION, client.nonce]))

    def _attend(self, client: Client, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._flush(client)
            if events & ~select.EPOLLOUT:  # also when it has hung up
                self._receive(client)
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            self._forget(client)  # gone, or no client of ours

    def _receive(self, client: Client) -> None:
        data = client.connection.recv(1 << 20)
        if not data:
            self._forget(client)
            return
        client.incoming += data
        if len(client.incoming) > LONGEST_LINE:
            raise ValueError("too long")
        *lines, client.incoming = client.incoming.split(b"\n")
        for line in lines:
            if client not in self._clients:
                return
            if not client.known:
                proof = hmac.new(self._token, client.nonce.encode(), hashlib.sha256).hexdigest()
                if not hmac.compare_digest(proof.encode(), line):
                    raise ValueError("a wrong token")
                client.known = True
                self._tell(client, "true")
                continue
            operation, *arguments = json.loads(line)
            self._tell(client, json.dumps(getattr(self, f"do_{operation}")(client, *arguments)))

    def _tell(self, client: Client, line: str) -> None:
        client.outgoing += line.encode() + b"\n"
        self._flush(client)

    def _flush(self, client: Client) -> None:
        if client not in self._clients:
            return
        try:
            while client.outgoing:
                sent = client.connection.send(client.outgoing)
                client.outgoing = client.outgoing[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self._forget(client)
            return
        events = select.EPOLLIN | (select.EPOLLOUT if client.outgoing else 0)
        if events != client.events:
            client.events = events
            self._poller.modify(client.connection, events)

    def _forget(self, client: Client) -> None:
        if client not in self._clients:
            return
        self._clients.discard(client)
        del self._connected[client.connection.fileno()]
        self._poller.unregister(client.connection)
        client.connection.close()
        self._left_at = time.monotonic()
        self._at_rest = False
        if client.carrier is not None and self._carriers.get(client.carrier) is client:
            del self._carriers[client.carrier]
        if client.address is not None:
            address = Path(client.address)
            for left in address.parent.glob(f"{address.name}.*.sst"):
                left.unlink(missing_ok=True)
        for folder in client.stores:
            self._left_stores[folder] = time.monotonic() + PATIENCE
        if client.mirror is not None:
            self._mirrors.pop(client.mirror, None)
            for carrier in list(self._carriers.values()):
                self._tell(carrier, "!" + json.dumps(["left", client.mirror]))

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        for client in [client for client in self._clients if not client.known]:
            if now - client.since > PATIENCE:
                self._forget(client)
        for folder, until in list(self._left_stores.items()):
            if not _removed(folder) and now < until:
                continue
            del self._left_stores[folder]
        self._at_rest = (
            not self._left_stores
            and all(client.known for client in self._clients)
            and any(client.takes_part for client in self._clients)
        )

    # --- the ledger -------------------------------------------------------------------------

    def do_append(
        self, client: Client, log: int, entry: str, start: int, block: list[Any] | None = None
    ) -> tuple[int, list[str] | None]:
        """Add an entry, and perhaps a block.

        Of a block the name, the carrier, its number there, and whether it is sent unasked. The
        answer is the entry's position, and all entries from `start` on; but those who follow the
        log have been told these.
        """
        if block is not None:
            name, carrier, number, unasked = block
            self._replace(name, (carrier, number, unasked))
            entry = f"{entry}~{name}~{carrier}~{number}~{unasked}"
        entries = self._logs.setdefault(log, [])
        entries.append(entry)
        position = len(entries) - 1
        told = f"!+{json.dumps([log, position, entry])}"
        for one in [one for one in self._clients if one.follows == log and one is not client]:
            self._tell(one, told)
        return position, None if client.follows == log else entries[start:]

    def do_read(self, client: Client, log: int, start: int) -> list[str]:
        return self._logs.get(log, [])[start:]

    def do_follow(self, client: Client, log: int, start: int) -> list[str]:
        """As `read`, and every later entry is told unasked."""
        client.follows = log
        return self._logs.get(log, [])[start:]

    def do_remove_log(self, client: Client, log: int) -> None:
        self._logs.pop(log, None)

    def do_head(self, client: Client) -> Any:
        return self._head

    def do_put_head(self, client: Client, head: Any) -> None:
        self._head = head

    def do_blocks(self, client: Client) -> dict[str, tuple[str, int, int]]:
        return self._blocks

    def do_remove_block(self, client: Client, name: str) -> None:
        self._replace(name, None)

    def do_remove(self, client: Client) -> None:
        """The stream is over. Who is connected finds nothing any more."""
        for name in list(self._blocks):
            self._replace(name, None)
        self._logs.clear()
        self._head = None
        for carrier in list(self._carriers.values()):
            self._tell(carrier, '!["over"]')

    def _replace(self, name: str, block: tuple[str, int, int] | None) -> None:
        before = self._blocks.pop(name, None)
        if block is not None:
            self._blocks[name] = block
        if before is not None and before != block and before[0] in self._carriers:
            self._tell(self._carriers[before[0]], "!" + json.dumps(["drop", before[1]]))

    # --- who is there -----------------------------------------------------------------------

    def do_live(self, client: Client, name: str) -> None:
        client.names.add(name)

    def do_die(self, client: Client, name: str) -> None:
        client.names.discard(name)

    def do_alive(self, client: Client) -> list[str]:
        return [name for one in self._clients for name in one.names]

    def do_own(self, client: Client, carrier: str, store: str) -> None:
        """This client has a carrier, and starts it again should it die."""
        client.owned = carrier
        client.stores.add(store)

    def do_keep(self, client: Client, store: str) -> None:
        """This client works with a store, which goes when nobody does any more."""
        client.stores.add(store)

    def do_carry(self, client: Client, carrier: str, address: str, store: str) -> None:
        """This client keeps blocks in a store; the addresses of its senders begin so."""
        client.carrier, client.address = carrier, address
        self._at_rest = False
        client.stores.add(store)
        self._ever.add(carrier)
        self._carriers[carrier] = client

    def do_last_words(self, client: Client, carrier: str, words: str) -> None:
        """Why a carrier goes."""
        self._words[carrier] = words[-2000:]

    def do_words(self, client: Client, carrier: str) -> str:
        return self._words.get(carrier, "without a word")

    def do_moved_by(self, client: Client, plane: str | None = None) -> list[str]:
        """The data planes of SST in use; this client has seen another."""
        self._moved_by |= {plane} if plane else set()
        return sorted(self._moved_by)

    def do_mirror(self, client: Client, mirror: str, store: str) -> None:
        """This client receives blocks for a reader, and is none itself."""
        client.mirror = mirror
        self._at_rest = False
        client.stores.add(store)
        self._mirrors[mirror] = client

    def do_mail(self, client: Client, carrier: str, *message: Any) -> str:
        """Tell a carrier or a mirror something: ``told``, or it is ``gone``, or comes ``later``."""
        found = self._carriers.get(carrier) or self._mirrors.get(carrier)
        if found is None:
            owned = any(other.owned == carrier for other in self._clients)
            return "later" if owned or carrier not in self._ever else "gone"
        self._tell(found, "!" + json.dumps(message))
        return "told"


def _removed(folder: str) -> bool:
    """Remove a folder if nobody holds a lock on it any more; whether it has gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def main() -> None:
    """Serve the stream that standard input describes; say a line when clients can come."""
    settings = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    contact = Path(settings["contact"])
    lock = locked(contact.with_suffix(".lock"))
    if lock is None:
        print("busy", flush=True)
        return
    token = secrets.token_hex(16)
    path = Path(settings["sockets"]) / f"{secrets.token_hex(8)}.sock"
    listeners = [socket.socket(socket.AF_UNIX)]
    listeners[0].bind(str(path))
    if settings["host"]:
        listeners.append(socket.socket(socket.AF_INET))
        listeners[1].bind((settings["host"], 0))
    for listener in listeners:
        listener.listen(128)
    described = {
        "version": VERSION,
        "machine": settings["machine"],
        "socket": str(path),
        "host": listeners[1].getsockname() if len(listeners) > 1 else None,
        "token": token,
    }
    try:
        fresh = contact.with_suffix(f".{secrets.token_hex(4)}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(described, file)
        fresh.rename(contact)
        print("ready", flush=True)
        sys.stdout.close()
        Home(listeners, token, settings["linger"]).serve()
    finally:
        contact.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        contact.with_suffix(".lock").unlink(missing_ok=True)


def locked(path: Path) -> int | None:
    """A lock on a file that has this name; None if somebody else holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)


if __name__ == "__main__":
    main()
