"""The process that receives a reader's blocks from SST into shared memory.

It belongs to one reader and ends with it. Blocks become values of a store in shared memory, under
``CARRIER.NUMBER``; ``joined.CARRIER`` says from which block on all arrive unasked.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from typing import Any

from dovetail import _native
from dovetail.errors import PeerLostError
from dovetail.transport.engines.adios.library import Opened, reason_of
from dovetail.transport.engines.adios.sst import blocks, contact
from dovetail.transport.engines.adios.sst.line import Line
from dovetail.transport.engines.adios.sst.network import Arrivals, open_sst
from dovetail.transport.engines.adios.sst.stores import remove_store
from dovetail.transport.url import parse

LOOK = 0.25
"""Seconds after which a step is asked for even if nothing was seen to come."""
SOON, LATER = 0.001, 0.1
"""Seconds in which ADIOS2 makes a step of what has come, and does so on a busy machine."""
PAUSE = 0.00001
"""Seconds between two questions whether it has, at first."""


class Source:
    """The SST stream of one carrier."""

    def __init__(self, carrier: str, opened: Opened) -> None:
        self.carrier = carrier
        self.opened = opened
        self.reader = blocks.BlockReader(opened)


class Mirror:
    """Receives blocks until its reader has gone."""

    def __init__(self, reader: socket.socket, settings: dict[str, Any]) -> None:
        self._reader = reader
        self._incoming = b""
        self._id = settings["mirror"]
        self._parameters = settings["parameters"]
        self._store = _native.Store(settings["store"], settings["store"], 0, True, False, True)
        self._home: Line = contact.attach(contact.place_of(parse(settings["url"], "stream")))
        self._home.ask("mirror", self._id, settings["store"])
        self._coming: set[str] = set()
        """Carriers to be joined."""
        self._asked: set[str] = set()
        """Those that were asked to let this one in."""
        self._sources: dict[str, Source] = {}

    def serve(self) -> None:
        self._arrivals = Arrivals(self._reader, self._home)
        since = 0.0  # something came
        while True:
            self._ask_to_join()
            if self._home.heard:
                self._hear_home()
            if self._round():
                since = time.monotonic()
            came, ready = self._arrivals.wait(self._patience(since))
            if came:
                since = time.monotonic()
            if self._home in ready:
                self._hear_home()
            if self._reader in ready and not self._hear_reader():
                return

    def _patience(self, since: float) -> float:
        """How long to wait for something to come before ADIOS2 is asked again.

        Its own thread makes a step of what has come, a moment later.
        """
        quiet = time.monotonic() - since
        if quiet < SOON:
            time.sleep(PAUSE)
            return 0.0
        if quiet < LATER or self._coming:
            return 0.001
        return LOOK

    def _hear_reader(self) -> bool:
        """Do what the reader says; False once it has gone."""
        data = self._reader.recv(1 << 16)
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        for line in lines:
            self._coming.add(json.loads(line))
        return bool(data)

    def _ask_to_join(self) -> None:
        """Ask carriers to be let in."""
        for carrier in list(self._coming - self._asked):
            found = self._home.ask("mail", carrier, "join", self._id)
            if found == "told":
                self._asked.add(carrier)
            elif found == "gone":
                self._coming.discard(carrier)

    def _hear_home(self) -> None:
        for told in self._home.told():
            match told:
                case ["come", carrier, address]:
                    opened, _ = open_sst(address, "Read", self._parameters)
                    # ADIOS2 may have taken SIGINT for itself.
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    self._arrivals.look_for_connections()
                    self._sources[carrier] = Source(carrier, opened)
                    self._coming.discard(carrier)
                    self._asked.discard(carrier)
                case ["joined", carrier, number]:
                    told = {"dovetail.number": str(number)}
                    self._store.put(f"joined.{carrier}", [], told)

    def _round(self) -> bool:
        """Take what has come; whether there was something."""
        some = False
        for source in list(self._sources.values()):
            _, _, engine, library = source.opened
            try:
                status = engine.BeginStep(library.StepMode.Read, 0.0)
                if status == library.StepStatus.OK:
                    self._take(source)
                    engine.EndStep()
                    some = True
            except RuntimeError as error:
                print(f"from {source.carrier}: {reason_of(error)}", file=sys.stderr)
                status = library.StepStatus.OtherError
            if status in (library.StepStatus.EndOfStream, library.StepStatus.OtherError):
                self._lose(source)
        return some

    def _lose(self, source: Source) -> None:
        """A carrier has gone: perhaps another comes in its place."""
        del self._sources[source.carrier]
        self._coming.add(source.carrier)
        with contextlib.suppress(RuntimeError):
            source.opened.engine.Close()

    def _take(self, source: Source) -> None:
        number, nbytes = source.reader.look()
        key = f"{source.carrier}.{number}"
        if nbytes < 0:
            self._store.put(key, [], {"dovetail.gone": "yes"})
        else:
            blocks.keep(self._store, key, nbytes, source.reader.fetch)

    def close(self) -> None:
        for source in self._sources.values():
            with contextlib.suppress(RuntimeError):
                source.opened.engine.Close()


def main(reader: socket.socket, settings: dict[str, Any]) -> None:
    """Serve until the reader has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        mirror = Mirror(reader, settings)
        try:
            mirror.serve()
        finally:
            mirror.close()
    except PeerLostError:  # the home is gone, and with it the stream
        remove_store(settings["store"])
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        remove_store(settings["store"])
        os._exit(1)
    remove_store(settings["store"])
    os._exit(0)
