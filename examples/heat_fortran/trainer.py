"""Learns, while the solver runs, how heat spreads: from a cell and its neighbours, its change.

That the plate was computed by several ranks is not to be seen here. The weights go back into the
solver, with the range of temperatures that they were trained on.

python trainer.py export plate.pt2         # the network as it begins, for the solver to load
DOVETAIL_STREAM_FIELDS=shm://plate DOVETAIL_STORE_MODELS=shm://plate-models python trainer.py
"""

import sys

import numpy as np
import torch

import dovetail as dv


def new_network():
    """One layer: all that a stencil takes. Put one of your own in its place."""
    network = torch.nn.Linear(5, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(network.weight)
    return network


def cells_of(u):
    """Every inner cell with its left, right, lower and upper neighbour, one row each."""
    inner = u[1:-1, 1:-1]
    around = [inner, u[:-2, 1:-1], u[2:, 1:-1], u[1:-1, :-2], u[1:-1, 2:]]
    return torch.from_numpy(np.stack(around, axis=-1).reshape(-1, 5))


def main():
    torch.set_num_threads(1)
    network = new_network()
    lower, upper = torch.zeros(5), torch.zeros(5)  # what was seen so far
    store = dv.open_store("models")
    steps = dv.open_stream("fields", "r")  # ends with the stream; a lost rank raises
    for taught, step in enumerate(steps, start=1):
        cells = cells_of(step["u"])
        change = torch.from_numpy(step["change"][1:-1, 1:-1].reshape(-1, 1))
        lower = torch.minimum(lower, cells.amin(0))
        upper = torch.maximum(upper, cells.amax(0))
        rate = 0.1 * len(cells) / (cells**2).sum(0).max().item()
        optimizer = torch.optim.SGD(network.parameters(), lr=rate)
        for _ in range(50):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(network(cells), change)
            loss.backward()
            optimizer.step()
        if taught % 5 == 0:
            room = 0.01
            seen = dv.InputRange(lower - room, upper + room)
            version = dv.publish_model(store, "plate", network, input_range=seen)
            print(
                f"trainer: step {step.attrs['step']}, plate {step['u'].shape}, "
                f"error {loss.item() ** 0.5:.1e}, version {version}"
            )
    cell, *neighbours = network.weight[0].tolist()
    print(f"trainer: a neighbour weighs {np.mean(neighbours):.3f}, the cell itself {cell:.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["export"]:
        dv.export_model(new_network(), torch.zeros(1, 5, dtype=torch.float64), sys.argv[2])
    else:
        main()
