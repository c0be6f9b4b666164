"""One participant's copy of a stream's state, kept up with the log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from dovetail.data.layout import Piece
from dovetail.errors import PeerLostError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.ledger import snapshot
from dovetail.transport.ledger.entries import Continued, Dead, Entry, Removed, Sealed, parse
from dovetail.transport.ledger.medium import Appended, Head, Medium
from dovetail.transport.ledger.state import State

LOG_LENGTH = 20_000
"""Entries after which a log is sealed and a new one begun."""
LOG_NBYTES = 1 << 20
"""Bytes after which it is, since small blocks lie in it."""
MOST_LOGS = 100
"""Logs that may be begun and removed, one after the other, under one who is no participant."""
LOOK = 0.25
"""Seconds between two looks at who is alive, and the longest sleep of a wait."""

T = TypeVar("T")


class StreamGoneError(PeerLostError):
    """The stream was removed under its participants."""


class Replica:
    """The state of a stream as far as its log was read, and a voice in that log.

    Parameters
    ----------
    who
        This participant's id; an onlooker's is empty.
    """

    def __init__(self, medium: Medium, who: str) -> None:
        self.medium = medium
        self.who = who
        self._looked = 0.0
        self.load()

    def load(self) -> None:
        """Begin at the present log.

        Raises
        ------
        StreamGoneError
            If no log stays for long enough to be read.
        """
        if not any(self._load() for _ in range(MOST_LOGS)):
            raise self._gone()

    def _load(self) -> bool:
        """Whether the log was still kept for newcomers when it had been read."""
        head = self.medium.head()
        self.log = 0 if head is None else head.log
        self._oldest = 0 if head is None else head.oldest
        """The first log that may not have been removed yet."""
        kept = None if head is None else head.state
        self.state = State() if kept is None else snapshot.from_json(dict(kept))
        self._position = self._nbytes = 0
        self._last = ""
        self._behind = False
        self._own: deque[tuple[int, str]] = deque()
        try:
            self.sync()
        except StreamGoneError:
            return False
        head = self.medium.head()
        return head is None or head.log <= self.log

    # --- reading ----------------------------------------------------------------------------

    def sync(self) -> None:
        """Read what was said since.

        Raises
        ------
        StreamGoneError
        """
        while not self.state.removed:
            entries = self.medium.read(self.log, self._read_from)
            if not self._take(self._new_of(entries)):
                return

    def keep_up(self) -> None:
        """Read what was said since, if it is known that something was."""
        if self._behind:
            self.sync()

    @property
    def _read_from(self) -> int:
        """Where to read on: the last entry that is known shows whether the log is the same."""
        return max(0, self._position - 1)

    def _new_of(self, entries: list[str]) -> list[str]:
        """What is new of entries from `_read_from` on."""
        if not self._position:
            return entries
        if not entries or entries[0] != self._last:
            raise self._gone()
        return entries[1:]

    def _gone(self) -> StreamGoneError:
        return StreamGoneError(f"the stream {self.medium.label} was removed while it was open")

    def _take(self, entries: list[str]) -> bool:
        """Apply entries that come next; True if another log follows."""
        for text in entries:
            entry = parse(text)
            self._position += 1
            self._nbytes += len(text)
            self._last = text
            if isinstance(entry, Sealed):
                self._go_on(entry)
                return True
            self.state.apply(entry)
        while self._own and self._own[0][0] < self._position:
            self._own.popleft()
        self._behind = bool(self._own)
        return False

    def _go_on(self, seal: Sealed) -> None:
        """Begin the next log; what was said after the seal is said again."""
        late = [text for position, text in self._own if position >= self._position]
        self._own.clear()
        self.log += 1
        self._position = self._nbytes = 0
        self._last = ""
        self.state.continued = set()
        if seal.who == self.who:
            self.medium.put_head(Head(self.log, self._oldest, snapshot.to_json(self.state)))
        if self.who in self.state.participants():
            self._append(str(Continued(self.who)))
        for text in late:
            self._append(text)

    # --- saying -----------------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """Say something; it is applied when the log is next read, or at once where that is free."""
        self._append(str(entry))

    def publish(
        self, name: str, pieces: Sequence[Piece], metadata: dict[str, str], entry: Entry
    ) -> None:
        """Keep a block, and say so, as `append` does. Raises StoreFullError."""
        text = str(entry)
        said = self.medium.publish(name, pieces, metadata, self.log, text, self._read_from)
        self._said(text, said)

    def _append(self, text: str) -> None:
        self._said(text, self.medium.append(self.log, text, self._read_from))

    def _said(self, text: str, said: Appended) -> None:
        """Something was said in the log; what is known of it is applied."""
        if said.position < self._position:
            raise self._gone()
        self._own.append((said.position, text))
        self._behind = True
        if said.entries is not None:
            news = self._new_of(said.entries)
        elif said.position == self._position:
            news = [text]
        else:
            return
        if self._take(news):
            self.sync()

    def say(self, entry: Entry) -> None:
        """Say something, and read on until it is applied."""
        self.append(entry)
        self.keep_up()

    # --- waiting ----------------------------------------------------------------------------

    def wait_until(self, ready: Callable[[], T | None], deadline: Deadline) -> T | None:
        """What `ready` gives as soon as it gives something; None at the deadline.

        Meanwhile the log is followed, and who has died is said to be dead.
        """
        self.keep_up()
        found = ready()
        while found is None:
            over = deadline.passed  # even then one look at what has come
            self.listen(min(deadline.left(), LOOK))
            found = ready()
            if over or found is not None:
                break
            self.look_around()
            found = ready()
        return found

    def listen(self, timeout: float) -> None:
        """Read what is said next, for up to `timeout` seconds."""
        if self.state.removed:
            raise self._gone()
        if timeout <= 0:
            self.sync()
            return
        entries = self.medium.wait(self.log, self._position, timeout)
        if not entries or self._take(entries):
            self.sync()

    def look_around(self) -> None:
        """Say who has died, at most every :data:`LOOK` seconds."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self.bury()

    def bury(self) -> None:
        """Say who has died."""
        for who in self.dead():
            self.say(Dead(who))

    def dead(self) -> set[str]:
        """Participants that give no sign of life any more."""
        others = self.state.participants() - {self.who}
        silent = others - set(self.medium.alive(others)) if others else set()
        if silent:
            self.sync()  # who left has said so before
        return silent & self.state.participants()

    # --- tidying up -------------------------------------------------------------------------

    def seal_if_long(self) -> None:
        """Begin a new log if this one is long, and remove those before it if nobody reads them."""
        if self._position >= LOG_LENGTH or self._nbytes >= LOG_NBYTES:
            self.say(Sealed(self.who))
        if self._oldest < self.log and self.state.participants() <= self.state.continued:
            head = self.medium.head()
            if head is not None and head.log == self.log:
                self._remove_logs(self.log)

    def _remove_logs(self, until: int) -> None:
        """Remove the logs before this one."""
        for log in range(self._oldest, until):
            self.medium.remove_log(log)
        self._oldest = until

    def remove_old_blocks(self) -> None:
        """Remove the blocks of epochs that nobody reads any more."""
        for name in self.medium.blocks():
            epoch = name.split("/", 1)[0]
            if not epoch.isdigit() or int(epoch) not in self.state.epochs:
                self.medium.remove_block(name)

    def remove_if_done(self) -> None:
        """Remove the stream if nobody can need it any more."""
        if not self.state.removable():
            return
        self.say(Removed(self.who or "-", forced=False))
        if self.state.removed:
            self.remove()

    def remove(self) -> None:
        """Remove everything of the stream, after it was said in the log."""
        for name in self.medium.blocks():
            self.medium.remove_block(name)
        head = self.medium.head()
        if head is not None:
            self._oldest = max(self._oldest, head.oldest)
        self._remove_logs(self.log + 1)
        self.medium.remove()
