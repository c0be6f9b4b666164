"""Messages between the processes of a job, and the thread that attends to them.

Whoever waits for an answer attends to the mail itself; while nobody waits, a thread does. What one
process says to another arrives in that order.

Mail is looked for (MPI_Improbe) and not received from anybody (MPI_ANY_SOURCE): such receives wait
for several devices of MPICH at once, and where one process runs on each node one of them was seen
never to end though its message had come.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dovetail.errors import DovetailError, PeerLostError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.mpi.job import Job
from dovetail.transport.engines.mpi.messages import (
    MAIL_BYTES,
    Announced,
    Message,
    bodies_of,
    pack,
    unpack,
)
from dovetail.transport.engines.mpi.pace import Pace, punctual

_BODY_TAGS = 1024
"""How many messages with bodies one process can have on their way to another."""
_ALONE = 10e-3
"""Seconds between two looks of a process that is alone: who changes something wakes it."""
_SLOWEST = 50e6
"""Bytes a second at which a body comes if it comes at all; who waits for it sleeps only later."""
_ANSWER, _REFUSAL = "answer", "refusal"


class Answer(NamedTuple):
    """What was answered."""

    words: list[Any]
    payload: Any


Reply = Callable[..., None]
"""Called once, now or later, with the words of an answer and ``parts=`` of its payload."""
Handler = Callable[[Message, Reply], None]
MakeRoom = Callable[[int], NDArray[np.uint8]]
"""Makes memory of so many bytes."""


def empty(nbytes: int) -> NDArray[np.uint8]:
    """Memory of so many bytes."""
    return np.empty(nbytes, np.uint8)


class _Question:
    """A question that somebody waits for the answer to."""

    def __init__(self, room: MakeRoom, arrived: Callable[[Answer], None]) -> None:
        self.room = room
        self.arrived = arrived
        self.answer: Answer | DovetailError | None = None


class _Incoming(NamedTuple):
    """A message whose payload is coming in."""

    message: Message
    requests: list[Any]
    memory: NDArray[np.uint8]


class _Outgoing(NamedTuple):
    """Something on its way, and the memory that MPI still reads."""

    request: Any
    memory: Any


class Post:
    """Messages from and to this process.

    Attributes
    ----------
    changed
        Held whenever the state of this process is looked at or changed; notified of changes.
    """

    def __init__(self, job: Job) -> None:
        self.rank, self.size = job.rank, job.size
        self.changed = threading.Condition(threading.RLock())
        self._mpi, self._comm, self._tag = job.mpi, job.comm, job.mail_tag
        self._handlers: dict[str, Handler] = {}
        self._chores: list[Callable[[], bool]] = []
        self._numbers = itertools.count(1)
        self._tags = itertools.cycle(range(self._tag - _BODY_TAGS, self._tag))
        self._questions: dict[int, _Question] = {}
        self._outgoing: list[_Outgoing] = []
        self._incoming: list[_Incoming] = []
        self._hurry_until = 0.0
        self._attending = 0
        """Threads that wait, and attend to the mail meanwhile."""
        self._failure: Exception | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._connected = self.size > 1
        """There are others, and MPI is not at its end."""
        self._mail = np.empty(MAIL_BYTES, np.uint8)

    # --- what others build on ---------------------------------------------------------------

    def serve(self, kind: str, handler: Handler) -> None:
        """Say who answers messages of a kind. Handlers hold `changed`, and never wait."""
        self._handlers[kind] = handler

    def chore(self, chore: Callable[[], bool]) -> None:
        """Do something with every look at the mail; it returns whether anything happened."""
        self._chores.append(chore)

    def begin(self) -> None:
        """Attend to the mail from now on: all who serve are known."""
        if self._connected:
            self._thread = threading.Thread(target=self._attend, name="dovetail mpi", daemon=True)
            self._thread.start()

    def tell(self, to: int, kind: str, *words: Any, parts: Sequence[Any] = ()) -> None:
        """Send a message that is not answered."""
        with self.changed:
            self._send(to, Message(self.rank, kind, 0, list(words), b""), parts)

    def ask(
        self,
        to: int,
        kind: str,
        *words: Any,
        deadline: Deadline,
        parts: Sequence[Any] = (),
        room: MakeRoom = empty,
        arrived: Callable[[Answer], None] = lambda answer: None,
    ) -> Answer | None:
        """Send a question and wait for its answer; None at the deadline.

        Parameters
        ----------
        room
            Makes the memory for the payload of an answer that does not fit into one mail.
        arrived
            Called with the answer, in order with all that the same process says.

        Raises
        ------
        PeerLostError
            If MPI can send no more.
        """
        number, question = next(self._numbers), _Question(room, arrived)
        self._questions[number] = question
        try:
            with self.changed:
                self._send(to, Message(self.rank, kind, number, list(words), b""), parts)
            self.wait_until(lambda: question.answer is not None, deadline)
        finally:
            del self._questions[number]
        if isinstance(question.answer, DovetailError):
            raise question.answer
        return question.answer

    def wait_until(self, ready: Callable[[], bool], deadline: Deadline) -> bool:
        """Attend to the mail until something is so; False at the deadline.

        Not to be called with `changed` held: others must get it meanwhile.
        """
        with self.changed:
            if ready():
                return True
            pace = Pace()
            self._attending += 1
            try:
                while True:
                    if self._look():
                        pace.happened()
                    if ready():
                        return True
                    left = deadline.left()
                    if left <= 0:
                        return False
                    if self.size == 1:
                        self.changed.wait(min(_ALONE, left))
                    else:
                        hurry = time.monotonic() < self._hurry_until and self._bodies_on_their_way()
                        pace.wait(self.changed, left, hurry)
            finally:
                self._attending -= 1

    def close(self) -> None:
        """Let go of MPI, once what was sent has gone out. Nothing can be sent afterwards."""
        self._closing.set()
        if self._thread is None:
            return
        self._thread.join()
        self.wait_until(lambda: not self._outgoing, Deadline(None))
        self._connected = False

    # --- attending to the mail --------------------------------------------------------------

    def _attend(self) -> None:
        """What the thread does."""
        punctual()
        pace = Pace()
        while not self._closing.is_set() and self._failure is None:
            with self.changed:
                if not self._attending and self._look():
                    pace.happened()
            pace.sleep()

    def _look(self) -> bool:
        """Take what has come, and see what has gone out; whether anything has."""
        if self._failure is not None:
            raise PeerLostError(f"MPI cannot send and receive any more: {self._failure}")
        happened = False
        try:
            while self._connected and (self._take_mail() or self._end_transfers()):
                happened = True
        except self._mpi.Exception as failure:
            self._failure = failure
            happened = True
        for chore in self._chores:
            happened = chore() or happened
        if happened:
            self.changed.notify_all()
        return happened

    def _take_mail(self) -> bool:
        """Take the mail that has come first; whether there was any."""
        found = self._comm.Improbe(self._mpi.ANY_SOURCE, self._tag)
        if found is None:
            return False
        found.Recv([self._mail, self._mpi.BYTE])
        mail = unpack(self._mail)
        if isinstance(mail, Message):
            self._deliver(mail)
        else:
            self._expect(mail)
        return True

    def _end_transfers(self) -> bool:
        """See what has gone out, and which bodies have come; whether any has."""
        if not (self._outgoing or self._incoming):
            return False
        # One call for all: each gives up the interpreter, and may wait long to have it back.
        requests = [
            *(parcel.request for parcel in self._outgoing),
            *(request for parcel in self._incoming for request in parcel.requests),
        ]
        done = self._mpi.Request.Testsome(requests)
        if not done:
            return False
        finished = {id(requests[place]) for place in done}
        self._outgoing = [one for one in self._outgoing if id(one.request) not in finished]
        self._take_bodies(finished)
        return True

    def _take_bodies(self, finished: set[int]) -> None:
        """Deliver the messages all of whose bodies have come."""
        incoming, self._incoming = self._incoming, []
        for parcel in incoming:
            parcel.requests[:] = [one for one in parcel.requests if id(one) not in finished]
            if parcel.requests:
                self._incoming.append(parcel)
            else:
                payload = parcel.memory.data.toreadonly()
                self._deliver(parcel.message._replace(payload=payload))

    def _expect(self, mail: Announced) -> None:
        """Take the bodies of a message where they will stay."""
        question = self._questions.get(mail.message.number)
        answers = mail.message.kind == _ANSWER and question is not None
        nbytes = sum(mail.sizes)
        memory = question.room(nbytes) if answers and question else empty(nbytes)
        requests = []
        start = 0
        for size in mail.sizes:
            room = [memory[start : start + size], self._mpi.BYTE]
            requests.append(self._comm.Irecv(room, mail.message.source, mail.tag))
            start += size
        self._incoming.append(_Incoming(mail.message, requests, memory))
        self._hurry(nbytes)

    def _hurry(self, nbytes: int) -> None:
        """A body of so many bytes is on its way, and MPI moves it only while both ends look."""
        until = time.monotonic() + nbytes / _SLOWEST
        self._hurry_until = max(self._hurry_until, until)

    def _bodies_on_their_way(self) -> bool:
        return bool(self._incoming or self._outgoing)

    def _deliver(self, message: Message) -> None:
        """Hand a message to who waits for it, or to its handler."""
        if message.kind in (_ANSWER, _REFUSAL):
            question = self._questions.get(message.number)
            if question is None:  # its deadline has passed
                return
            if message.kind == _REFUSAL:
                question.answer = DovetailError(message.words[0])
                return
            answer = Answer(message.words, message.payload)
            question.arrived(answer)
            question.answer = answer
            return
        try:
            self._handlers[message.kind](message, self._reply_to(message))
        except Exception as error:  # the thread must go on, and who asks must not wait
            text = f"rank {self.rank} could not answer {message.kind!r}: {error!r}"
            refusal = Message(self.rank, _REFUSAL, message.number, [text], b"")
            self._send(message.source, refusal, ())

    def _reply_to(self, message: Message) -> Reply:
        def reply(*words: Any, parts: Sequence[Any] = ()) -> None:
            answer = Message(self.rank, _ANSWER, message.number, list(words), b"")
            self._send(message.source, answer, parts)

        return reply

    # --- sending ----------------------------------------------------------------------------

    def _send(self, to: int, message: Message, parts: Sequence[Any]) -> None:
        if to == self.rank:
            self._deliver(message._replace(payload=b"".join(parts)))
            self.changed.notify_all()
            return
        if not self._connected:
            raise PeerLostError(
                "MPI is at its end in this process: mpi:// streams end before MPI_Finalize"
            )
        small = sum(memoryview(part).nbytes for part in parts) < MAIL_BYTES
        mail = pack(message._replace(payload=b"".join(parts)), (), -1) if small else None
        if mail is not None:
            self._dispatch(to, self._tag, mail)
            return
        bodies = bodies_of(parts)
        tag = next(self._tags)
        mail = pack(message, [body.nbytes for body in bodies], tag)
        if mail is None:
            raise ValueError(f"a message of kind {message.kind!r} has too many words")
        self._dispatch(to, self._tag, mail)
        for body in bodies:
            self._dispatch(to, tag, body)
        self._hurry(sum(body.nbytes for body in bodies))

    def _dispatch(self, to: int, tag: int, buffer: Any) -> None:
        request = self._comm.Isend([buffer, self._mpi.BYTE], to, tag)
        self._outgoing.append(_Outgoing(request, buffer))
