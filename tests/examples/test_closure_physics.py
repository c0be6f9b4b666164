"""The subgrid forcing that the closure example learns is the exact one."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import pytest

if not all(map(importlib.util.find_spec, ("torch", "fluidsim"))):
    pytest.skip("needs torch and fluidsim: pip install torch fluidsim", allow_module_level=True)

import torch
from baselines import DeconvolvedLeith, DynamicSmagorinsky, GradientLeith, GradientModel, Leith
from cases import CASES, Case, Turbulence
from coarse import CoarseGrid, CoarseSolver
from coarse import correlation as correlation_of
from filtering import SubgridFilter
from spectral import PeriodicGrid, on_grid

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of fluidsim's own imports
    import dns
    import turbulence

FINE, COARSE = 64, 32


@pytest.fixture(scope="module")
def flow() -> Any:
    """A flow with energy at every resolved wavenumber."""
    settings = Turbulence(FINE, viscosity=2e-3, time_step=0.02)
    flow = turbulence.Flow(settings, turbulence.random_vorticity(FINE, seed=1), seed=2)
    flow.advance(100)
    return flow


@pytest.fixture(scope="module")
def vorticity(flow: Any) -> np.ndarray:
    return np.array(flow.vorticity)


@pytest.fixture(scope="module")
def subgrid_filter() -> SubgridFilter:
    return SubgridFilter(FINE, COARSE)


def random_vorticity(kmax: int, points: int, seed: int = 0) -> np.ndarray:
    grid = PeriodicGrid(points)
    noise = grid.transform(np.random.default_rng(seed).standard_normal((points, points)))
    noise[(np.maximum(np.abs(grid.ky), grid.kx) > kmax) | (grid.k_squared == 0)] = 0.0
    return grid.field(noise / np.abs(noise).max())


def test_filtering_what_fluidsim_solves_gives_what_fluidsim_solves_on_the_coarse_grid_and_pi(
    flow: Any, vorticity: np.ndarray, subgrid_filter: SubgridFilter
) -> None:
    fine, coarse = subgrid_filter.fine, subgrid_filter.coarse
    filtered_hat = subgrid_filter.filtered(fine.transform(vorticity))
    settings = Turbulence(COARSE, viscosity=2e-3, time_step=0.02)
    coarse_flow = turbulence.Flow(settings, coarse.field(filtered_hat), seed=3)

    def linear(grid: PeriodicGrid, vorticity_hat: np.ndarray) -> np.ndarray:
        return -(settings.drag + settings.viscosity * grid.k_squared) * vorticity_hat

    tendency = flow.tendency() + linear(fine, fine.transform(vorticity))
    coarse_tendency = (
        coarse_flow.tendency()
        - coarse_flow.forcing()
        + subgrid_filter.filtered(flow.forcing())
        + linear(coarse, filtered_hat)
    )
    missing = subgrid_filter.filtered(tendency) - coarse_tendency
    exact = subgrid_filter.subgrid_forcing(fine.transform(vorticity))
    assert np.abs(exact).max() > 1e-3
    np.testing.assert_allclose(missing, exact, rtol=0, atol=1e-13 * np.abs(tendency).max())


def test_the_coarse_solver_takes_the_time_steps_of_fluidsim() -> None:
    case = case_of(Turbulence(COARSE, viscosity=2e-3, time_step=0.02))
    solver, grid = CoarseSolver(case), PeriodicGrid(COARSE)
    flow = turbulence.Flow(case.turbulence, turbulence.random_vorticity(COARSE, seed=1), seed=2)
    flow.advance(50)
    vorticity_hat = torch.from_numpy(flow.vorticity_hat.astype(np.complex64))
    before = vorticity_hat.clone()
    for _ in range(10):
        flow.advance(1)
        forcing_hat = torch.from_numpy(flow.forcing().astype(np.complex64))
        vorticity_hat = solver.step(vorticity_hat, forcing_hat, closure=None)
    difference = np.abs(vorticity_hat.numpy() - grid.resolved * flow.vorticity_hat).max()
    assert difference < 1e-6  # single precision
    assert float((vorticity_hat - before).abs().max()) > 1e-2


def test_with_the_exact_pi_the_coarse_solver_follows_the_filtered_simulation() -> None:
    case = CASES["quick"]
    simulation = dns.Simulation(case, seed=3)
    solver = CoarseSolver(case)
    window = {name: torch.from_numpy(array) for name, array in simulation.next_window().items()}
    start_hat = solver.grid.transform(window["vorticity"][0])
    exact_hat = solver.grid.transform(window["subgrid_forcing"])
    forcing_hat = solver.grid.spread(window["forcing"][0])
    errors = []
    for closure in (None, lambda _: exact_hat):
        found = solver.grid.field(solver.step(start_hat, forcing_hat, closure))
        errors.append(float((found - window["vorticity"][1]).square().mean().sqrt()))
    # Pi changes by some percent during the step, through which it is held.
    assert errors[1] < 0.1 * errors[0]


def case_of(settings: Turbulence) -> Case:
    """The coarse solver with the time step and the points of this flow."""
    return Case(settings, settings.points, 1.0, 4, 1.0, 1.0, 1)


def test_fluidsim_resolves_the_modes_that_the_filter_takes_for_resolved(flow: Any) -> None:
    grid = PeriodicGrid(FINE)
    kept = np.abs(flow.tendency()) > 0
    np.testing.assert_array_equal(kept & (grid.k_squared > 0), grid.resolved & (grid.k_squared > 0))


def test_the_filter_damps_each_wave_by_the_gaussian_and_keeps_no_unresolved_one(
    subgrid_filter: SubgridFilter,
) -> None:
    fine, coarse = subgrid_filter.fine, subgrid_filter.coarse
    y = np.arange(FINE)[:, np.newaxis] * 2 * np.pi / FINE
    for k in (0, 1, 5, coarse.kmax, coarse.kmax + 1):
        wave = fine.transform(np.broadcast_to(np.cos(k * y), (FINE, FINE)))
        damping = np.exp(-((k * subgrid_filter.delta) ** 2) / 24) if k <= coarse.kmax else 0.0
        expected = damping * np.cos(k * y[:: FINE // COARSE])
        filtered = coarse.field(subgrid_filter.filtered(wave))
        np.testing.assert_allclose(filtered, np.broadcast_to(expected, filtered.shape), atol=1e-14)


def test_filtering_commutes_with_the_derivative(
    subgrid_filter: SubgridFilter, vorticity: np.ndarray
) -> None:
    fine, coarse = subgrid_filter.fine, subgrid_filter.coarse
    derivative = fine.transform(fine.gradient(fine.transform(vorticity))[0])
    filtered_first = coarse.gradient(subgrid_filter.filtered(fine.transform(vorticity)))[0]
    np.testing.assert_allclose(
        coarse.field(subgrid_filter.filtered(derivative)), filtered_first, atol=1e-12
    )


def test_a_parallel_flow_needs_no_closure(subgrid_filter: SubgridFilter) -> None:
    y = np.arange(FINE)[:, np.newaxis] * 2 * np.pi / FINE
    shear = np.broadcast_to(np.cos(2 * y) + np.sin(9 * y), (FINE, FINE))
    subgrid_hat = subgrid_filter.subgrid_forcing(subgrid_filter.fine.transform(shear))
    np.testing.assert_allclose(subgrid_hat, 0.0, atol=1e-13)


def test_the_subgrid_forcing_has_no_mean(
    subgrid_filter: SubgridFilter, vorticity: np.ndarray
) -> None:
    vorticity_hat = subgrid_filter.fine.transform(vorticity)
    assert abs(subgrid_filter.subgrid_forcing(vorticity_hat)[0, 0]) < 1e-14


def test_the_coarse_grid_in_torch_is_the_one_in_numpy() -> None:
    grid, coarse = PeriodicGrid(COARSE), CoarseGrid(COARSE)
    vorticity = random_vorticity(grid.kmax, COARSE)
    vorticity_hat = grid.transform(vorticity)
    in_torch = coarse.transform(torch.from_numpy(vorticity.astype(np.float32)))
    close = {"rtol": 0, "atol": 3e-6 * np.abs(vorticity).max() * grid.kmax}
    np.testing.assert_allclose(in_torch, vorticity_hat, **close)
    np.testing.assert_allclose(coarse.velocity(in_torch), grid.velocity(vorticity_hat), **close)
    np.testing.assert_allclose(coarse.gradient(in_torch), grid.gradient(vorticity_hat), **close)
    np.testing.assert_allclose(coarse.advection(in_torch), grid.advection(vorticity_hat), **close)
    np.testing.assert_allclose(
        coarse.energy_spectrum(in_torch), grid.energy_spectrum(vorticity)[: grid.kmax + 1], **close
    )


def test_strain_and_vorticity_are_the_gradient_of_an_incompressible_velocity() -> None:
    grid = CoarseGrid(FINE)
    vorticity = torch.from_numpy(random_vorticity(grid.kmax, FINE).astype(np.float32))
    vorticity_hat = grid.transform(vorticity)
    velocity_hat = grid.transform(grid.velocity(vorticity_hat))
    (u_x, u_y), (v_x, v_y) = grid.gradient(velocity_hat)
    rotation, normal, shear = grid.velocity_gradient(vorticity_hat)
    close = {"rtol": 0, "atol": 1e-4 * float(vorticity.abs().max())}
    np.testing.assert_allclose(u_x + v_y, 0.0, **close)
    np.testing.assert_allclose(v_x - u_y, rotation, **close)
    np.testing.assert_allclose(u_x, normal, **close)
    np.testing.assert_allclose((v_x + u_y) / 2, shear, **close)


def test_a_forcing_that_is_sent_on_few_points_arrives_whole() -> None:
    few, coarse = PeriodicGrid(12), CoarseGrid(COARSE)
    forcing_hat = few.transform(random_vorticity(5, 12))
    sent = torch.from_numpy(few.field(forcing_hat).astype(np.float32))
    np.testing.assert_allclose(coarse.spread(sent), on_grid(forcing_hat, COARSE), atol=1e-6)


def test_for_scales_far_larger_than_the_filter_the_gradient_model_is_exact() -> None:
    errors = []
    for points in (32, 64):
        subgrid_filter, grid = SubgridFilter(128, points), CoarseGrid(points)
        vorticity_hat = subgrid_filter.fine.transform(random_vorticity(3, 128))
        exact_hat = subgrid_filter.subgrid_forcing(vorticity_hat)
        filtered_hat = subgrid_filter.filtered(vorticity_hat).astype(np.complex64)
        modelled_hat = GradientModel(grid)(torch.from_numpy(filtered_hat)).numpy()
        errors.append(np.linalg.norm(modelled_hat - exact_hat) / np.linalg.norm(exact_hat))
    # What is left is the next term of an expansion in delta^2: halve delta, quarter the error.
    assert errors[1] < 0.1
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.2)


def test_without_unresolved_modes_deconvolution_is_exact(subgrid_filter: SubgridFilter) -> None:
    grid = CoarseGrid(COARSE)
    vorticity_hat = subgrid_filter.fine.transform(random_vorticity(grid.kmax, FINE))
    filtered_hat = subgrid_filter.filtered(vorticity_hat).astype(np.complex64)
    exact_hat = subgrid_filter.subgrid_forcing(vorticity_hat)
    modelled_hat = DeconvolvedLeith(grid, 0.0)(torch.from_numpy(filtered_hat)).numpy()
    error = np.abs(modelled_hat - grid.resolved.numpy() * exact_hat).max()
    assert error < 1e-4 * np.abs(exact_hat).max()


@pytest.fixture(scope="module")
def filtered_hat(subgrid_filter: SubgridFilter, vorticity: np.ndarray) -> Any:
    filtered = subgrid_filter.filtered(subgrid_filter.fine.transform(vorticity))
    return torch.from_numpy(filtered.astype(np.complex64))


MODELS = {
    "Leith": lambda grid: Leith(grid, 2e-3),
    "dynamic Smagorinsky": DynamicSmagorinsky,
    "deconvolution": lambda grid: DeconvolvedLeith(grid, 1e-3),
    "gradient + Leith": lambda grid: GradientLeith(grid, 1e-3),
}


@pytest.mark.parametrize("name", ["Leith", "dynamic Smagorinsky"])
def test_an_eddy_viscosity_takes_enstrophy_from_the_resolved_flow(
    name: str, filtered_hat: Any
) -> None:
    grid = CoarseGrid(COARSE)
    modelled = grid.field(MODELS[name](grid)(filtered_hat))
    assert float((grid.field(filtered_hat) * modelled).mean()) < 0


@pytest.mark.parametrize("name", MODELS)
def test_the_models_do_not_depend_on_where_the_flow_is(name: str, filtered_hat: Any) -> None:
    grid = CoarseGrid(COARSE)
    model = MODELS[name](grid)
    shifted_hat = grid.transform(grid.field(filtered_hat).roll((3, 5), (-2, -1)))
    of_shifted = grid.field(model(shifted_hat))
    shifted = grid.field(model(filtered_hat)).roll((3, 5), (-2, -1))
    np.testing.assert_allclose(of_shifted, shifted, rtol=0, atol=1e-4 * float(shifted.abs().max()))


def test_many_constants_of_leith_can_be_tried_at_once(filtered_hat: Any) -> None:
    grid = CoarseGrid(COARSE)
    both = Leith(grid, torch.tensor([1e-3, 3e-3]))(torch.stack([filtered_hat, filtered_hat]))
    np.testing.assert_allclose(3.0 * both[0], both[1], rtol=1e-4, atol=1e-7)


def test_the_same_series_on_another_grid_is_the_same_field() -> None:
    coarse, fine = PeriodicGrid(16), PeriodicGrid(48)
    vorticity = random_vorticity(5, 16)
    refined = fine.field(on_grid(coarse.transform(vorticity), 48))
    np.testing.assert_allclose(refined[::3, ::3], vorticity, atol=1e-15)
    assert coarse.energy_spectrum(vorticity).sum() == pytest.approx(
        fine.energy_spectrum(refined).sum()
    )


def test_the_energy_spectrum_sums_to_the_energy() -> None:
    grid, vorticity = PeriodicGrid(32), random_vorticity(7, 32)
    u, v = grid.velocity(grid.transform(vorticity))
    energy = np.mean(u**2 + v**2) / 2
    assert grid.energy_spectrum(vorticity).sum() == pytest.approx(energy)


def test_a_spun_up_flow_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    settings = Turbulence(32, viscosity=8e-3, time_step=0.02)
    first, again, other = (
        np.array(turbulence.developed(settings, seed, spin_up=1.2).vorticity) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert abs(correlation_of(torch.from_numpy(first), torch.from_numpy(other))) < 0.5


def test_the_windows_of_a_simulation_follow_on_one_another() -> None:
    simulation = dns.Simulation(CASES["quick"], seed=4)
    first, second = simulation.next_window(), simulation.next_window()
    np.testing.assert_array_equal(first["vorticity"][-1], second["vorticity"][0])
    assert first["forcing"].shape == (4, 12, 12)
    assert first["subgrid_forcing"].shape == (32, 32)
