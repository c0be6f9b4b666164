"""The ranks of a solver that follow one model: ``python mpi_ranks.py URL``."""

from __future__ import annotations

import sys
import warnings

import numpy as np
from mpi4py import MPI

import dovetail as dv

VERSIONS = 60
BAD = 7
"""Every seventh version is refused by the gate of one rank alone."""


def main(url: str) -> None:
    comm = MPI.COMM_WORLD
    warnings.simplefilter("ignore")

    def gate(candidate: object, attrs: object) -> bool:
        return comm.rank != comm.size - 1 or attrs["number"] % BAD != 0  # type: ignore[index]

    with dv.open_store(url) as store:
        model = dv.FollowedModel(store, "m", {"w": np.zeros(100)}, gate=gate, comm=comm)
        if comm.rank == 0:
            dv.publish_model(store, "m", {"w": np.ones(100)}, {"number": 1})
        assert model.wait(60) == 1
        taken = 0
        for number in range(2, VERSIONS + 1):
            if comm.rank == number % comm.size:  # it publishes while the others refresh already
                dv.publish_model(store, "m", {"w": np.full(100, float(number))}, {"number": number})
            taken += model.refresh()
            seen = comm.allgather((model.version, model.model["w"].tolist()))
            assert all(one == seen[0] for one in seen), "the ranks are in different versions"
            assert model.attrs["number"] % BAD != 0
        while model.refresh():
            pass
        counts = comm.allgather((model.version, model.statistics().refused_by_reason, taken))
        assert all(one == counts[0] for one in counts)
    if comm.rank == 0:
        print("version", *counts[0])


if __name__ == "__main__":
    main(sys.argv[1])
