"""What the participants of a stream say to each other: the entries of its log.

An entry is a short text of letters, digits and ``_-.``, so that any store keeps it as the item
of a list as it is: a letter, who says it, and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.errors import CorruptDataError
from dovetail.transport.policies import LARGEST_WINDOW, Policy, PolicyKind

_KINDS: dict[str, PolicyKind] = {
    "l": "lockstep",
    "b": "buffered",
    "n": "latest",
    "w": "work_queue",
}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Opened:
    """W: a writer rank is here; rank 0 opens an epoch with its policy."""

    who: str
    rank: int
    size: int
    policy: Policy
    capacity: int

    def __str__(self) -> str:
        policy = f"{_LETTERS[self.policy.kind]}{self.policy.window}"
        return f"W.{self.who}.{self.rank}.{self.size}.{policy}.{self.capacity}"


@dataclass(frozen=True, slots=True)
class Ended:
    """E: a writer rank has ended a step; its block lies in a slot, or is here."""

    who: str
    step: int
    slot: int
    nbytes: int
    time_us: int
    block: str = ""
    """The block, if it is small: see :mod:`~dovetail.transport.ledger.small`."""

    def __str__(self) -> str:
        text = f"E.{self.who}.{self.step}.{self.slot}.{self.nbytes}.{self.time_us}"
        return f"{text}.{self.block}" if self.block else text


@dataclass(frozen=True, slots=True)
class Closed:
    """C: a writer rank has left, by an exception or not."""

    who: str
    failed: bool

    def __str__(self) -> str:
        return f"C.{self.who}.{int(self.failed)}"


@dataclass(frozen=True, slots=True)
class Joined:
    """J: a reader rank is here; rank 0 makes a group, the others follow it."""

    who: str
    rank: int
    size: int
    group: str
    """The group's name, as :func:`spelled`; or the id of its rank 0, after ``-``."""

    def __str__(self) -> str:
        return f"J.{self.who}.{self.rank}.{self.size}.{self.group}"


@dataclass(frozen=True, slots=True)
class Picked:
    """P: rank 0 of a group takes a step for its group (latest, work_queue)."""

    who: str
    step: int

    def __str__(self) -> str:
        return f"P.{self.who}.{self.step}"


@dataclass(frozen=True, slots=True)
class Done:
    """D: a reader rank has ended so many steps."""

    who: str
    count: int

    def __str__(self) -> str:
        return f"D.{self.who}.{self.count}"


@dataclass(frozen=True, slots=True)
class Left:
    """L: a reader rank has left, by an exception or not."""

    who: str
    failed: bool

    def __str__(self) -> str:
        return f"L.{self.who}.{int(self.failed)}"


@dataclass(frozen=True, slots=True)
class Stopped:
    """S: a reader wants no more."""

    who: str

    def __str__(self) -> str:
        return f"S.{self.who}"


@dataclass(frozen=True, slots=True)
class Dead:
    """X: somebody saw that a participant is dead."""

    who: str

    def __str__(self) -> str:
        return f"X.{self.who}"


@dataclass(frozen=True, slots=True)
class Expelled:
    """K: a group held the producer up too long; void if it has moved on meanwhile."""

    who: str
    """The group."""
    progress: int

    def __str__(self) -> str:
        return f"K.{self.who}.{self.progress}"


@dataclass(frozen=True, slots=True)
class Continued:
    """H: a participant has gone on to this log from the one before."""

    who: str

    def __str__(self) -> str:
        return f"H.{self.who}"


@dataclass(frozen=True, slots=True)
class Sealed:
    """Z: this log ends here; what is said after it is said again in the next one."""

    who: str

    def __str__(self) -> str:
        return f"Z.{self.who}"


@dataclass(frozen=True, slots=True)
class Removed:
    """R: the stream is removed; unless forced, only if nobody can need it any more."""

    who: str
    forced: bool

    def __str__(self) -> str:
        return f"R.{self.who}.{int(self.forced)}"


Entry = (
    Opened
    | Ended
    | Closed
    | Joined
    | Picked
    | Done
    | Left
    | Stopped
    | Dead
    | Expelled
    | Continued
    | Sealed
    | Removed
)


def parse(text: str) -> Entry:
    """An entry from its text.

    Raises
    ------
    CorruptDataError
        If it is none.
    """
    try:
        return _parse(text.split("."))
    except (ValueError, IndexError, KeyError):
        raise CorruptDataError(
            f"{text[:80]!r} is no entry of a stream's log: another program has written to it. "
            f"Remove the stream (dovetail stream rm URL)"
        ) from None


def _parse(words: list[str]) -> Entry:
    match words:
        case ["W", who, rank, size, policy, capacity]:
            return Opened(who, _number(rank), _number(size), _policy(policy), _number(capacity))
        case ["E", who, step, slot, nbytes, time_us]:
            return Ended(who, _number(step), _number(slot), _number(nbytes), _number(time_us))
        case ["E", who, step, slot, nbytes, time_us, block]:
            numbers = _number(step), _number(slot), _number(nbytes), _number(time_us)
            return Ended(who, *numbers, block)
        case ["C", who, failed]:
            return Closed(who, failed == "1")
        case ["J", who, rank, size, group]:
            return Joined(who, _number(rank), _number(size), group)
        case ["P", who, step]:
            return Picked(who, _number(step))
        case ["D", who, count]:
            return Done(who, _number(count))
        case ["L", who, failed]:
            return Left(who, failed == "1")
        case ["S", who]:
            return Stopped(who)
        case ["X", who]:
            return Dead(who)
        case ["K", who, progress]:
            return Expelled(who, _number(progress))
        case ["H", who]:
            return Continued(who)
        case ["Z", who]:
            return Sealed(who)
        case ["R", who, forced]:
            return Removed(who, forced == "1")
    raise ValueError(words)


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(word)
    return int(word)


def _policy(word: str) -> Policy:
    window = _number(word[1:])
    if not 1 <= window <= LARGEST_WINDOW:
        raise ValueError(word)
    return Policy(_KINDS[word[0]], window)


LONGEST_NAME = 64


def spelled(name: str) -> str:
    """A group's name in the letters of an entry.

    Raises
    ------
    ValueError
        If it is too long.
    """
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"the group name {name[:40]!r}… has {len(name)} letters; at most {LONGEST_NAME} are "
            f"possible on this engine"
        )
    return "".join(
        letter if letter.isascii() and letter.isalnum() else f"_{ord(letter):x}_" for letter in name
    )


def read_name(word: str) -> str:
    """What was :func:`spelled`."""
    parts = word.split("_")
    return "".join(
        chr(int(part, 16)) if place % 2 and part else part for place, part in enumerate(parts)
    )
