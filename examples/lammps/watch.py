"""Reads positions and forces from a simulation that runs: all atoms, however many ranks there are.

DOVETAIL_STREAM_ATOMS=shm://atoms python watch.py
"""

import numpy as np

import dovetail as dv

for step in dv.open_stream("atoms", "r"):
    order = np.argsort(step["id"])  # atoms wander between ranks
    x, f = step["x"][order], step["f"][order]
    strongest = np.linalg.norm(f, axis=1).max()
    print(
        f"time step {step.attrs['time_step']}: {len(x)} atoms, net force "
        f"{abs(f.sum(axis=0)).max():.0e}, strongest {strongest:.2f}"
    )
