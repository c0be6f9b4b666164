"""Plain SST: the published recipes, and streams of programs that are not ours.

SST's own guarantees hold, and no others: see the page of this engine. ADIOS2 runs in a process
of its own here too, so that each wait has a deadline.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.policies import Policy

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


def is_served(place: Place) -> bool:
    """Whether there is a contact file of SST that no dead writer of ours has left."""
    lock = place.folder / f"{place.name}.lock"
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
