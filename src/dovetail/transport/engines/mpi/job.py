"""The MPI library, as it must be, and the communicator over which a job's processes talk."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from typing import Any, Literal, NamedTuple

from dovetail.errors import EngineUnavailableError, TransportTimeoutError
from dovetail.transport.deadlines import Deadline

Context = Literal["world", "private"]
"""Whether messages travel over MPI_COMM_WORLD itself, or over a copy of it."""
INSTALL = "pip install mpi4py, beside the MPI of your system (without one: pip install mpich)"
_LEVELS = ("MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED", "MPI_THREAD_SERIALIZED")
_GLANCE = 0.001
"""Seconds between two looks whether all processes have come."""


class Job(NamedTuple):
    """The processes of an MPI job, and the tags that are ours among them."""

    mpi: Any
    """The module ``mpi4py.MPI``."""
    comm: Any
    rank: int
    size: int
    mail_tag: int
    """Of every message; those of bodies lie below it."""


def missing() -> str | None:
    """Why streams over MPI cannot run here, as far as can be told without loading MPI."""
    if importlib.util.find_spec("mpi4py") is None:
        return INSTALL
    if "mpi4py.MPI" in sys.modules:
        return _unfit(sys.modules["mpi4py.MPI"])
    return None


def library() -> Any:
    """The module ``mpi4py.MPI``; to import it initialises MPI.

    Raises
    ------
    EngineUnavailableError
        If it is not there, or MPI was initialised so that it cannot serve.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: it finds no MPI library
        raise EngineUnavailableError(f"mpi:// needs mpi4py ({error}): {INSTALL}") from error
    why = _unfit(MPI)
    if why is not None:
        raise EngineUnavailableError(why)
    return MPI


def _unfit(mpi: Any) -> str | None:
    if mpi.Is_finalized():
        return "MPI is finalized: open mpi:// streams before MPI_Finalize"
    if not mpi.Is_initialized():
        return (
            "MPI is not initialised: call MPI.Init_thread() before an mpi:// stream is opened, or "
            "leave it to mpi4py (mpi4py.rc.initialize)"
        )
    level = mpi.Query_thread()
    if level < mpi.THREAD_MULTIPLE:
        return (
            f"mpi:// needs MPI_THREAD_MULTIPLE, and MPI was initialised with {_LEVELS[level]}: "
            f"call MPI_Init_thread(…, MPI_THREAD_MULTIPLE, …) in the program that initialises it; "
            f"for mpi4py leave mpi4py.rc.thread_level at 'multiple'"
        )
    return None


def enter(context: Context, deadline: Deadline) -> Job:
    """The job, with the communicator of a context.

    Raises
    ------
    EngineUnavailableError
    TransportTimeoutError
        If not all processes of the job have asked for a private communicator in time.
    """
    mpi = library()
    comm = mpi.COMM_WORLD if context == "world" else _private.communicator(mpi, deadline)
    return Job(mpi, comm, comm.Get_rank(), comm.Get_size(), comm.Get_attr(mpi.TAG_UB))


class _Private:
    """A copy of MPI_COMM_WORLD, made once a process together with all others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copy: Any = None
        self._request: Any = None

    def communicator(self, mpi: Any, deadline: Deadline) -> Any:
        with self._lock:
            if self._request is None:
                self._copy, self._request = mpi.COMM_WORLD.Idup()
            while not self._request.Test():
                if deadline.passed:
                    raise TransportTimeoutError(
                        f"not every process of the MPI job has opened an mpi:// stream with "
                        f"context=private within {deadline}: all {mpi.COMM_WORLD.Get_size()} must, "
                        f"at the same place among their collective calls. Or leave the option out"
                    )
                time.sleep(_GLANCE)
            return self._copy


_private = _Private()
