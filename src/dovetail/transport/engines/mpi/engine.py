"""What ``mpi://`` stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from dovetail.errors import CapabilityError, InvalidURLError
from dovetail.transport import ends, ledger
from dovetail.transport.contract import (
    Capabilities,
    EngineStatus,
    Leftover,
    Participant,
    ReadStep,
    Store,
    StreamDescription,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.mpi.job import missing
from dovetail.transport.engines.mpi.medium import MPIMedium
from dovetail.transport.engines.mpi.office import office
from dovetail.transport.policies import Policy
from dovetail.transport.url import URL

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,199}")
_OPTIONS = ("capacity", "context", "leader")
_SECONDS_TO_REACH = 10.0
"""For onlookers, who say no deadline for reaching the leader."""


class MPIEngine:
    """Streams between the components of one MPI job."""

    schemes: tuple[str, ...] = ("mpi",)

    def status(self, scheme: str) -> EngineStatus:
        why = missing()
        return EngineStatus(scheme, why is None, why or _installed(), "MPI", _CAPABILITIES)

    def open_store(self, url: URL, timeout: float | None) -> Store:
        raise CapabilityError(
            f"{url} offers no store: MPI moves steps, and keeps nothing. Choose a store such as "
            f"shm:// (one node), file:// or redis://"
        )

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> ends.Writer:
        return ledger.open_writer(url, _medium_of(url, participant.timeout), policy, participant)

    def open_reader(self, url: URL, participant: Participant) -> ends.Reader:
        return ledger.open_reader(url, _medium_of(url, participant.timeout), participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        return ledger.describe_stream(url, _medium_of(url, _SECONDS_TO_REACH))

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        return ledger.tail_stream(url, _medium_of(url, _SECONDS_TO_REACH), timeout)

    def destroy_stream(self, url: URL) -> None:
        ledger.destroy_stream(url, _medium_of(url, _SECONDS_TO_REACH))

    def leftovers(self, remove: bool) -> list[Leftover]:
        return []


def _medium_of(url: URL, timeout: float | None) -> Callable[[], MPIMedium]:
    """Makes what one participant of a stream shares with the others."""
    url.only(*_OPTIONS)
    if not _NAME.fullmatch(url.location):
        raise InvalidURLError(
            f"mpi://{url.location} needs a name of letters, digits and _.+@-, such as "
            f"mpi://fields (at most 200, beginning with a letter, a digit or _)"
        )
    context = url.choice_option("context", "world", "private")
    leader = _leader_of(url)

    def open_medium() -> MPIMedium:
        here = office("private" if context == "private" else "world", Deadline(timeout))
        if leader >= here.post.size:
            raise InvalidURLError(
                f"{url}: there is no rank {leader} among the {here.post.size} of MPI_COMM_WORLD. "
                f"Components share it if one command launches them: mpiexec -n 4 sim : -n 2 trainer"
            )
        here.join(leader, str(url), timeout)
        return MPIMedium(here, url.location, leader, str(url), timeout)

    return open_medium


def _leader_of(url: URL) -> int:
    text = url.options.get("leader", "0")
    if not (text.isascii() and text.isdigit()):
        raise InvalidURLError(f"leader={text!r} is no rank of MPI_COMM_WORLD, such as 0")
    return int(text)


def _installed() -> str:
    try:
        return f"mpi4py {version('mpi4py')}"
    except PackageNotFoundError:
        return "mpi4py"


_CAPABILITIES = Capabilities(
    store=False,
    stream=True,
    zero_copy=False,
    woken_waits=True,
    rename=False,
    persistent=False,
    several_nodes=True,
    policies=frozenset({"lockstep", "buffered", "latest", "work_queue"}),
    started_apart=False,
)

ENGINE = MPIEngine()
