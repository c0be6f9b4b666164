"""What a benchmark needs of a peer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from dovetail.bench.measure import Operation

Scene = AbstractContextManager[Mapping[str, Operation]]
"""Entered: processes run, connections are open, memory is touched. Left: nothing remains."""


class Peer(Protocol):
    """Something that moves data, driven as well as Python can drive it.

    Operations of one name do the same work with every peer, so that their ratio has a meaning:

    - store: ``put`` (replace the value of a key), ``get`` (read it), ``put+get``;
    - stream: ``one way`` (half of a round trip between two processes that wait for one
      another), ``delivered`` (steps sent to another process that takes each into its hands),
      ``summed`` (the same, and the other process reads every byte of each).

    A peer may offer some of these, and others of its own.
    """

    name: str

    def missing(self) -> str | None:
        """Why it cannot run here, in words; ``None`` if it can."""
        ...

    def store(self, nbytes: int) -> Scene:
        """Operations on a store with values of `nbytes`."""
        ...

    def stream(self, nbytes: int, core: int | None) -> Scene:
        """Operations on a stream with steps of `nbytes`; the other process stays on `core`."""
        ...
