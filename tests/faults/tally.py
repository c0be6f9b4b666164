"""The count of the faults of one kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Tally:
    """How many faults of one kind were caused, and after how many all was sound."""

    kind: str
    wanted: int
    sound: int = 0
    details: list[str] = field(default_factory=list)
    title: str = ""
    """The kind, without what it was caused on."""
    engine: str | None = None
    """The engine that the faults were caused on, where they are of one."""
    policy: str | None = None

    def __iter__(self) -> Iterator[int]:
        """Go through the trials; each counts as sound if its body ends without an error."""
        for trial in range(self.wanted):
            yield trial
            self.sound += 1

    def note(self, detail: str) -> None:
        """Add something measured to the line of the report."""
        self.details.append(detail)

    def __str__(self) -> str:
        notes = f" ({'; '.join(self.details)})" if self.details else ""
        return f"{self.kind}: {self.sound} of {self.wanted} sound{notes}"
