"""Who takes part in a scene: so many producers, so many consumers, and one of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

Side = Literal["producer", "consumer"]


class Layout(NamedTuple):
    """How many processes a scene has on each side."""

    producers: int
    consumers: int

    @property
    def processes(self) -> int:
        return self.producers + self.consumers

    def __str__(self) -> str:
        return f"{self.producers} to {self.consumers}"


class Seat(NamedTuple):
    """One process of a scene."""

    side: Side
    rank: int
    """Within its side, from 0 on."""
    layout: Layout

    @property
    def size(self) -> int:
        """Processes on its side."""
        return self.layout.producers if self.side == "producer" else self.layout.consumers

    def block(self, length: int) -> tuple[int, int]:
        """Start and length of what this rank gives to a global array."""
        return self.rank * length, length

    def share(self, length: int) -> tuple[int, int]:
        """Start and length of what this rank takes of the other side's global array.

        Parameters
        ----------
        length
            Of what each rank of the other side gives.
        """
        whole = length * (self.layout.processes - self.size)
        begin, end = (whole * edge // self.size for edge in (self.rank, self.rank + 1))
        return begin, end - begin


def seats_of(layout: Layout) -> list[Seat]:
    """Every seat: the producers, then the consumers."""
    return [
        *(Seat("producer", rank, layout) for rank in range(layout.producers)),
        *(Seat("consumer", rank, layout) for rank in range(layout.consumers)),
    ]
