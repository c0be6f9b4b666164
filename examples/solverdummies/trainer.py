"""Learns, while a solver runs, how heat spreads: from one field, the change of the next step.

The model is a stencil of 3 by 3 weights, trained by stochastic gradient descent. It does not know
in which language the solver was written.

DOVETAIL_STREAM_FIELDS=shm://plate python trainer.py
"""

import numpy as np

import dovetail as dv


def patches_of(u):
    """The 3 by 3 neighbours of every inner cell, one row each."""
    windows = np.lib.stride_tricks.sliding_window_view(u, (3, 3))
    return windows.reshape(-1, 9)


def main():
    weights = np.zeros(9)
    for step in dv.open_stream("fields", "r"):  # ends with the stream; a lost solver raises
        patches = patches_of(step["u"])  # views of the solver's own memory: nothing was copied
        target = step["change"][1:-1, 1:-1].ravel()
        scale = (patches**2).sum(axis=0).max()
        for _ in range(200):
            error = patches @ weights - target
            weights -= patches.T @ error / (9 * scale)
        if step.attrs["step"] % 10 == 9:
            print(f"trainer: step {step.attrs['step']}, error {np.abs(error).max():.1e}")
    print(f"trainer: a neighbour weighs {weights[1]:.3f}, the cell itself {weights[4]:.3f}")


if __name__ == "__main__":
    main()
