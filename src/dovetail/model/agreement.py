"""Whether a version is taken: by one process alone, or by all ranks of a solver together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from dovetail.data import Dataset
from dovetail.errors import CorruptDataError
from dovetail.model.layout import PUBLISHED, VERSION

T = TypeVar("T")


class Agreement(Protocol):
    """What the ranks that follow one model decide together."""

    leads: bool
    """Whether this rank looks and waits for the others."""

    def newest(self, newer: Callable[[], Dataset | None]) -> Dataset | None:
        """What ``newer()`` gives, if all ranks are given the same version."""
        ...

    def first(self, objection: T | None) -> T | None:
        """The objection of the lowest rank that has one."""
        ...

    def led(self, decision: bool) -> bool:
        """The decision of the rank that leads."""
        ...


class Alone:
    """One process, which asks nobody."""

    leads = True

    def newest(self, newer: Callable[[], Dataset | None]) -> Dataset | None:
        return newer()

    def first(self, objection: T | None) -> T | None:
        return objection

    def led(self, decision: bool) -> bool:
        return decision


class AmongRanks:
    """The ranks of an MPI communicator. Rank 0 looks; the others follow when there is news."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.leads = comm.Get_rank() == 0

    def newest(self, newer: Callable[[], Dataset | None]) -> Dataset | None:
        value = newer() if self.leads else None
        if not self._comm.bcast(value is not None):
            return None
        if not self.leads:
            value = newer()
        # A version published meanwhile reaches some ranks only: then all wait for the next look.
        seen = self._comm.allgather(None if value is None else _identity_of(value))
        return value if None not in seen and all(one == seen[0] for one in seen) else None

    def first(self, objection: T | None) -> T | None:
        objections: list[T | None] = self._comm.allgather(objection)
        return next((one for one in objections if one is not None), None)

    def led(self, decision: bool) -> bool:
        answer: bool = self._comm.bcast(decision)
        return answer


def agreement_of(comm: Any) -> Agreement:
    """The agreement among the ranks of a communicator, or with nobody."""
    return Alone() if comm is None else AmongRanks(comm)


def _identity_of(value: Dataset) -> tuple[Any, Any]:
    # The store's own token may differ between the nodes' stores.
    try:
        return value.attrs.get(VERSION), value.attrs.get(PUBLISHED)
    except CorruptDataError:
        return None, None  # all ranks then find it damaged
