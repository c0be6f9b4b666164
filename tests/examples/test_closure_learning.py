"""The closure example's network and reservoir keep the symmetries and bounds that they claim."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'dovetail[examples]'")

from closure import INPUTS, SYMMETRIES, Closure, image, resolved  # noqa: E402
from filtering import FilteredFlow, SubgridFilter  # noqa: E402
from reservoir import Reservoir, as_tensors  # noqa: E402
from spectral import PeriodicGrid  # noqa: E402


def sample(value: float, points: int = 4) -> dict[str, np.ndarray]:
    field = np.full((points, points), value, dtype=np.float32)
    return dict.fromkeys(FilteredFlow._fields, field)


def test_the_closure_of_a_shifted_flow_is_the_shifted_closure() -> None:
    torch.manual_seed(0)
    closure, flow = Closure().double(), torch.randn(1, len(INPUTS), 24, 24, dtype=torch.float64)
    shift = {"shifts": (5, -7), "dims": (-2, -1)}
    with torch.no_grad():
        np.testing.assert_allclose(
            closure(flow.roll(**shift)), closure(flow).roll(**shift), atol=1e-12
        )


def test_the_closure_is_small() -> None:
    parameters = sum(parameter.numel() for parameter in Closure().parameters())
    assert 20_000 <= parameters <= 60_000


def test_the_closure_of_any_grid_has_its_shape() -> None:
    assert Closure()(torch.zeros(2, len(INPUTS), 12, 20)).shape == (2, 1, 12, 20)


def test_what_is_resolved_has_no_mean_and_stays_as_it_is() -> None:
    field = torch.randn(3, 1, 32, 32, dtype=torch.float64)
    once = resolved(field)
    assert once.mean(dim=(-2, -1)).abs().max() < 1e-15
    np.testing.assert_allclose(resolved(once), once, atol=1e-14)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_the_image_of_a_sample_is_the_sample_of_the_image(symmetry: int) -> None:
    fine, subgrid_filter = PeriodicGrid(32), SubgridFilter(32, 16)
    noise = np.random.default_rng(0).standard_normal((32, 32))
    vorticity = fine.field(fine.resolved * fine.transform(noise))
    sample = [part[np.newaxis] for part in as_tensors(subgrid_filter(vorticity)._asdict())]
    mirrored, turns = divmod(symmetry, 4)
    if mirrored:
        vorticity = -np.roll(vorticity[:, ::-1], 1, axis=1)
    for _ in range(turns):
        vorticity = np.roll(np.rot90(vorticity), 1, axis=0)
    expected = as_tensors(subgrid_filter(vorticity)._asdict())
    for found, exact in zip(image(*sample, symmetry), expected, strict=True):
        assert difference_after_a_shift(found[0].numpy(), exact.numpy()) < 1e-12


def difference_after_a_shift(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference after the best shift: turning an array moves the origin a spacing."""
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return min(float(np.abs(np.roll(found, s, axis=(-2, -1)) - exact).max()) for s in shifts)


def test_the_reservoir_keeps_every_sample_until_it_is_full() -> None:
    reservoir = Reservoir(capacity=8, seed=0)
    for number in range(8):
        reservoir.add(sample(float(number)))
    assert len(reservoir) == 8
    assert reservoir.all()[1][:, 0, 0, 0].tolist() == list(range(8))


def test_the_reservoir_is_bounded_and_mostly_recent() -> None:
    reservoir = Reservoir(capacity=100, seed=0)
    for number in range(1000):
        reservoir.add(sample(float(number)))
    ages = 999 - reservoir.all()[1][:, 0, 0, 0]
    assert len(reservoir) == 100
    assert reservoir.received == 1000
    # Exponentially distributed with a mean of the capacity; the bounds are 4 standard errors.
    assert 60 < float(ages.mean()) < 140


def test_the_reservoir_copies_what_it_is_given() -> None:
    reservoir = Reservoir(capacity=2, seed=0)
    arrays = {name: np.zeros((4, 4), dtype=np.float32) for name in FilteredFlow._fields}
    reservoir.add(arrays)
    for array in arrays.values():
        array[:] = np.nan
    gradients, forcing = reservoir.batch(4)
    assert not torch.isnan(gradients).any()
    assert not torch.isnan(forcing).any()


def test_the_reservoir_draws_the_same_batches_for_the_same_seed() -> None:
    first, second = Reservoir(16, seed=5), Reservoir(16, seed=5)
    for number in range(40):
        first.add(sample(float(number)))
        second.add(sample(float(number)))
    for _ in range(3):
        assert torch.equal(first.batch(4)[0], second.batch(4)[0])
