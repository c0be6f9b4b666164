"""The ranks of an MPI program share a model: ``python shared_mpi.py PATH``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from model.inputs import inputs_of
from mpi4py import MPI

import dovetail as dv

STEPS = 20


def main(path: str) -> None:
    comm = MPI.COMM_WORLD
    # So long that nobody is ever given up: each step is one run for all ranks.
    with dv.load_model(path, device="cpu", threads=1, shared=True, gather=60) as model:
        processes = comm.allgather(model.statistics().process)
        assert len(set(processes)) == 1, processes
        own = dv.load_model(path, device="cpu", threads=1)
        for step in range(STEPS):
            inputs = inputs_of(comm.rank + 1, seed=step)
            np.testing.assert_allclose(model(*inputs)[0], own(*inputs)[0], rtol=1e-4, atol=1e-5)
        comm.Barrier()
        statistics = model.statistics()
        comm.Barrier()
    assert statistics.calls == STEPS
    assert comm.size == 1 or statistics.joined == STEPS, statistics
    if comm.rank == 0:
        print("ranks", statistics.ranks, "runs", statistics.runs)


if __name__ == "__main__":
    main(sys.argv[1])
