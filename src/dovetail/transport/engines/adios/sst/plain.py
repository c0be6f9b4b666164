"""Plain SST: the published recipes, and streams of programs that are not ours.

SST's own guarantees hold, and no others: see the page of this engine. ADIOS2 runs in a process
of its own here too, so that each wait has a deadline.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from dovetail.errors import CapabilityError, KeyNotFoundError, StreamBusyError
from dovetail.transport.contract import StreamDescription
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.files import LOOK_AGAIN
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.home import locked
from dovetail.transport.engines.adios.sst.network import spoken
from dovetail.transport.policies import Policy

READERS_LOOK = 0.1
"""Seconds in which a reader that only looks may hold the lock."""
RECIPES = {
    "sync": {"RendezvousReaderCount": "1", "QueueFullPolicy": "Block", "QueueLimit": "1"},
    "async": {
        "RendezvousReaderCount": "0",
        "QueueFullPolicy": "Discard",
        "QueueLimit": "3",
        "ReserveQueueLimit": "0",
    },
}
"""The published ones, by name."""
POLICIES = {"sync": Policy("buffered", 1), "async": Policy("latest", 1)}
"""What comes nearest to a recipe: ``async`` loses the newest steps, the last ones too."""


def contact_of(place: Place) -> Path:
    """The contact file that SST itself makes."""
    return place.folder / f"{place.name}.sst"


def lock_of(place: Place) -> Path:
    """The file that a writer of ours holds locked, and in which it says what it does."""
    return place.folder / f"{place.name}.lock"


def say(lock: int, recipe: str, ranks: int, steps: int, transport: str) -> None:
    """Write into the locked file what the writer does."""
    about = json.dumps([recipe, ranks, steps, transport]).encode()
    os.ftruncate(lock, os.pwrite(lock, about, 0))


def transport_in_words(plane: str, ranks: int) -> str:
    """What moves the steps of plain SST."""
    shared = f", one SST stream that {ranks} ranks write by MPI" if ranks > 1 else ""
    return f"plain ADIOS2 SST over {spoken(plane)}{shared}"


def describe(url: str, place: Place) -> StreamDescription:
    """A stream of plain SST, as its writer says.

    Raises
    ------
    KeyNotFoundError
    CapabilityError
        If that is no end of Dovetail: SST tells nothing to those who do not read.
    """
    if not is_served(place):
        raise KeyNotFoundError(f"there is no stream {url}")
    try:
        recipe, ranks, steps, transport = _said(place)
    except (FileNotFoundError, ValueError):
        raise CapabilityError(
            f"{url} is written by a program that is no end of Dovetail, and SST tells nothing "
            f"about itself to those who do not read it"
        ) from None
    return StreamDescription(
        url=url,
        policy=POLICIES[recipe],
        state="open",
        epoch=1,
        ranks=ranks,
        steps_complete=steps,
        steps_held=0,
        bytes_held=0,
        capacity=0,
        groups=(),
        transport=transport,
    )


def _said(place: Place) -> list[Any]:
    return list(json.loads(lock_of(place).read_bytes()))


def lock_for_writing(place: Place, url: str) -> int:
    """The lock that says that a stream has a writer.

    Raises
    ------
    StreamBusyError
    """
    deadline = Deadline(READERS_LOOK)
    while (lock := locked(lock_of(place))) is None:
        if deadline.passed:
            raise StreamBusyError(f"{url} already has a writer: close it first")
        time.sleep(LOOK_AGAIN)
    return lock


def is_served(place: Place) -> bool:
    """Whether there is a contact file of SST that no dead writer of ours has left."""
    lock = lock_of(place)
    if not contact_of(place).exists():
        return False
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:  # another program's: only trying tells
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
