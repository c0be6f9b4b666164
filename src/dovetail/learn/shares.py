"""Who receives what, where several processes learn together.

With at least as many streams as consumers, each stream goes to one consumer. With fewer, the
consumers of one stream form a reader group: each sees all of its steps, in place, and takes those
whose index falls to it. Either way each step is taken exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Consumer:
    """A process that receives: a worker of a rank."""

    rank: int = 0
    size: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.rank < self.size:
            raise ValueError(f"rank={self.rank}, size={self.size}: ranks go from 0 to size - 1")

    @property
    def index(self) -> int:
        """Its number among all."""
        return self.rank * self.workers + self.worker

    @property
    def count(self) -> int:
        """How many there are in all."""
        return self.size * self.workers


@dataclass(frozen=True, slots=True)
class Share:
    """What a consumer takes of one stream."""

    stream: str
    rank: int = 0
    """Its place among those who share the stream."""
    size: int = 1
    """How many they are."""

    def takes(self, index: int) -> bool:
        """Whether the step of this index is its own."""
        return index % self.size == self.rank


def shares(streams: Sequence[str], consumer: Consumer) -> list[Share]:
    """What a consumer takes of the streams.

    Examples
    --------
    >>> shares(["a", "b", "c"], Consumer(rank=0, size=2))
    [Share(stream='a', rank=0, size=1), Share(stream='c', rank=0, size=1)]
    >>> shares(["a"], Consumer(rank=1, size=2))
    [Share(stream='a', rank=1, size=2)]
    """
    if not streams:
        return []
    if len(streams) >= consumer.count:
        return [Share(stream) for stream in streams[consumer.index :: consumer.count]]
    place = consumer.index % len(streams)
    together = len(range(place, consumer.count, len(streams)))
    return [Share(streams[place], consumer.index // len(streams), together)]
