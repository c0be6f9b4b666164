"""Training inside the solver: called by rod.f90 after every step, on every rank.

The ranks hold the same network. Each computes the gradient on its own part of the rod, and they
average it over the solver's own communicator: so all take the same step, and stay the same.
"""

import torch
from mpi4py import MPI

torch.manual_seed(0)  # the same network on every rank
torch.set_num_threads(1)  # each rank has a processor of its own
network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)


def train(u, change, communicator):
    """One step of training. u is the solver's own, with a cell of each neighbour at its ends."""
    comm = MPI.Comm.f2py(communicator)
    stencils = torch.from_numpy(u).unfold(0, 3, 1).float()  # of each cell: left, itself, right
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(network(stencils)[:, 0], torch.from_numpy(change).float())
    loss.backward()
    for parameter in network.parameters():
        comm.Allreduce(MPI.IN_PLACE, parameter.grad.numpy())
        parameter.grad /= comm.size
    optimizer.step()
    return {
        "ranks": comm.size,
        "loss": comm.allreduce(loss.item()) / comm.size,
        "weights": sum(parameter.abs().sum().item() for parameter in network.parameters()),
    }
