"""The process that keeps the blocks of one writer rank for those who read them.

Its producer puts blocks into a store in shared memory, and says so; mirrors ask through the home
of the stream. For each mirror it starts a *sender*, with an SST stream of its own: several readers
of one SST stream are at times given each other's answers (adios2 2.12.1), and crash or hang. It
works on when its producer has left, until nobody needs its blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import traceback
from pathlib import Path
from typing import Any

from dovetail import _native
from dovetail.errors import DovetailError, KeyNotFoundError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.sst import contact
from dovetail.transport.engines.adios.sst.line import Line
from dovetail.transport.engines.adios.sst.network import remove_contact
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.engines.adios.sst.stores import remove_store
from dovetail.transport.url import parse

PUSHED_UP_TO = 1 << 18
"""Bytes of the blocks that SST had better push before they are asked for.

The sender waits while it pushes, and is taken for stuck after some seconds: even a slow link has to
be quick enough.
"""


class Carrier:
    """Keeps blocks until nobody needs them."""

    def __init__(self, producer: socket.socket, settings: dict[str, Any]) -> None:
        self._producer: socket.socket | None = producer
        self._incoming = b""
        self._folder = settings["store"]
        self._store = _native.Store(self._folder, self._folder, 0, True, False, True)
        self._address = settings["address"]
        self._parameters = settings["parameters"]
        self._home: Line = contact.attach(contact.place_of(parse(settings["url"], "stream")))
        self._id = settings["carrier"]
        self._held: set[int] = set(settings["held"])
        self._last = settings["last"]
        self._largest = 0
        """Bytes of a block, as far as they were told."""
        self._senders: dict[str, _Sender] = {}
        """By the mirror that they send to."""
        self._started = 0
        self._over = False
        self._known = False
        if self._held:
            self._make_known()

    def serve(self) -> None:
        while not self._over and (self._producer is not None or self._held):
            self._listen()

    def _listen(self) -> None:
        sources: list[Any] = [self._home, *self._senders.values()]
        if self._producer is not None:
            sources.append(self._producer)
        ready, _, _ = select.select(sources, [], [], 0.0 if self._home.heard else 60.0)
        if self._producer in ready:
            self._hear_producer()
        for mirror, sender in list(self._senders.items()):
            if sender in ready:
                self._hear_sender(mirror, sender)
        if self._home in ready or self._home.heard:
            try:
                for told in self._home.told():
                    self._hear(told)
            except (EOFError, OSError):
                self._over = True

    def _hear_producer(self) -> None:
        assert self._producer is not None
        try:
            data = self._producer.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._producer.close()
            self._producer = None
            return
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, told: list[Any]) -> None:
        match told:
            case ["send", number, everyone, nbytes]:
                self._held.add(number)
                self._largest = max(self._largest, nbytes)
                if not self._known:
                    self._make_known()
                if everyone:
                    self._last = number
                    for sender in self._senders.values():
                        if sender.open:
                            sender.tell("serve", number)
            case ["drop", number]:
                self._held.discard(number)
                with contextlib.suppress(KeyNotFoundError):
                    self._store.remove(str(number))
            case ["want", number, mirror]:
                if mirror in self._senders:
                    self._senders[mirror].tell("serve", number)
            case ["join", mirror]:
                self._start(mirror)
            case ["left", mirror]:
                self._end(mirror)
            case ["over"]:
                self._over = True

    def _make_known(self) -> None:
        """From now on mirrors come. One without a block to serve is of no use to them."""
        self._known = True
        self._home.ask("carry", self._id, self._address, self._folder)

    # --- senders ----------------------------------------------------------------------------

    def _start(self, mirror: str) -> None:
        self._end(mirror)
        self._started += 1
        address = f"{self._address}.{self._started}"
        # What is pushed comes a round trip earlier; what is fetched does not hold its sender up.
        preload = "ON" if 0 < self._largest <= PUSHED_UP_TO else "OFF"
        parameters = {**self._parameters, "SpeculativePreloadMode": preload}
        settings = {"store": self._folder, "address": address, "parameters": parameters}
        self._senders[mirror] = _Sender(Worker("sender", settings), address)
        if self._home.ask("mail", mirror, "come", self._id, address) != "told":
            self._end(mirror)

    def _hear_sender(self, mirror: str, sender: _Sender) -> None:
        try:
            told = sender.worker.hear(Deadline(0.0))
        except DovetailError:  # the mirror sees that too, and asks again
            self._end(mirror)
            return
        if told is not None and told[0] == "opened":
            sender.open = True
            self._home.ask("moved_by", told[1])
            self._home.ask("mail", mirror, "joined", self._id, self._last)

    def _end(self, mirror: str) -> None:
        sender = self._senders.pop(mirror, None)
        if sender is not None:
            sender.end()

    def say_why(self, words: str) -> None:
        """Tell the home why this ends, while it can be told."""
        with contextlib.suppress(DovetailError):
            self._home.ask("last_words", self._id, words)

    def close(self) -> None:
        for mirror in list(self._senders):
            self._end(mirror)


class _Sender:
    """A process that sends to one mirror."""

    def __init__(self, worker: Worker, address: str) -> None:
        self.worker = worker
        self.address = address
        self.open = False
        """Its mirror is connected: what is sent arrives."""

    def fileno(self) -> int:
        return self.worker.fileno()

    def tell(self, *message: Any) -> None:
        with contextlib.suppress(DovetailError):  # it has died, which shows when it is heard
            self.worker.tell(message)

    def end(self) -> None:
        self.worker.kill()
        self.worker.let_go()
        remove_contact(Path(self.address))


def main(producer: socket.socket, settings: dict[str, Any]) -> None:
    """Serve until nobody needs it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = 1
    try:
        carrier = Carrier(producer, settings)
        try:
            carrier.serve()
        except BaseException:
            carrier.say_why(traceback.format_exc())
            raise
        finally:
            carrier.close()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        remove_store(settings["store"])
        os._exit(status)
