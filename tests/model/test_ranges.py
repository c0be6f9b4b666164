"""What a range of inputs is learned from, and what it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dovetail as dv


@pytest.fixture(params=["numpy", pytest.param("torch", marks=pytest.mark.requires("torch"))])
def kind(request: pytest.FixtureRequest) -> Any:
    if request.param == "numpy":
        return np.asarray
    import torch

    return torch.as_tensor


def fields(seed: int = 0) -> Any:
    """Samples of three channels of different sizes on a grid of 8 x 6."""
    chance = np.random.default_rng(seed)
    return chance.uniform(-1, 1, (5, 3, 8, 6)) * np.array([1.0, 10.0, 100.0])[:, None, None]


def test_it_holds_what_it_was_learned_from_and_a_margin(kind: Any) -> None:
    samples = fields()
    seen = dv.InputRange.of(kind(samples), margin=0.0)
    np.testing.assert_allclose(seen.lower, samples.min((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(seen.upper, samples.max((0, 2, 3)), rtol=1e-5)
    wide = dv.InputRange.of(kind(samples), margin=0.1)
    np.testing.assert_allclose(wide.upper - wide.lower, 1.2 * (seen.upper - seen.lower), rtol=1e-4)
    assert seen.holds(kind(samples))
    assert not seen.holds(kind(samples * 1.05))
    assert wide.holds(kind(samples * 1.05))


def test_it_says_which_cells_are_outside(kind: Any) -> None:
    seen = dv.InputRange.of(kind(fields()))
    inputs = fields(1)
    inputs[2, 1, 3, 4] = 1e3
    inputs[4, 0, 0, 0] = np.nan
    outside = np.asarray(seen.outside(kind(inputs)))
    assert outside.shape == (5, 8, 6)
    assert np.argwhere(outside).tolist() == [[2, 3, 4], [4, 0, 0]]
    assert not seen.holds(kind(inputs))


def test_nan_alone_is_never_held(kind: Any) -> None:
    seen = dv.InputRange([-1.0], [1.0])
    assert not seen.holds(kind(np.array([[0.0], [np.nan]])))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_lie_along_any_axis(kind: Any, axis: int) -> None:
    samples = np.moveaxis(np.arange(24.0).reshape(4, 2, 3), 0, axis)
    seen = dv.InputRange.of(kind(samples), margin=0.0, axis=axis)
    assert seen.channels == 4
    assert seen.holds(kind(samples))
    assert np.asarray(seen.outside(kind(samples - 7))).all()


def test_quantiles_leave_out_a_few_wild_cells() -> None:
    samples = np.concatenate([np.linspace(0, 1, 10_000), [1e6]])[:, None]
    assert dv.InputRange.of(samples, quantiles=(0.001, 0.999)).upper[0] < 1.2
    assert dv.InputRange.of(samples).upper[0] > 1e6


def test_ranges_of_batches_join_to_that_of_all() -> None:
    whole = dv.InputRange.of(fields(), margin=0.0)
    joined = dv.InputRange.of(fields()[:2], margin=0.0) | dv.InputRange.of(fields()[2:], margin=0.0)
    np.testing.assert_allclose(joined.lower, whole.lower, rtol=1e-6)
    np.testing.assert_allclose(joined.upper, whole.upper, rtol=1e-6)
    with pytest.raises(ValueError, match="cannot be joined"):
        joined | dv.InputRange([0.0], [1.0])


def test_a_channel_that_was_constant_may_be_rounded() -> None:
    seen = dv.InputRange.of(np.full((4, 1), 300.0))
    assert seen.holds(np.full((2, 1), np.float32(300.0001)))
    assert not seen.holds(np.full((2, 1), 300.1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dv.InputRange([2.0, 0.0], [1.0, 1.0]), "channel 0 has the lower bound 2.0 above"),
        (lambda: dv.InputRange([0.0], [np.inf]), "must be finite"),
        (lambda: dv.InputRange([0.0], [1.0, 2.0]), r"must be \(channels,\)"),
        (lambda: dv.InputRange.of(np.zeros((0, 2))), "learned from samples"),
        (lambda: dv.InputRange.of(np.array([[np.nan]])), "all of them finite"),
        (lambda: dv.InputRange.of(np.zeros(3)), "no axis 1 of channels"),
        (lambda: dv.InputRange([0.0], [1.0]).holds(np.zeros((2, 3))), "have 3 channels along"),
        (lambda: dv.InputRange([0.0], [1.0]).outside(np.zeros((2, 3))), "have 3 channels along"),
    ],
)
def test_what_is_no_range_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_complex_numbers_have_no_range(kind: Any) -> None:
    waves = kind(np.ones((4, 1), np.complex64))
    for ask in (dv.InputRange.of, dv.InputRange([0.0], [1.0]).holds):
        with pytest.raises(TypeError, match="channels of their own"):
            ask(waves)
