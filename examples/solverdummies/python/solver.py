"""A tiny solver in Python: heat spreads over a plate, and a trainer watches.

DOVETAIL_STREAM_FIELDS=shm://plate python solver.py
"""

import numpy as np

import dovetail as dv

NX, NY, STEPS = 32, 32, 50
DIFFUSIVITY = 0.1


def change_of(u):
    """How much the heat of each cell changes in one step. The edge is kept at 0."""
    change = np.zeros_like(u)
    change[1:-1, 1:-1] = DIFFUSIVITY * (
        u[1:-1, :-2] + u[1:-1, 2:] + u[:-2, 1:-1] + u[2:, 1:-1] - 4 * u[1:-1, 1:-1]
    )
    return change


def main():
    u = np.zeros((NY, NX))
    u[NY // 2, NX // 3] = 1.0

    # Up to 4 steps may wait for the trainer. If an exception passes, the trainer hears of it.
    with dv.open_stream("fields", "w", policy=dv.buffered(4)) as out:
        for n in range(STEPS):
            change = change_of(u)
            with out.step(attrs={"step": n}) as step:
                step["u"] = u
                step["change"] = change
            u = u + change
    print(f"solver: {STEPS} steps")


if __name__ == "__main__":
    main()
