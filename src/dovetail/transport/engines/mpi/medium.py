"""A stream as its participants share it: a log at the leader, blocks where they were made."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from dovetail.data.layout import Piece
from dovetail.errors import PeerLostError, TransportTimeoutError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.mpi.copies import Copy, Key
from dovetail.transport.engines.mpi.messages import lines_of, text_of
from dovetail.transport.engines.mpi.office import Office
from dovetail.transport.engines.mpi.post import Answer
from dovetail.transport.ledger.medium import Appended, Block, Head
from dovetail.transport.rooms import Rooms
from dovetail.transport.values import encode_pieces, read_header

PATIENCE = 10.0
"""Seconds that a process which takes part has at least to answer, whatever a wait may take."""


class MPIMedium:
    """What the participants of one stream share: :class:`~dovetail.transport.ledger.Medium`.

    Parameters
    ----------
    stream
        Its name, without options.
    leader
        The rank in MPI_COMM_WORLD of the process that keeps its log.
    timeout
        Seconds in which every question must be answered, or :data:`PATIENCE` if that is more.
    """

    small_block = 1536  # so that its entry fits into one piece of mail

    def __init__(
        self, office: Office, stream: str, leader: int, label: str, timeout: float | None
    ) -> None:
        self.label = label
        self._office, self._post = office, office.post
        self._stream, self._leader = stream, leader
        self._timeout = timeout
        self._places: dict[str, int] = {}
        """Which process a writer rank of an epoch belongs to."""
        self._rooms = Rooms()
        self._followed: tuple[Key, Copy] | None = None

    # --- the log ----------------------------------------------------------------------------

    def append(self, log: int, entry: str, start: int) -> Appended:
        key = Key(self._leader, self._stream, log)
        answer = self._ask(
            "append", log, parts=[entry.encode()],
            arrived=lambda answer: self._office.copies.appended(key, answer),
        )  # fmt: skip
        position = int(answer.words[0])
        entries = self._copy_of(log).entries[start : position + 1]
        return Appended(position, entries if len(entries) == position + 1 - start else None)

    def read(self, log: int, start: int) -> list[str]:
        return self._copy_of(log).entries[start:]

    def wait(self, log: int, start: int, timeout: float) -> list[str]:
        copy = self._copy_of(log)
        self._post.wait_until(lambda: len(copy.entries) > start, Deadline(timeout))
        return copy.entries[start:]

    def _copy_of(self, log: int) -> Copy:
        """The copy of a log, which is followed from now on instead of the one before."""
        if self._followed is not None and self._followed[0].log == log:
            return self._followed[1]
        self._unfollow()
        key = Key(self._leader, self._stream, log)
        deadline = self._deadline()
        copy = self._office.copies.follow(key, deadline)
        if copy is None:
            raise self._silent(self._leader, "follow", deadline)
        self._followed = key, copy
        return copy

    def _unfollow(self) -> None:
        followed, self._followed = self._followed, None
        if followed is not None:
            self._office.copies.release(followed[0])

    def remove_log(self, log: int) -> None:
        self._ask("remove_log", log)

    def head(self) -> Head | None:
        text = bytes(self._ask("head").payload)
        if not text:
            return None
        return Head(**json.loads(text))

    def put_head(self, head: Head) -> None:
        self._ask("put_head", parts=[json.dumps(head._asdict()).encode()])

    # --- blocks -----------------------------------------------------------------------------

    def publish(
        self,
        name: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        log: int,
        entry: str,
        start: int,
    ) -> Appended:
        self._keep(name, pieces, metadata)
        return self.append(log, entry, start)

    def _keep(self, name: str, pieces: Sequence[Piece], metadata: dict[str, str]) -> None:
        encoded = encode_pieces(pieces, metadata)
        if self._office.blocks.put(self._key(name), encoded.parts, encoded.nbytes, self.label):
            self._post.tell(self._leader, "announce", self._stream, name)

    def get_block(self, name: str) -> Block | None:
        memory = self._fetch(name)
        if memory is None:
            return None
        view = memoryview(memory).toreadonly()
        header, _ = read_header(view, view.nbytes, f"block {name} of {self.label}")
        return Block(view, header)

    def _fetch(self, name: str) -> Any | None:
        """The bytes of a block, from the process that holds it."""
        writer = name.rpartition("/")[0]
        place = self._places.get(writer)
        memory = None if place is None else self._fetch_from(place, name)
        if memory is None:
            place = self._ask("where", name).words[0]
            if place is None:
                return None
            self._places[writer] = place
            memory = self._fetch_from(place, name)
        return memory

    def _fetch_from(self, place: int, name: str) -> Any | None:
        if place == self._post.rank:
            return self._office.blocks.whole(self._key(name))
        deadline = self._deadline()
        answer = self._post.ask(
            place, "get", *self._key(name), deadline=deadline, room=self._rooms.take
        )
        if answer is None:
            raise self._silent(place, "get", deadline)
        return answer.payload if answer.words[0] else None

    def blocks(self) -> list[str]:
        return lines_of(self._ask("blocks").payload)

    def remove_block(self, name: str) -> None:
        self._ask("forget_block", name)

    def remove(self) -> None:
        self._ask("forget")

    def _key(self, name: str) -> tuple[int, str, str]:
        return self._leader, self._stream, name

    def capacity(self) -> int:
        return self._office.blocks.capacity

    # --- signs of life ----------------------------------------------------------------------

    def lifeline(self, name: str) -> MPILifeline:
        self._ask("live", name)
        return MPILifeline(lambda: self._post.tell(self._leader, "gone", self._stream, name))

    def alive(self, names: Collection[str]) -> list[str]:
        return lines_of(self._ask("alive", parts=text_of(list(names))).payload)

    def close(self) -> None:
        with contextlib.suppress(PeerLostError):  # MPI's end is that of all copies
            self._unfollow()

    # --- talking ----------------------------------------------------------------------------

    def _ask(
        self,
        kind: str,
        *words: Any,
        parts: Sequence[Any] = (),
        arrived: Callable[[Answer], None] = lambda answer: None,
    ) -> Answer:
        """Ask the leader about this stream.

        Raises
        ------
        TransportTimeoutError
        """
        deadline = self._deadline()
        answer = self._post.ask(
            self._leader, kind, self._stream, *words, parts=parts, deadline=deadline,
            arrived=arrived,
        )  # fmt: skip
        if answer is None:
            raise self._silent(self._leader, kind, deadline)
        return answer

    def _deadline(self) -> Deadline:
        return Deadline(None if self._timeout is None else max(self._timeout, PATIENCE))

    def _silent(self, process: int, kind: str, deadline: Deadline) -> TransportTimeoutError:
        return TransportTimeoutError(
            f"rank {process} of MPI_COMM_WORLD, which takes part in {self.label}, has not answered "
            f"{kind!r} within {deadline}: is it inside a call that lets no other thread of Python "
            f"run? Give open_stream() a longer timeout, or let another rank lead (?leader=)"
        )


class MPILifeline:
    """A participant that has not left."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def close(self) -> None:
        with contextlib.suppress(PeerLostError):  # MPI's end is that of all lifelines
            self._end()
