"""Ranks of the fault tests of ``mpi://``: ``python mpi_ranks.py ROLE KIND WINDOW TRIALS SEED``.

Rank 0 writes, leads, and says how many trials were sound; each of the others reads.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time

from faults import engine_roles
from mpi4py import MPI

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.stream_fixtures import write
from dovetail.testing.stream_roles import policy_of
from dovetail.testing.values import unsealed

WORLD = MPI.COMM_WORLD
LATEST = 0.02
"""Seconds after which an end is opened at the latest."""


def url_of(trial: int) -> str:
    return f"mpi://faults-{trial}"


def check(sound: bool, what: object) -> None:
    """End the whole job if something is not as it should be."""
    if not sound:
        print(f"rank {WORLD.rank}: {what}", flush=True)
        WORLD.Abort(1)


def check_all(policy: dv.Policy, seen: list[int], steps: int) -> None:
    """What one reader must have seen of so many steps."""
    if policy.kind == "latest":
        check(seen == sorted(set(seen)) and seen[-1] == steps - 1, seen)
    else:
        check(seen == list(range(steps)), seen)


def either_end_first(policy: dv.Policy, trial: int, chance: random.Random) -> None:
    time.sleep(chance.uniform(0, LATEST))
    if WORLD.rank == 0:
        engine_roles.write_all(url_of(trial), policy, 10)
    else:
        check_all(policy, engine_roles.read_to_the_end(url_of(trial)), 10)


def left_by_an_exception(policy: dv.Policy, trial: int, chance: random.Random) -> None:
    """The readers get every complete step, and hear of the failure."""
    steps = 1 + trial % 5
    if WORLD.rank == 0:
        with contextlib.suppress(ZeroDivisionError):
            with dv.open_stream(url_of(trial), "w", policy=policy, readers=1) as out:
                for number in range(steps):
                    write(out, number, 100)
                raise ZeroDivisionError
        return
    seen: list[int] = []
    with contextlib.suppress(dv.PeerLostError), dv.open_stream(url_of(trial), "r") as reader:
        seen.extend(unsealed(step) for step in reader)
        check(sound=False, what="a failure looked like a clean end")
    check_all(policy, seen, steps)


def slow_reader(policy: dv.Policy, trial: int, chance: random.Random) -> None:
    """Rank 1 is fast, rank 2 is not."""
    if WORLD.rank == 0:
        with dv.open_stream(url_of(trial), "w", policy=policy, readers=2) as out:
            for number in range(20):
                write(out, number, 100)
        seen = [WORLD.recv(source=rank, tag=trial) for rank in (1, 2)]
        if policy.kind == "work_queue":
            check(sorted(seen[0] + seen[1]) == list(range(20)), seen)
        return
    pause = chance.uniform(0.002, 0.01) if WORLD.rank == 2 else 0.0
    with dv.open_stream(url_of(trial), "r", timeout=PATIENCE) as reader:
        numbers = engine_roles.read_slowly(reader, pause)
    if policy.kind != "work_queue":
        check_all(policy, numbers, 20)
    WORLD.send(numbers, 0, tag=trial)


def killed(policy: dv.Policy, trial: int, chance: random.Random) -> None:
    """A rank is killed at a random moment: the job ends, and no reader sees a clean end."""
    victim = chance.randrange(WORLD.size)
    end = time.monotonic() + chance.uniform(0, LATEST)
    with contextlib.suppress(dv.PeerLostError):
        if WORLD.rank == 0:
            with dv.open_stream(url_of(trial), "w", policy=policy) as out:
                number = 0
                while True:
                    write(out, number, 1000)
                    number += 1
                    if victim == 0 and time.monotonic() > end:
                        os.kill(os.getpid(), signal.SIGKILL)
        with dv.open_stream(url_of(trial), "r") as reader:
            for step in reader:
                unsealed(step)
                if WORLD.rank == victim and time.monotonic() > end:
                    os.kill(os.getpid(), signal.SIGKILL)
        check(sound=False, what="a kill looked like a clean end")


def main() -> None:
    role, kind, window, trials, seed = sys.argv[1:]
    policy = policy_of(kind, int(window))
    chance = random.Random(f"{seed}-{WORLD.rank if role != 'killed' else 'all'}")
    for trial in range(int(trials)):
        globals()[role](policy, trial, chance)
        WORLD.Barrier()
        if WORLD.rank == 0:
            print("sound", trial, flush=True)


if __name__ == "__main__":
    main()
