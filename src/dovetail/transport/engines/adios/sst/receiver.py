"""The process that reads a stream of plain SST, of whatever program wrote it.

Its reader asks for the next step, and for parts of arrays of the step in hand; these come as
values of a store in shared memory.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from typing import Any

import numpy as np

from dovetail import _native
from dovetail.data.dtypes import BFLOAT16
from dovetail.data.layout import Entry, decode, make_room
from dovetail.transport.assembly import Block
from dovetail.transport.engines.adios.layout import variable_of
from dovetail.transport.engines.adios.library import Opened, reason_of
from dovetail.transport.engines.adios.reading import Place, StreamStep, VariableReader
from dovetail.transport.engines.adios.sst.network import Arrivals, open_sst
from dovetail.transport.engines.adios.sst.stores import remove_store

SOON, LATER = 0.001, 0.1
"""Seconds in which ADIOS2 makes a step of what has come, and does so on a busy machine."""
LOOK = 0.25
"""Seconds after which a step is asked for even if nothing was seen to come."""
PAUSE = 0.00001
"""Seconds between two questions, at first."""


class Receiver:
    """Reads steps for one reader."""

    def __init__(self, reader: socket.socket, settings: dict[str, Any]) -> None:
        self._folder = settings["store"]
        self._store = _native.Store(self._folder, self._folder, 0, True, False, True)
        self._opened: Opened
        self._opened, _ = open_sst(settings["address"], "Read", settings["parameters"])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._variables = VariableReader(self._opened)
        self._arrivals = Arrivals(reader)
        self._arrivals.look_for_connections()
        self._reader = reader
        self._steps = 0
        self._inside = False
        self._fetched = 0

    def next_step(self, timeout: float) -> list[Any]:
        """The next step, described; or how the wait for it ended."""
        _, _, engine, library = self._opened
        self.end()
        deadline = time.monotonic() + timeout
        since = time.monotonic()
        while True:
            status = engine.BeginStep(library.StepMode.Read, 0.0)
            if status == library.StepStatus.OK:
                self._inside = True
                if self._steps < 2:
                    self._arrivals.look_for_connections()
                self._steps += 1
                return ["step", describe(self._variables.describe())]
            if status == library.StepStatus.EndOfStream:
                return ["end"]
            if status == library.StepStatus.OtherError:
                return ["lost"]
            now = time.monotonic()
            if now >= deadline:
                return ["timeout"]
            if now - since < SOON:
                time.sleep(PAUSE)
                continue
            patience = 0.001 if now - since < LATER else LOOK
            came, ready = self._arrivals.wait(min(patience, deadline - now))
            if came:
                since = time.monotonic()
            if self._reader in ready:
                return ["timeout"]  # it has gone, or wants something else

    def fetch(self, wanted: list[Any]) -> str:
        """Parts of blocks of the step in hand, as a value; its key."""
        metadata: dict[str, str] = {}
        pieces, parts = [], []
        for number, (name, block, first, extent) in enumerate(wanted):
            parts.append((read_block(name, block), tuple(first)))
            variable = parts[-1][0].variable
            shape = extent[::-1] if variable.order == "F" else extent
            pieces.append(make_room(str(number), shape, variable.dtype, metadata))
            if variable.order == "F":
                metadata[f"dovetail.order.{number}"] = "F"
        key = f"p{self._fetched}"
        self._fetched += 1
        room = self._store.reserve(key, pieces, metadata)
        entries = [
            Entry(piece.name, piece.code, piece.shape, offset, nbytes)
            for piece, (offset, nbytes) in zip(pieces, room.extents, strict=True)
        ]
        places = decode(entries, metadata)
        for number, (block, first) in enumerate(parts):
            self._variables.fetch(block, first, places[str(number)].view(room.memory))
        self._variables.perform()
        room.commit(False)
        return key

    def end(self) -> None:
        """Leave the step in hand."""
        if self._inside:
            self._inside = False
            self._opened.engine.EndStep()

    def close(self) -> None:
        self.end()
        self._opened.engine.Close()


def describe(step: StreamStep) -> list[Any]:
    """A step as JSON values."""
    return [
        step.index,
        step.time,
        step.attrs,
        {
            name: [
                [
                    str(block.variable.dtype),
                    block.variable.shape,
                    block.variable.order,
                    block.variable.global_shape,
                    block.variable.start,
                    block.memory.name,
                    block.memory.number,
                ]
                for block in blocks
            ]
            for name, blocks in step.blocks.items()
        },
    ]


def read_step(described: list[Any]) -> StreamStep:
    """What :func:`describe` wrote."""
    index, moment, attrs, arrays = described
    return StreamStep(
        index,
        moment,
        attrs,
        {name: [read_block(name, block) for block in blocks] for name, blocks in arrays.items()},
    )


def read_block(name: str, described: list[Any]) -> Block:
    """One block of an array."""
    dtype, shape, order, whole, start, stored, number = described
    kind = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    origin = None if start is None else tuple(start)
    variable = variable_of(
        name, kind, tuple(shape), order, None if whole is None else tuple(whole), origin
    )
    return Block(variable, Place(0, stored, number), origin or ())


def main(reader: socket.socket, settings: dict[str, Any]) -> None:
    """Serve one reader until it goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            receiver = Receiver(reader, settings)
        except RuntimeError as error:
            reader.sendall(json.dumps(["failed", reason_of(error)]).encode() + b"\n")
            return
        reader.sendall(b'["opened"]\n')
        for line in _lines(reader):
            match json.loads(line):
                case ["next", timeout]:
                    answer: Any = receiver.next_step(timeout)
                case ["fetch", wanted]:
                    answer = receiver.fetch(wanted)
                case ["end"]:
                    receiver.end()
                    answer = True
                case _:
                    break
            reader.sendall(json.dumps(answer).encode() + b"\n")
        receiver.close()
    except OSError:
        pass  # the reader has gone
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        remove_store(settings["store"])
        os._exit(0)


def _lines(reader: socket.socket) -> Any:
    incoming = b""
    while data := reader.recv(1 << 16):
        *lines, incoming = (incoming + data).split(b"\n")
        yield from lines
