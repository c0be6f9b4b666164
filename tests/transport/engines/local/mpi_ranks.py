"""One rank of an MPI program of these tests: ``python mpi_ranks.py ROLE URL``."""

from __future__ import annotations

import sys

import numpy as np
from mpi4py import MPI

import dovetail as dv

STEPS = 40
COLUMNS = 7
ROWS = 12
"""Rows of the global array, dealt to the writer ranks as evenly as they go."""


def rows_of(rank: int, size: int) -> tuple[int, int]:
    first = rank * ROWS // size
    return first, (rank + 1) * ROWS // size - first


def field(step: int) -> np.ndarray:
    return step * 1000.0 + np.arange(ROWS * COLUMNS, dtype=float).reshape(ROWS, COLUMNS)


def write(url: str) -> None:
    comm = MPI.COMM_WORLD
    first, count = rows_of(comm.rank, comm.size)
    with dv.open_stream(url, "w", policy=dv.buffered(3), comm=comm, timeout=30) as out:
        for index in range(STEPS):
            with out.step(attrs={"writer": comm.rank}) as step:
                mine = field(index)[first : first + count]
                block = np.asfortranarray(mine) if comm.rank % 2 else mine
                step.put("u", block, shape=(ROWS, COLUMNS), start=(first, 0))
                step["ranks"] = np.array([comm.rank])


def read(url: str) -> None:
    comm = MPI.COMM_WORLD
    first, count = rows_of(comm.rank, comm.size)
    seen = []
    with dv.open_stream(url, "r", comm=comm, timeout=30) as reader:
        for step in reader:
            part = step.read("u", start=(first, 0), count=(count, COLUMNS))
            assert (part == field(step.index)[first : first + count]).all()
            assert (step["u"] == field(step.index)).all()
            assert step["ranks"].tolist() == list(range(len(step["ranks"])))
            assert step.attrs == {"writer": 0}
            seen.append(step.index)
    everywhere = comm.gather(seen)
    if comm.rank == 0:
        assert everywhere is not None
        assert all(steps == list(range(STEPS)) for steps in everywhere)
        print("steps", len(seen))


def refuse(url: str) -> None:
    try:
        dv.open_stream(url, "w", comm=MPI.COMM_WORLD, timeout=10)
    except dv.CapabilityError as error:
        print("refused", error)


if __name__ == "__main__":
    {"write": write, "read": read, "refuse": refuse}[sys.argv[1]](sys.argv[2])
