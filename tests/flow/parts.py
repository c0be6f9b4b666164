"""Components for the tests of workflows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import dovetail as dv

FOREVER = 600.0


def succeed() -> None:
    print("worked")


def say(text: str, *, times: int = 1) -> None:
    for _ in range(times):
        print(text)


def fail(message: str = "it broke") -> None:
    raise ValueError(message)


def leave(status: int) -> None:
    sys.exit(status)


async def put_off() -> None:
    print("never said")


def put_off_too() -> Iterator[int]:
    yield 1


def last() -> None:
    time.sleep(FOREVER)


def tell() -> None:
    """What the component knows of itself, as one line."""
    here = dv.this_component()
    print(
        here.name, here.rank, here.size, here.attempt, here.run == Path(os.environ["DOVETAIL_RUN"])
    )


def tell_cores() -> None:
    print(*sorted(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS"))


def fail_until(attempt: int) -> None:
    here = dv.this_component()
    (here.checkpoints / str(here.attempt)).touch()
    print("attempt", here.attempt, "finds", sorted(p.name for p in here.checkpoints.iterdir()))
    if here.attempt < attempt:
        raise ValueError("not yet")


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.005)


def serve_politely() -> None:
    try:
        touch("ready")
        last()
    finally:
        print("put in order")


def serve_rudely() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    touch("deaf")
    last()


def serve_badly() -> None:
    try:
        touch("ready")
        last()
    finally:
        raise ValueError("broke while ending")


def touch(name: str) -> None:
    (dv.this_component().run / name).touch()


def serve_then_end_after(stream: str, before: str) -> None:
    """A service that must outlive another."""
    with dv.open_stream(stream, "w", policy=dv.latest()) as out:
        try:
            while True:
                with out.step() as step:
                    step["u"] = np.zeros(1)
                time.sleep(0.01)
        finally:
            print("the reader had ended:", (dv.this_component().run / before).exists())


def follow(stream: str, mark: str) -> None:
    try:
        for _ in dv.open_stream(stream, "r"):
            touch("seen")
    finally:
        time.sleep(0.2)
        touch(mark)


def rank_1_fails() -> None:
    if dv.this_component().rank == 1:
        raise ValueError("rank 1 broke")
    last()


def write_steps(stream: str, steps: int) -> None:
    with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
        for number in range(steps):
            with out.step() as step:
                step["u"] = np.full(10, float(number))


def read_steps(stream: str, store: str) -> None:
    with dv.open_store(store) as values, dv.open_stream(stream, "r") as steps:
        for step in steps:
            values.put("last", step["u"])
        print("last", values.get_array("last")[0])


def read_and_die_at_first(stream: str) -> None:
    """Reads ten steps; is killed after three of them at its first attempt."""
    with dv.open_stream(stream, "r") as steps:
        for count, step in enumerate(steps):
            if count == 3 and dv.this_component().attempt == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if count == 10:
                print("went on at step", step.index)
                break


def write_and_die_at_first(stream: str, steps: int) -> None:
    attempt = dv.this_component().attempt
    with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
        for number in range(steps):
            if number == 3 and attempt == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            with out.step() as step:
                step["u"] = np.full(1, float(attempt))


def read_and_open_again(stream: str) -> None:
    values: list[float] = []
    for _ in range(2):
        try:
            with dv.open_stream(stream, "r") as steps:
                values.extend(float(step["u"][0]) for step in steps)
                break
        except dv.PeerLostError:
            print("lost the writer")
    print("read", values)


def write_and_break(stream: str) -> None:
    with dv.open_stream(stream, "w") as out:
        with out.step() as step:
            step["u"] = np.zeros(1)
        raise RuntimeError("the cause")


def open_undeclared(name: str) -> None:
    dv.open_stream(name, "r")


def mpi_sum() -> None:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    here = dv.this_component()
    print(
        "sum",
        comm.allreduce(comm.rank),
        "of",
        comm.size,
        (here.rank, here.size) == (comm.rank, comm.size),
    )


def mpi_rank_1_fails() -> None:
    from mpi4py import MPI

    print_segments()
    if MPI.COMM_WORLD.rank == 1:
        raise ValueError("rank 1 broke")
    MPI.COMM_WORLD.barrier()


def mpi_serve() -> None:
    from mpi4py import MPI

    print_segments()
    MPI.COMM_WORLD.barrier()
    serve_politely()


def print_segments() -> None:
    """The shared memory that this process has mapped, a line each."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    for name in {line.split()[-1] for line in lines if "/dev/shm/" in line}:
        print("segment", name)
    sys.stdout.flush()


def share_semaphores() -> None:
    """A pool whose semaphores have names, and nobody left to remove them."""
    import multiprocessing
    from multiprocessing import resource_tracker

    lock = multiprocessing.get_context("spawn").Lock()
    os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)  # type: ignore[attr-defined]
    print_segments()
    touch("ready")
    with lock:
        last()


def chatter(megabytes: int) -> None:
    line = "x" * 1023
    for _ in range(megabytes * 1024):
        print(line)
    raise ValueError("after all that")


def with_a_thread() -> None:
    import threading

    threading.Thread(target=last).start()
    raise ValueError("a thread is left")


def start_a_daemon(mark: str) -> None:
    """Forks twice, in a session of its own, deaf to SIGTERM and without our environment."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execve(sys.executable, [sys.executable, "-c", DAEMON, mark], {})
        os._exit(0)
    os.wait()
    wait_for(mark)


DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + '.part', 'w').write(str(os.getpid()))
os.rename(sys.argv[1] + '.part', sys.argv[1])
time.sleep(600)
"""


def start_a_daemon_and_fail(mark: str) -> None:
    start_a_daemon(mark)
    raise ValueError("broke with a daemon about")


def start_a_daemon_and_last(mark: str) -> None:
    start_a_daemon(mark)
    last()


def start_a_child_and_last(mark: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER})"])
    Path(mark).write_text(str(child.pid))
    last()


def show() -> None:
    dv.exhibit(
        "Energy spectra",
        text="They agree.",
        table=(["case", "horizon"], [["learned", np.float32(1.5)], ["none", float("nan")]]),
        order=20,
    )
