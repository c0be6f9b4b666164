"""The closure example's network keeps the symmetries that it claims, and training is as it says."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest

if not all(map(importlib.util.find_spec, ("torch", "fluidsim"))):
    pytest.skip("needs torch and fluidsim: pip install torch fluidsim", allow_module_level=True)

import torch
from cases import CASES
from closure import INPUTS, SYMMETRIES, ClosureNetwork, InTheLoop, image
from coarse import CoarseGrid
from evaluation import horizons
from filtering import SubgridFilter
from samples import Recording
from spectral import PeriodicGrid
from training import Training

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of fluidsim's own imports
    from dns import Simulation

CASE = CASES["quick"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_the_closure_of_a_shifted_flow_is_the_shifted_closure() -> None:
    network, flow = ClosureNetwork().double(), torch.randn(1, INPUTS, 24, 24, dtype=torch.float64)
    shift = {"shifts": (5, -7), "dims": (-2, -1)}
    with torch.no_grad():
        np.testing.assert_allclose(
            network(flow.roll(**shift)), network(flow).roll(**shift), atol=1e-12
        )


def test_the_closure_is_small() -> None:
    parameters = sum(parameter.numel() for parameter in ClosureNetwork().parameters())
    assert 5_000 <= parameters <= 20_000


def test_the_closure_of_any_grid_has_its_shape() -> None:
    assert ClosureNetwork()(torch.zeros(2, INPUTS, 12, 20)).shape == (2, 1, 12, 20)


def test_in_the_loop_the_closure_moves_no_mean_and_no_unresolved_mode() -> None:
    grid = CoarseGrid(24)
    vorticity_hat = grid.transform(torch.randn(3, 24, 24))
    with torch.no_grad():
        modelled = InTheLoop(grid, ClosureNetwork())(vorticity_hat)
    assert modelled.shape == vorticity_hat.shape
    assert float((modelled * (1 - grid.resolved)).abs().max()) == 0.0
    assert float(modelled.abs().max()) > 0.0


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_the_image_of_a_sample_is_a_sample(symmetry: int) -> None:
    fine, subgrid_filter = PeriodicGrid(32), SubgridFilter(32, 16)
    noise = np.random.default_rng(0).standard_normal((32, 32))
    vorticity_hat = fine.resolved * fine.transform(noise)
    mirrored_hat = fine.transform(image(torch.from_numpy(fine.field(vorticity_hat)), symmetry))
    for of in (subgrid_filter.filtered, subgrid_filter.subgrid_forcing):
        sample, mirrored = (
            subgrid_filter.coarse.field(of(h)) for h in (vorticity_hat, mirrored_hat)
        )
        np.testing.assert_allclose(image(torch.from_numpy(sample), symmetry), mirrored, atol=1e-12)


def test_the_images_are_all_different() -> None:
    field = torch.arange(36.0).reshape(6, 6)
    images = {tuple(image(field, symmetry).flatten().tolist()) for symmetry in range(SYMMETRIES)}
    assert len(images) == SYMMETRIES


def windows(count: int) -> dict[str, torch.Tensor]:
    n, length = CASE.coarse_points, CASE.window
    return {
        "vorticity": torch.randn(count, length + 1, n, n),
        "forcing": torch.randn(count, length, 12, 12),
        "subgrid_forcing": torch.randn(count, n, n),
    }


def test_training_looks_further_ahead_the_longer_it_goes_on() -> None:
    training, looks = Training(CASE), []
    for tenth in range(11):
        training.progress.done = tenth / 10
        looks.append(training.unrolled)
    assert looks == sorted(looks)
    assert looks[0] == 1
    assert looks[-1] == CASE.window
    assert training.finished


def test_gradient_steps_on_windows_of_a_simulation_halve_the_error() -> None:
    simulation = Simulation(CASE, seed=5)
    simulated = [simulation.next_window() for _ in range(2)]
    batch = {
        name: torch.from_numpy(np.stack([window[name] for window in simulated]))
        for name in simulated[0]
    }
    training = Training(CASE)
    losses = [training.gradient_step(**batch) for _ in range(30)]
    assert np.mean(losses[:5]) == pytest.approx(1.0, abs=0.1)  # in units of Pi: no closure
    assert np.mean(losses[-5:]) < 0.5
    assert training.progress.gradient_steps == 30


def test_what_is_published_is_said_to_hold_where_it_was_trained() -> None:
    training, batch = Training(CASE), windows(2)
    training.gradient_step(**batch)
    allowed = training.input_range
    grid = training.solver.grid
    gradients = grid.velocity_gradient(grid.transform(batch["vorticity"]))
    lower, upper = np.asarray(allowed.lower), np.asarray(allowed.upper)
    assert lower.shape == upper.shape == (INPUTS,)
    assert (lower < 0).all()
    assert (upper > 0).all()
    assert float(gradients.abs().max()) < 2 * upper.max()


def test_windows_put_together_are_the_trajectory_that_was_cut() -> None:
    n, length = CASE.coarse_points, CASE.window
    steps = CASE.windows * length
    grid = CoarseGrid(n)
    series = grid.field(grid.transform(torch.randn(steps + 1, 1, n, n)))
    recording = Recording(CASE)
    for begin in range(0, steps, length):
        recording.add(
            {
                "vorticity": series[begin : begin + length + 1].transpose(0, 1).numpy(),
                "forcing": np.full((1, length, 12, 12), float(begin), np.float32),
                "subgrid_forcing": np.zeros((1, n, n), np.float32),
            }
        )
    trajectories = recording.trajectories()
    between = round(CASE.between_starts / CASE.coarse_time_step)
    assert trajectories.steps == round(CASE.forecast / CASE.coarse_time_step)
    for start in range(CASE.starts):
        found = grid.field(trajectories.vorticity_hat[:, start])
        expected = series[start * between : start * between + trajectories.steps + 1, 0]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_horizon_is_the_first_time_below_the_level_or_the_end() -> None:
    correlation = torch.tensor([[1.0, 1.0], [0.95, 0.99], [0.8, 0.98], [0.95, 0.97]])
    assert horizons(correlation, 0.9, time_step=0.5).tolist() == [1.0, 1.5]
