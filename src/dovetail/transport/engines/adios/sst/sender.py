"""The process that writes one SST stream, from a store in shared memory.

It works for a producer of plain SST, any number of steps one after the other, or for a carrier:
then it sends blocks to one mirror, as they are asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dovetail import _native
from dovetail.data.layout import Header, decode
from dovetail.errors import KeyNotFoundError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.files import LOOK_AGAIN
from dovetail.transport.engines.adios.library import reason_of
from dovetail.transport.engines.adios.sst.blocks import BlockWriter
from dovetail.transport.engines.adios.sst.home import locked
from dovetail.transport.engines.adios.sst.network import open_sst, remove_contact, send_at_once
from dovetail.transport.engines.adios.sst.stores import hold, remove_store
from dovetail.transport.engines.adios.writing import Placed, VariableWriter

LONGEST_WRITE = 10.0
"""Seconds after which the writing of a block will never end, and this process is killed."""
DYING = 5.0
"""Seconds that a killed process may take to let go of its files."""
NEW_READERS_IN = 16
"""Steps between two looks for new connections."""


def serve(producer: socket.socket, settings: dict[str, Any]) -> None:
    """Write what the producer says, until it says no more."""
    folder = settings["store"]
    store = _native.Store(folder, folder, 0, True, False, True)
    hold(folder)
    opened, plane = open_sst(settings["address"], "Write", settings["parameters"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    send_at_once()
    writer, block_writer = VariableWriter(opened), BlockWriter(opened)
    _tell(producer, ["opened", plane])
    step = 0
    closing = False
    for line in _lines(producer):
        match json.loads(line):
            case ["send", number]:
                if step < NEW_READERS_IN or step % NEW_READERS_IN == 0:
                    send_at_once()
                memory, header, _ = store.get(str(number))
                attributes = header[2].get("dovetail.attrs", "{}")
                writer.write(step, attributes, _placed(memory, header))
                del memory
                step += 1
                with contextlib.suppress(KeyNotFoundError):
                    store.remove(str(number))
                _tell(producer, ["sent", number])
            case ["serve", number]:
                # SST can lock itself up when a reader dies while it is written to.
                signal.setitimer(signal.ITIMER_REAL, LONGEST_WRITE)
                _serve_block(store, block_writer, number)
                signal.setitimer(signal.ITIMER_REAL, 0)
            case ["close", linger]:
                closing = True
                if settings.get("owns_store"):  # SST has taken all that was in it
                    remove_store(folder)
                # Until the readers have taken what SST holds for them, but not for ever.
                signal.setitimer(signal.ITIMER_REAL, linger)
                writer.close()
                signal.setitimer(signal.ITIMER_REAL, 0)
                _tell(producer, ["closed"])
                break
    if not closing:  # the producer has died: no reader must take that for an end
        remove_contact(Path(settings["address"]))
        _remove_lock(Path(f"{settings['address']}.lock"))
        if settings.get("owns_store"):
            remove_store(settings["store"])
        os._exit(1)


def _lines(producer: socket.socket) -> Iterator[bytes]:
    """What the producer says, until it is gone."""
    with contextlib.suppress(ConnectionError):  # it died before it had heard everything
        yield from producer.makefile("rb")


def _remove_lock(path: Path) -> None:
    """Remove the lock of a producer that is dying: its connection may be closed before it is."""
    deadline = Deadline(DYING)
    while path.exists() and not deadline.passed:
        if locked(path) is not None:
            path.unlink(missing_ok=True)
        else:
            time.sleep(LOOK_AGAIN)


def _serve_block(store: Any, writer: BlockWriter, number: int) -> None:
    """One block of a stream of ours; or word that it is gone."""
    try:
        memory, _, _ = store.get(str(number))
    except KeyNotFoundError:
        writer.write_gone(number)
    else:
        writer.write(number, memory)


def _placed(memory: Any, header: Header) -> list[Placed]:
    """The arrays of a step, where they lie."""
    variables = decode(header[1], header[2]).values()
    return [Placed(variable, variable.view(memory)) for variable in variables]


def _tell(producer: socket.socket, message: list[Any]) -> None:
    with contextlib.suppress(OSError):
        producer.sendall(json.dumps(message).encode() + b"\n")


def main(producer: socket.socket, settings: dict[str, Any]) -> None:
    """Serve one producer."""
    status = 0
    try:
        serve(producer, settings)
    except RuntimeError as error:
        _tell(producer, ["failed", reason_of(error)])
        status = 1
    except BaseException as error:
        traceback.print_exc()
        _tell(producer, ["failed", repr(error)])
        status = 1
    finally:
        if settings.get("owns_store"):
            remove_store(settings["store"])
        os._exit(status)
