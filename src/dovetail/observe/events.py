"""The events that can be recorded."""

from __future__ import annotations

from typing import Final, NamedTuple

PUT: Final = 1
"""A value was published in a store; the name is its key."""
GET: Final = 2
"""A value was read from a store; the name is its key."""
WAIT: Final = 3
"""A key or a list was waited for; the name is its own."""
WRITE_STEP: Final = 4
"""A step was written, from its beginning to its end; the name is the stream's URL."""
READ_STEP: Final = 5
"""A step was received, from the call to the delivery; the name is the stream's URL."""
PUBLISH_MODEL: Final = 6
"""A model was published; the name is its own and its version: ``closure@7``."""
TAKE_MODEL: Final = 7
"""A published model was put in force; the name is as above."""
REFUSE_MODEL: Final = 8
"""A published model was refused; the name is as above, then the reason: ``closure@7: gate``."""
CALL_MODEL: Final = 9
"""A guard was called; the name is its own."""
FALL_BACK: Final = 10
"""A guard gave the physics, within its call; the name is its own, then the reason."""
STARVE: Final = 11
"""A trainer waited for samples; the name is the reservoir's."""
STALL: Final = 12
"""A producer waited for room in a reservoir; the name is the producer's."""

KINDS: Final = {
    PUT: "put",
    GET: "get",
    WAIT: "wait",
    WRITE_STEP: "write_step",
    READ_STEP: "read_step",
    PUBLISH_MODEL: "publish_model",
    TAKE_MODEL: "take_model",
    REFUSE_MODEL: "refuse_model",
    CALL_MODEL: "call_model",
    FALL_BACK: "fall_back",
    STARVE: "starve",
    STALL: "stall",
}
"""What the kinds are called in :attr:`Event.kind`. 1 to 127 can be recorded."""


class Event(NamedTuple):
    """One recorded event. Sorts by its start."""

    start_ns: int
    """When it began, in nanoseconds since the epoch."""
    duration_ns: int
    """How long it took, waiting included."""
    kind: str
    """One of :data:`KINDS` (``put``, ``read_step`` …); a number where the file is of a newer
    version that knows more."""
    name: str
    """Of the key or the stream; cut to some 1000 bytes."""
    nbytes: int
    """Bytes of arrays moved."""
    wait_ns: int
    """How much of the duration was spent waiting for another process."""
    host: str
    """The node it happened on."""
    pid: int
    """The process, as numbered there."""
    thread: int
    """The thread, as numbered there."""

    @property
    def end_ns(self) -> int:
        """When it ended, in nanoseconds since the epoch."""
        return self.start_ns + self.duration_ns
