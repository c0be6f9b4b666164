"""The subgrid forcing that the closure example learns is the exact one."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("fluidsim") is None:
    pytest.skip("needs fluidsim: pip install fluidsim", allow_module_level=True)

from baselines import correlation, fitted, gradient_model, leith, smagorinsky
from filtering import FilteredFlow, SubgridFilter
from spectral import PeriodicGrid, on_grid

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of fluidsim's own imports
    import turbulence

FINE, COARSE = 64, 32


@pytest.fixture(scope="module")
def flow() -> Any:
    """A flow with energy at every resolved wavenumber."""
    settings = turbulence.Turbulence(FINE, viscosity=2e-3, time_step=0.02)
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
    filtered = subgrid_filter(vorticity)
    settings = turbulence.Turbulence(COARSE, viscosity=2e-3, time_step=0.02)
    coarse_flow = turbulence.Flow(settings, filtered.vorticity, seed=3)

    def linear(grid: PeriodicGrid, vorticity_hat: np.ndarray) -> np.ndarray:
        return -(settings.drag + settings.viscosity * grid.k_squared) * vorticity_hat

    fine, coarse = subgrid_filter.fine, subgrid_filter.coarse
    tendency = flow.tendency() + linear(fine, fine.transform(vorticity))
    coarse_tendency = (
        coarse_flow.tendency()
        - coarse_flow.forcing()
        + subgrid_filter.filtered(flow.forcing())
        + linear(coarse, coarse.transform(filtered.vorticity))
    )
    missing = subgrid_filter.filtered(tendency) - coarse_tendency
    exact = coarse.transform(filtered.subgrid_forcing)
    assert np.abs(exact).max() > 1e-3
    np.testing.assert_allclose(missing, exact, rtol=0, atol=1e-13 * np.abs(tendency).max())


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
    np.testing.assert_allclose(subgrid_filter(shear).subgrid_forcing, 0.0, atol=1e-13)


def test_the_subgrid_forcing_has_no_mean(
    subgrid_filter: SubgridFilter, vorticity: np.ndarray
) -> None:
    assert abs(subgrid_filter(vorticity).subgrid_forcing.mean()) < 1e-14


def test_strain_and_vorticity_are_the_gradient_of_an_incompressible_velocity() -> None:
    grid = PeriodicGrid(FINE)
    vorticity = random_vorticity(grid.kmax, FINE)
    u, v = (grid.transform(part) for part in grid.velocity(grid.transform(vorticity)))
    (u_x, u_y), (v_x, v_y) = grid.gradient(u), grid.gradient(v)
    normal, shear = grid.strain(grid.transform(vorticity))
    np.testing.assert_allclose(u_x + v_y, 0.0, atol=1e-12)
    np.testing.assert_allclose(v_x - u_y, vorticity, atol=1e-12)
    np.testing.assert_allclose(u_x, normal, atol=1e-12)
    np.testing.assert_allclose((v_x + u_y) / 2, shear, atol=1e-12)


def test_for_scales_far_larger_than_the_filter_the_gradient_model_is_exact() -> None:
    errors = []
    for coarse in (32, 64):
        subgrid_filter = SubgridFilter(128, coarse)
        flow = subgrid_filter(random_vorticity(3, 128))
        model = gradient_model(flow, subgrid_filter.delta)
        errors.append(np.linalg.norm(model - flow.subgrid_forcing))
        errors[-1] /= np.linalg.norm(flow.subgrid_forcing)
    # What is left is the next term of an expansion in delta^2: halve delta, quarter the error.
    assert errors[1] < 0.1
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.2)


@pytest.mark.parametrize("model", [smagorinsky, leith])
def test_an_eddy_viscosity_takes_enstrophy_from_the_resolved_flow(
    model: Any, subgrid_filter: SubgridFilter, vorticity: np.ndarray
) -> None:
    flow = subgrid_filter(vorticity)
    assert np.mean(flow.vorticity * model(flow, subgrid_filter.delta)) < 0


def test_the_models_do_not_depend_on_where_the_flow_is(
    subgrid_filter: SubgridFilter, vorticity: np.ndarray
) -> None:
    shift = FINE // COARSE
    flow = subgrid_filter(vorticity)
    shifted = subgrid_filter(np.roll(vorticity, (3 * shift, 5 * shift), axis=(0, 1)))
    for model in (smagorinsky, leith, gradient_model):
        np.testing.assert_allclose(
            model(shifted, 0.3), np.roll(model(flow, 0.3), (3, 5), axis=(0, 1)), atol=1e-12
        )


def test_no_multiple_of_a_model_is_closer_than_the_fitted_one() -> None:
    model, exact = random_vorticity(7, 32, seed=1), random_vorticity(7, 32, seed=2) + 0.1
    best = np.linalg.norm(fitted(model, exact) - exact)
    assert all(np.linalg.norm(c * model - exact) >= best for c in np.linspace(-2, 2, 101))


def test_the_same_series_on_another_grid_is_the_same_field() -> None:
    coarse, fine = PeriodicGrid(16), PeriodicGrid(48)
    vorticity = random_vorticity(5, 16)
    refined = fine.field(on_grid(coarse.transform(vorticity), 48))
    np.testing.assert_allclose(refined[::3, ::3], vorticity, atol=1e-15)
    assert coarse.energy_spectrum(vorticity).sum() == pytest.approx(
        fine.energy_spectrum(refined).sum()
    )


def test_the_spectrum_sums_to_the_variance() -> None:
    vorticity = random_vorticity(7, 32)
    assert PeriodicGrid(32).spectrum(vorticity).sum() == pytest.approx(np.mean(vorticity**2))


def test_a_spun_up_flow_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    settings = turbulence.Turbulence(32, viscosity=8e-3, time_step=0.02)
    first, again, other = (
        np.array(turbulence.developed(settings, seed, spin_up=1.2).vorticity) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert abs(correlation(first, other)) < 0.5


def test_a_filtered_flow_names_its_fields_as_the_stream_does() -> None:
    from closure import INPUTS, TARGET

    assert (*INPUTS, TARGET) == FilteredFlow._fields
