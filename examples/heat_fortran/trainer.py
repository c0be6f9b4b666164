"""Learns, while the solver runs, how heat spreads: from 3 by 3 neighbours, the change of a cell.

The model is a stencil of 9 weights, trained by stochastic gradient descent. That the plate was
computed by several ranks is not to be seen here.

DOVETAIL_STREAM_FIELDS=shm://plate python trainer.py
"""

import numpy as np

import dovetail as dv


def patches_of(u):
    """The 3 by 3 neighbours of every inner cell, one row each."""
    return np.lib.stride_tricks.sliding_window_view(u, (3, 3)).reshape(-1, 9)


def main():
    weights = np.zeros(9)
    for step in dv.open_stream("fields", "r"):  # ends with the stream; a lost rank raises
        patches = patches_of(step["u"])
        target = step["change"][1:-1, 1:-1].ravel()
        scale = (patches**2).sum(axis=0).max()
        for _ in range(50):
            error = patches @ weights - target
            weights -= patches.T @ error / (9 * scale)
        number = step.attrs["step"]
        if number % 20 == 19:
            print(
                f"trainer: step {number}, plate {step['u'].shape}, error {np.abs(error).max():.1e}"
            )
    print(f"trainer: a neighbour weighs {weights[1]:.3f}, the cell itself {weights[4]:.3f}")


if __name__ == "__main__":
    main()
