"""One rank of an MPI job of these tests: ``python ranks.py ROLE URL [NUMBER...]``.

All programs of a job share MPI_COMM_WORLD; each has a communicator of its own, as a solver would.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time

import mpi4py
import numpy as np

if sys.argv[1:2] == ["serialized"]:
    mpi4py.rc.thread_level = "serialized"
from mpi4py import MPI

import dovetail as dv
from dovetail.testing.stream_fixtures import POLICIES, read_all, write
from dovetail.testing.values import unsealed
from dovetail.transport.ledger import replica

WORLD = MPI.COMM_WORLD
ROWS, COLUMNS = 12, 7
STEPS = 25
TIMEOUT = 60


def program() -> MPI.Comm:
    """The ranks of this program of the job."""
    return WORLD.Split(WORLD.Get_attr(MPI.APPNUM) or 0, WORLD.rank)


def rows_of(comm: MPI.Comm) -> tuple[int, int]:
    first = comm.rank * ROWS // comm.size
    return first, (comm.rank + 1) * ROWS // comm.size - first


def field(step: int) -> np.ndarray:
    return step * 1000.0 + np.arange(ROWS * COLUMNS, dtype=float).reshape(ROWS, COLUMNS)


def write_blocks(url: str) -> None:
    comm = program()
    first, count = rows_of(comm)
    for number, policy in enumerate(POLICIES):
        with dv.open_stream(f"{url}-{number}", "w", policy=policy, comm=comm, readers=1) as out:
            for index in range(STEPS):
                with out.step(attrs={"writer": comm.rank}) as step:
                    mine = field(index)[first : first + count]
                    block = np.asfortranarray(mine) if comm.rank % 2 else mine
                    step.put("u", block, shape=(ROWS, COLUMNS), start=(first, 0))
                    step["ranks"] = np.array([comm.rank])


def read_blocks(url: str) -> None:
    comm = program()
    first, count = rows_of(comm)
    for number, policy in enumerate(POLICIES):
        with dv.open_stream(f"{url}-{number}", "r", comm=comm, timeout=TIMEOUT) as reader:
            seen = []
            for step in reader:
                part = step.read("u", start=(first, 0), count=(count, COLUMNS))
                assert (part == field(step.index)[first : first + count]).all()
                assert (step["u"] == field(step.index)).all()
                assert step["ranks"].tolist() == list(range(len(step["ranks"])))
                assert step.attrs == {"writer": 0}
                seen.append(step.index)
        everywhere = comm.gather(seen)
        if comm.rank == 0:
            assert all(steps == seen for steps in everywhere), everywhere
            if policy.kind == "latest":
                assert seen == sorted(set(seen))
                assert seen[-1] == STEPS - 1
            else:
                assert seen == list(range(STEPS))
            print("read", policy, flush=True)


def deal(url: str) -> None:
    """Write a work queue, and see that each step was dealt once."""
    with dv.open_stream(url, "w", policy=dv.work_queue(3), readers=WORLD.size - 1) as out:
        for number in range(100):
            write(out, number, 10_000)
    shares = [WORLD.recv(source=rank, tag=1) for rank in range(1, WORLD.size)]
    assert sorted(itertools.chain(*shares)) == list(range(100)), shares
    assert all(shares), shares
    print("dealt to", len(shares), flush=True)


def work(url: str) -> None:
    with dv.open_stream(url, "r") as reader:
        WORLD.send(read_all(reader), 0, tag=1)


def write_and_fail(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(5)) as out:
        write(out, 0)
        write(out, 1)
        raise ZeroDivisionError("the solver has diverged")


def write_and_leave_open(url: str) -> None:
    """End without a word to the stream."""
    out = dv.open_stream(url, "w", policy=dv.buffered(5), readers=1)
    write(out, 0)


def write_and_die(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(5), readers=1) as out:
        write(out, 0)
        os.kill(os.getpid(), signal.SIGKILL)


def read_until_lost(url: str) -> None:
    seen = []
    with contextlib.suppress(dv.PeerLostError), dv.open_stream(url, "r") as reader:
        seen.extend(unsealed(step) for step in reader)
        print("a loss looked like the end", flush=True)
    print("lost after", seen, flush=True)


def write_until_lost(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.lockstep(), readers=1, timeout=3) as out:
        try:
            for number in range(100):
                write(out, number)
        except dv.PeerLostError as error:
            print("lost:", error, flush=True)


def read_and_fail(url: str) -> None:
    with contextlib.suppress(ZeroDivisionError), dv.open_stream(url, "r") as reader:
        unsealed(next(reader))
        raise ZeroDivisionError


def simulate(url: str) -> None:
    """Write fields, and read what the other side has made of each."""
    comm = program()
    with (
        dv.open_stream(f"{url}-fields", "w", comm=comm) as fields,
        dv.open_stream(f"{url}-weights", "r", comm=comm) as weights,
    ):
        for index in range(30):
            with fields.step() as step:
                step["u"] = np.full(1000, index * (comm.rank + 1.0))
            total = next(weights)["total"]
            assert total == index * 1000 * sum(range(1, comm.size + 1)), (index, total)
    print("answered", flush=True)


def train(url: str) -> None:
    comm = program()
    with (
        dv.open_stream(f"{url}-fields", "r", comm=comm) as fields,
        dv.open_stream(f"{url}-weights", "w", comm=comm) as weights,
    ):
        for step in fields:
            with weights.step() as answer:
                if comm.rank == 0:
                    answer["total"] = np.array(step["u"].sum())


def write_sealed(url: str, steps: str, count: str, window: str = "2") -> None:
    """Write sealed steps, and be busy with other messages while they are fetched."""
    policy = dv.buffered(int(window))
    with dv.open_stream(url, "w", policy=policy, timeout=TIMEOUT) as out:
        for number in range(int(steps)):
            write(out, number, int(count))
    assert WORLD.recv(source=WORLD.size - 1, tag=3) == "read"


def write_long(url: str, steps: str) -> None:
    """Write on and on: the log of the stream is continued in another one many times."""
    replica.LOG_LENGTH = 50
    write_sealed(url, steps, "10", "3")


def read_sealed(url: str, steps: str) -> None:
    with dv.open_stream(url, "r", timeout=TIMEOUT) as reader:
        assert read_all(reader) == list(range(int(steps)))
    print("read", steps, flush=True)
    WORLD.send("read", 0, tag=3)


def fill_in_place(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(1), readers=1) as out:
        for index in range(6):
            with out.step() as step:
                u = step.empty("u", (1 << 20,), "f8")
                u[:] = index
                part = u[10:20]
            with contextlib.suppress(ValueError):
                part[:] = -1


def read_filled(url: str) -> None:
    held = []
    with dv.open_stream(url, "r") as reader:
        held.extend(step["u"] for step in reader)
    for index, u in enumerate(held):
        assert (u == index).all(), index
    print("held", len(held), flush=True)


def write_and_end(url: str) -> None:
    """Write what the policy holds, and come to the end of the program before anybody reads."""
    with dv.open_stream(url, "w", policy=dv.buffered(4)) as out:
        for number in range(4):
            write(out, number, 100_000)
    WORLD.send("closed", WORLD.size - 1, tag=2)


def write_and_finalize(url: str) -> None:
    write_and_end(url)
    MPI.Finalize()
    for mode in ("r", "w"):
        with contextlib.suppress(dv.EngineUnavailableError):
            dv.open_stream(url, mode, timeout=1)
            print("opened after the end of MPI", flush=True)


def read_late(url: str) -> None:
    assert WORLD.recv(source=0, tag=2) == "closed"
    with dv.open_stream(url, "r") as reader:
        assert read_all(reader) == [0, 1, 2, 3]
    print("read late", flush=True)


def nothing(url: str) -> None:
    """A program that knows nothing of streams."""
    WORLD.Barrier()


def write_beside(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(2), readers=1) as out:
        for number in range(5):
            write(out, number)
    WORLD.Barrier()


def read_beside(url: str) -> None:
    with dv.open_stream(url, "r") as reader:
        print("read", read_all(reader), flush=True)
    WORLD.Barrier()


def open_in_vain(url: str) -> None:
    for mode in ("w", "r"):
        started = time.monotonic()
        try:
            dv.open_stream(url, mode, timeout=1)
        except dv.TransportTimeoutError as error:
            assert time.monotonic() - started < 30
            print(mode, "in vain:", error, flush=True)
    WORLD.Barrier()


def write_among_wildcards(url: str) -> None:
    """Write while a receive of anything is posted on MPI_COMM_WORLD."""
    anything = WORLD.irecv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG)
    with dv.open_stream(url, "w", policy=dv.buffered(2), readers=1) as out:
        for number in range(20):
            write(out, number, 100_000)
    WORLD.send("for you", (WORLD.rank + 1) % WORLD.size, tag=5)
    assert anything.wait() == "for you"


def read_among_wildcards(url: str) -> None:
    anything = WORLD.irecv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG)
    with dv.open_stream(url, "r") as reader:
        assert read_all(reader) == list(range(20))
    WORLD.send("for you", (WORLD.rank + 1) % WORLD.size, tag=5)
    assert anything.wait() == "for you"
    print("unharmed", flush=True)


def serialized(url: str) -> None:
    try:
        dv.open_stream(url, "w", timeout=1)
    except dv.EngineUnavailableError as error:
        print("unfit:", error, flush=True)


def describe(url: str) -> None:
    """Look on from a process that takes no part otherwise."""
    with dv.open_stream(url, "w", policy=dv.buffered(3)) as out:
        write(out, 0)
        WORLD.Barrier()
        WORLD.Barrier()
        assert out.stopped


def look_on(url: str) -> None:
    WORLD.Barrier()
    seen = dv.describe_stream(url)
    assert (seen.state, seen.steps_complete, seen.groups) == ("open", 1, ())
    assert unsealed(next(dv.tail_stream(url, timeout=TIMEOUT))) == 0
    dv.open_stream(url, "r").stop()
    print("looked on", flush=True)
    WORLD.Barrier()


def lead(url: str) -> None:
    """Keep the logs of others' streams, as long as they write to this one."""
    with dv.open_stream(url, "r", timeout=None) as reader:
        assert read_all(reader) == []


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
