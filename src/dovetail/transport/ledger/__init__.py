"""A stream over anything that keeps a list and some values.

All participants write what they do (*opened*, *ended a step*, *joined*, *done with it*, …) into
one list, the *log*. Each reads it and computes the same state from it: which steps are complete,
who needs them, who may go on. So there is no server that could fail, no lock that somebody could
die with, and no clock that must agree: the order of the list decides. Blocks of steps are values
beside it; a slot is filled again when the state says that nobody needs what is in it.

========================  ======================================================================
module                    holds
========================  ======================================================================
:mod:`.entries`           what can be said
:mod:`.state`             what follows from it
:mod:`.medium`            where it is said, and where blocks lie: a store, or an engine's own
:mod:`.heartbeats`        signs of life where an engine has none
:mod:`.replica`           a participant's copy of the state, and its voice
:mod:`.writer`            the writing end
:mod:`.reader`            the reading end, and onlookers
========================  ======================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dovetail.transport import ends
from dovetail.transport.contract import Participant, ReadStep, StreamDescription
from dovetail.transport.ledger import reader, writer
from dovetail.transport.ledger.heartbeats import LOST_AFTER, Heartbeats
from dovetail.transport.ledger.medium import Medium, StoreMedium
from dovetail.transport.policies import Policy
from dovetail.transport.ranks import first_on_rank_0
from dovetail.transport.url import URL

T = TypeVar("T")
ONLOOKERS_PATIENCE = 10.0
"""Seconds to reach a stream for those who say no deadline."""
OpenMedium = Callable[[], Medium]
"""Makes the medium of one participant, which closes it."""


def open_writer(
    url: URL, open_medium: OpenMedium, policy: Policy, participant: Participant
) -> ends.Writer:
    """The producing end of a stream; the option ``capacity`` bounds the blocks that it holds."""
    capacity = url.bytes_option("capacity") or 0

    def open_core(_: Any = None) -> writer.LedgerWriter:
        return _with_medium(
            open_medium, lambda medium: writer.LedgerWriter(medium, policy, capacity, participant)
        )

    core = first_on_rank_0(
        participant.comm, participant.rank, url, open_core, lambda core: core.epoch
    )
    return ends.Writer(str(url), core)


def open_reader(url: URL, open_medium: OpenMedium, participant: Participant) -> ends.Reader:
    """The consuming end of a stream."""

    def open_core(group: Any = None) -> reader.LedgerReader:
        return _with_medium(
            open_medium, lambda medium: reader.LedgerReader(medium, participant, group)
        )

    core = first_on_rank_0(
        participant.comm, participant.rank, url, open_core, lambda core: core.group_entry
    )
    return ends.Reader(str(url), core, participant)


def describe_stream(url: URL, open_medium: OpenMedium) -> StreamDescription:
    """A stream from outside."""
    medium = open_medium()
    try:
        return reader.describe(medium, str(url))
    finally:
        medium.close()


def tail_stream(url: URL, open_medium: OpenMedium, timeout: float | None) -> Iterator[ReadStep]:
    """Follow the newest steps without taking part."""
    medium = open_medium()
    try:
        yield from ends.tail(reader.LedgerOnlooker(medium), timeout)
    finally:
        medium.close()


def destroy_stream(url: URL, open_medium: OpenMedium) -> None:
    """Remove a stream."""
    medium = open_medium()
    try:
        reader.destroy(medium)
    finally:
        medium.close()


class StreamsOverStore(ABC):
    """The streams of an engine whose participants meet on a :class:`Medium`.

    An engine that has a store derives from it, and says how to make the medium:
    :class:`StoreMedium` over a store of the stream's own.
    """

    @abstractmethod
    def medium(self, url: URL, timeout: float | None) -> Medium:
        """What one participant of a stream uses, and closes; reached within `timeout` seconds.

        Refuses unknown options; ``capacity`` bounds the blocks that the stream holds.
        """

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> ends.Writer:
        return open_writer(url, self._maker(url, participant.timeout), policy, participant)

    def open_reader(self, url: URL, participant: Participant) -> ends.Reader:
        return open_reader(url, self._maker(url, participant.timeout), participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        return describe_stream(url, self._maker(url, ONLOOKERS_PATIENCE))

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        return tail_stream(url, self._maker(url, ONLOOKERS_PATIENCE), timeout)

    def destroy_stream(self, url: URL) -> None:
        destroy_stream(url, self._maker(url, ONLOOKERS_PATIENCE))

    def _maker(self, url: URL, timeout: float | None) -> OpenMedium:
        return lambda: self.medium(url, timeout)


def _with_medium(open_medium: OpenMedium, make: Callable[[Medium], T]) -> T:
    """What is made over a medium, which is closed if that fails."""
    medium = open_medium()
    try:
        return make(medium)
    except BaseException:
        medium.close()
        raise


__all__ = [
    "LOST_AFTER",
    "ONLOOKERS_PATIENCE",
    "Heartbeats",
    "Medium",
    "OpenMedium",
    "StoreMedium",
    "StreamsOverStore",
    "describe_stream",
    "destroy_stream",
    "open_reader",
    "open_writer",
    "tail_stream",
]
