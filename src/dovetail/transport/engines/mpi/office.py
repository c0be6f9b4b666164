"""One process's part in all its streams, from the first one to the end of MPI.

A process that took part goes on to attend to its mail after its last stream was closed: others may
still fetch its blocks, or read the logs that it keeps. At its end it says so to every leader
(*bye*). A leader that comes to its end waits for who may still come to a stream that is not read
to its end, until its deadline; then for the *bye* of all who ever came, and lets them *go*. All
this costs no time, for MPI_Finalize waits for all processes of a job anyway.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

from dovetail.errors import (
    EngineUnavailableError,
    FormatVersionError,
    PeerLostError,
    TransportTimeoutError,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.mpi.blocks import Blocks
from dovetail.transport.engines.mpi.copies import Copies
from dovetail.transport.engines.mpi.job import Context, Job, enter
from dovetail.transport.engines.mpi.leader import Leader
from dovetail.transport.engines.mpi.messages import Message
from dovetail.transport.engines.mpi.post import Post, Reply

PROTOCOL = 2
"""What processes say to each other; those of two numbers do not understand each other."""

PATIENCE = 60.0
"""Seconds for which streams without a deadline are kept for who has not come yet."""


class Office:
    """This process among those of its job."""

    def __init__(self, job: Job) -> None:
        self.post = Post(job)
        self.blocks = Blocks(self.post)
        self.copies = Copies(self.post)
        self._leader = Leader(self.post)
        self._process = os.getpid()
        self._greeted: set[int] = set()
        """Leaders of streams in which this process wants to take part."""
        self._welcomes: dict[int, int] = {}
        """Those of them that have answered, and what they speak."""
        self._clients: set[int] = set()
        """Processes that take part in streams which this one leads."""
        self._leaving: set[int] = set()
        """Those of them that have said bye."""
        self._left = False
        self._patience = 0.0
        """Seconds to wait, at the end, for who has not come yet."""
        for kind in ("hello", "welcome", "bye", "go"):
            self.post.serve(kind, getattr(self, f"_{kind}"))
        self.post.begin()

    def join(self, leader: int, label: str, timeout: float | None) -> None:
        """Find the leader of a stream within `timeout` seconds.

        Raises
        ------
        TransportTimeoutError
            If it does not answer in time.
        FormatVersionError
            If another version of Dovetail runs there.
        EngineUnavailableError
            In a process that was forked from one that took part, or after MPI's end.
        """
        if os.getpid() != self._process:
            raise EngineUnavailableError(
                "this process was forked after MPI was initialised, which no MPI survives: open "
                "mpi:// streams in processes that mpiexec has started"
            )
        if self._left:
            raise EngineUnavailableError(
                "MPI is at its end in this process: open mpi:// streams before MPI_Finalize"
            )
        if leader == self.post.rank:
            self._patience = max(self._patience, PATIENCE if timeout is None else timeout)
            return
        deadline = Deadline(timeout)
        with self.post.changed:
            if leader not in self._greeted:
                self._greeted.add(leader)
                self.post.tell(leader, "hello")
        if not self.post.wait_until(lambda: leader in self._welcomes, deadline):
            raise TransportTimeoutError(
                f"rank {leader} of MPI_COMM_WORLD, the leader of {label}, has not opened the "
                f"stream within {deadline}: it must take part. Open the stream there, or name a "
                f"rank that does with ?leader=, the same at both ends"
            )
        theirs = self._welcomes[leader]
        if theirs != PROTOCOL:
            raise FormatVersionError(
                f"rank {leader} of MPI_COMM_WORLD, the leader of {label}, speaks version {theirs} "
                f"of mpi:// and this process version {PROTOCOL}: use one version of Dovetail in "
                f"all components"
            )

    def leave(self) -> None:
        """Take leave of all others, as MPI comes to its end. Harmless a second time."""
        with self.post.changed:
            if self._left or os.getpid() != self._process:
                return
            self._left = True
            self._leader.bury(self.post.rank)
            leaders = set(self._greeted)
        try:
            for leader in leaders:
                self.post.tell(leader, "bye")
            self.post.wait_until(self._nobody_comes, Deadline(self._patience))
            self.post.wait_until(self._let_go, Deadline(None))
            self.post.close()
        except PeerLostError:
            pass  # MPI itself has failed: there is nobody to take leave of

    def _nobody_comes(self) -> bool:
        """Whether nobody can still want anything of a stream that this process leads."""
        all_have_left = len(self._clients & self._leaving) == self.post.size - 1
        return all_have_left or not self._leader.has_streams()

    def _let_go(self) -> bool:
        """Let all clients go once the last has said bye; whether this process can go itself."""
        if self._clients <= self._leaving:
            for client in self._clients:
                self.post.tell(client, "go")
            self._clients.clear()
        return not self._clients and not self._welcomes

    def _hello(self, message: Message, reply: Reply) -> None:
        self._clients.add(message.source)
        self.post.tell(message.source, "welcome", PROTOCOL)

    def _welcome(self, message: Message, reply: Reply) -> None:
        self._welcomes[message.source] = message.words[0]

    def _bye(self, message: Message, reply: Reply) -> None:
        self._leader.bury(message.source)
        self._leaving.add(message.source)

    def _go(self, message: Message, reply: Reply) -> None:
        self._welcomes.pop(message.source, None)


_offices: dict[Context, Office] = {}
_lock = threading.Lock()


def office(context: Context, deadline: Deadline) -> Office:
    """The office of this process, opened by its first stream.

    Raises
    ------
    EngineUnavailableError, TransportTimeoutError
    """
    with _lock:
        if context not in _offices:
            job = enter(context, deadline)
            if not _offices:
                _leave_before_the_end_of_mpi(job.mpi)
            _offices[context] = Office(job)
        return _offices[context]


def _leave_before_the_end_of_mpi(mpi: Any) -> None:
    """See that this process takes leave, be it the interpreter or MPI that ends first."""

    def leave(*_: Any) -> None:
        for context in sorted(_offices):
            _offices[context].leave()

    atexit.register(leave)
    # Attributes of MPI_COMM_SELF are deleted first of all in MPI_Finalize, while MPI still works.
    mpi.COMM_SELF.Set_attr(mpi.Comm.Create_keyval(delete_fn=leave), True)
