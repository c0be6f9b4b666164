"""Who lives: each participant hangs on a connection, which the system cuts when the process ends.

A lifeline is a subscription to a channel of its own; the server tells how many are subscribed.
So a process that was killed is missed at once, and one that is merely busy is not.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Collection

from dovetail.errors import DovetailError
from dovetail.transport.engines.redis.connection import Connection, facts_of
from dovetail.transport.engines.redis.keys import Names
from dovetail.transport.engines.redis.protocol import ProtocolError, Refusal, packed
from dovetail.transport.engines.redis.questions import Questions
from dovetail.transport.engines.redis.refusals import error_of
from dovetail.transport.engines.redis.routes import Route
from dovetail.transport.engines.redis.servers import LostError, Server
from dovetail.transport.engines.redis.watching import subscribe

GRACE = 0.5
"""Seconds for which somebody may be missing before it counts as dead: its connection may have
been cut, and comes again."""
RESTART_GRACE = 5.0
"""Seconds after the start of a server in which nobody counts as dead."""
_NAMES_AT_ONCE = 1000
_SECONDS_TO_REACH = 2.0
_PAUSES = (0.0, 0.02, 0.05, 0.1, 0.25)
"""Seconds of rest between attempts to hang on again; the last holds from then on."""
_OURS: weakref.WeakSet[Lifeline] = weakref.WeakSet()


class Lifeline:
    """A sign of life under a name, until it is closed or the process ends.

    A thread of its own hangs it up again after the server was restarted, or the link was cut. In
    a forked child it is cut: that is another process.
    """

    def __init__(self, route: Route, names: Names, who: str) -> None:
        self._route = route
        self._home = names.home
        self._channel = names.lifeline(who)
        self._closed = threading.Event()
        self._held: tuple[Server, Connection] | None = None
        for _ in _PAUSES:
            route.ask(self._home, [packed("PING")], 1)  # reach the server, or say why not
            if self._hang():
                break
        self._thread = threading.Thread(target=self._keep, name="dovetail lifeline", daemon=True)
        self._thread.start()
        _OURS.add(self)

    def close(self) -> None:
        """Give no more signs of life."""
        if self._closed.is_set():
            return
        self._closed.set()
        held = self._held
        if held is not None:
            held[1].shut()  # wakes the thread, which closes it
        self._thread.join()

    def abandon(self) -> None:
        """Let go in a forked child."""
        self._closed.set()
        if self._held is not None:
            self._held[1].abandon()

    def _hang(self) -> bool:
        """Subscribe on a connection of its own; whether that went well."""
        try:
            server = self._route.server_of(self._home)
            connection = server.connect(_SECONDS_TO_REACH)
        except (LostError, DovetailError):
            return False
        try:
            refusal = subscribe(connection, b"", self._channel)
        except (OSError, ProtocolError):
            refusal = Refusal("", "")
        if refusal is not None:
            connection.close()
            if refusal.code == "NOPERM":
                raise error_of(refusal, str(server.address), "a sign of life")
            return False
        self._held = server, connection
        if self._closed.is_set():
            connection.shut()
        return True

    def _keep(self) -> None:
        attempt = 0
        while not self._closed.is_set():
            held = self._held
            if held is None:
                self._closed.wait(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                attempt += 1
                if not self._closed.is_set():
                    with contextlib.suppress(DovetailError):  # whoever asks has a deadline
                        self._hang()
                continue
            attempt = 0
            connection = held[1]
            try:
                while connection.socket.ready(60.0):
                    connection.replies.next_push()
            except (OSError, ProtocolError):
                self._held = None
                held[0].lose(connection)  # the server may not know of it yet
        if self._held is not None:
            self._held[1].close()


class Lifelines:
    """The signs of life of all participants of one store."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._names = questions.names

    def lifeline(self, name: str) -> Lifeline:
        """Give signs of life under a name from now on."""
        return Lifeline(self._questions.route, self._names, name)

    def alive(self, names: Collection[str]) -> set[str]:
        """Those who live. Whoever is missing is given a moment to come again."""
        until = time.monotonic() + GRACE
        there: set[str] = set()
        while True:
            wanted = [name for name in names if name not in there]
            for first in range(0, len(wanted), _NAMES_AT_ONCE):
                there |= self._present(wanted[first : first + _NAMES_AT_ONCE])
            if len(there) >= len(set(names)) or time.monotonic() >= until:
                return there
            time.sleep(GRACE / 10)

    def _present(self, names: list[str]) -> set[str]:
        channels = [self._names.lifeline(name) for name in names]
        request = packed("PUBSUB", "NUMSUB", *channels) + packed("INFO", "server")
        counts, server = self._questions.route.ask(self._names.home, [request], 2)
        if isinstance(counts, Refusal):
            raise error_of(counts, self._questions.label, "who lives")
        facts = {} if isinstance(server, Refusal) else facts_of(server)
        if float(facts.get("uptime_in_seconds", RESTART_GRACE)) < RESTART_GRACE:
            return set(names)
        numbers = counts[1::2]
        return {name for name, number in zip(names, numbers, strict=True) if number}


def _abandon() -> None:
    for lifeline in list(_OURS):
        lifeline.abandon()


os.register_at_fork(after_in_child=_abandon)
