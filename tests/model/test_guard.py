"""What a guard promises: the model where it can be trusted, the physics elsewhere, and a count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dovetail as dv
from dovetail import observe
from dovetail.transport.contract import Store

Make = Callable[[Any], Any]


@pytest.fixture(params=["numpy", pytest.param("torch", marks=pytest.mark.requires("torch"))])
def kind(request: pytest.FixtureRequest) -> Make:
    if request.param == "numpy":
        return np.asarray
    import torch

    return torch.as_tensor


def model(x: Any) -> Any:
    """Twice the first channel."""
    return 2 * x[:, :1]


def physics(x: Any) -> Any:
    """Far from what the model says."""
    return 0 * x[:, :1] - 7


UNIT = dv.InputRange([-1.0, -1.0], [1.0, 1.0])


def inputs(samples: int = 4) -> Any:
    """Samples of two channels on a grid of 5 x 3, all in range."""
    return np.random.default_rng(0).uniform(-1, 1, (samples, 2, 5, 3))


def test_in_range_the_model_answers(kind: Make) -> None:
    guard = dv.Guard(model, physics, input_range=UNIT)
    x = kind(inputs())
    assert (guard(x) == 2 * x[:, :1]).all()
    assert guard.last == ((), 0.0)
    assert guard.statistics()[:4] == (1, 0, {}, 0.0)


@pytest.mark.parametrize("value", [1.5, np.nan, -np.inf])
def test_one_cell_out_of_range_gives_the_whole_call_to_the_physics(
    kind: Make, value: float
) -> None:
    asked: list[Any] = []
    guard = dv.Guard(asked.append, physics, input_range=UNIT)
    x = inputs()
    x[1, 1, 2, 2] = value
    answer = guard(kind(x))
    assert (answer == -7).all() or np.isnan(value) or np.isinf(value)
    assert guard.last == (("input range",), 1.0)
    assert not asked, "the model was called in vain"
    assert guard.statistics()[:4] == (1, 1, {"input range": 1}, 1.0)


def test_a_share_of_cells_may_be_tolerated(kind: Make) -> None:
    guard = dv.Guard(model, physics, input_range=UNIT, tolerated=0.02)
    x = inputs()  # 60 cells
    x[1, 1, 2, 2] = 1.5
    guard(kind(x))
    assert guard.last.share == 0.0
    x[1, 1, 2, 1] = 1.5
    guard(kind(x))
    assert guard.last.share == 1.0


def test_per_sample_only_the_strange_ones_fall_back(kind: Make) -> None:
    guard = dv.Guard(model, physics, input_range=UNIT, per="sample")
    x = inputs()
    x[2, 0, 0, 0] = 9.0
    answer = np.asarray(guard(kind(x)))
    np.testing.assert_equal(answer[2], np.full((1, 5, 3), -7.0))
    kept = [0, 1, 3]
    np.testing.assert_equal(answer[kept], 2 * x[kept, :1])
    assert guard.last == (("input range",), 0.25)


def test_per_cell_only_the_strange_ones_fall_back(kind: Make) -> None:
    guard = dv.Guard(model, physics, input_range=UNIT, per="cell")
    x = inputs()
    x[2, 1, 4, 2] = 9.0
    answer = np.asarray(guard(kind(x)))
    expected = 2 * x[:, :1]
    expected[2, 0, 4, 2] = -7.0
    np.testing.assert_equal(answer, expected)
    assert guard.last.share == pytest.approx(1 / 60)


@pytest.mark.parametrize(("per", "share"), [("call", 1.0), ("sample", 0.25), ("cell", 1 / 60)])
def test_what_is_not_finite_is_never_given_out(kind: Make, per: Any, share: float) -> None:
    def broken(x: Any) -> Any:
        y = model(x)
        y[3, 0, 1, 1] = np.nan
        return y

    guard = dv.Guard(broken, physics, per=per)
    answer = np.asarray(guard(kind(inputs())))
    assert np.isfinite(answer).all()
    assert answer[3, 0, 1, 1] == -7
    assert guard.last.reasons == ("non-finite output",)
    assert guard.last.share == pytest.approx(share)


@pytest.mark.parametrize(("per", "share"), [("call", 1.0), ("sample", 0.25), ("cell", 1 / 60)])
def test_an_ensemble_that_disagrees_gives_way(kind: Make, per: Any, share: float) -> None:
    def dissenter(x: Any) -> Any:
        y = model(x)
        y[3, 0, 1, 1] += 1000.0
        return y

    guard = dv.Guard([model, model, dissenter], physics, max_spread=0.5, per=per)
    answer = np.asarray(guard(kind(inputs())))
    assert answer[3, 0, 1, 1] == -7
    assert guard.last.reasons == ("ensemble spread",)
    assert guard.last.share == pytest.approx(share)


@pytest.mark.parametrize("per", ["call", "sample", "cell"])
def test_an_ensemble_that_agrees_answers_with_its_mean(kind: Make, per: Any) -> None:
    def other(x: Any) -> Any:
        return 2.2 * x[:, :1]

    x = kind(inputs())
    guard = dv.Guard([model, other], physics, max_spread=0.5, per=per)
    np.testing.assert_allclose(np.asarray(guard(x)), 2.1 * np.asarray(x)[:, :1])
    assert guard.last.reasons == ()


@pytest.mark.parametrize("per", ["call", "sample", "cell"])
def test_an_ensemble_that_says_zero_agrees(kind: Make, per: Any) -> None:
    guard = dv.Guard([lambda x: 0 * x, lambda x: 0 * x], physics, max_spread=0.1, per=per)
    assert (guard(kind(inputs())) == 0).all()
    assert guard.last.reasons == ()


def test_a_call_can_have_two_reasons(kind: Make) -> None:
    def broken(x: Any) -> Any:
        y = model(x)
        y[0] = np.nan
        return y

    guard = dv.Guard(broken, physics, input_range=UNIT, per="sample")
    x = inputs()
    x[1] = 9.0
    guard(kind(x))
    assert guard.last == (("input range", "non-finite output"), 0.5)
    assert guard.statistics()[:3] == (1, 1, {"input range": 1, "non-finite output": 1})


def test_counts_add_up_over_calls(kind: Make) -> None:
    guard = dv.Guard(model, physics, input_range=UNIT, per="sample", name="closure")
    x = inputs()
    guard(kind(x))
    x[0] = 9.0
    guard(kind(x))
    assert guard.statistics()[:4] == (2, 1, {"input range": 1}, 0.125)
    assert guard.statistics().seconds > 0
    assert repr(guard) == "<Guard 'closure': 2 calls, 1 to the physics (input range 1)>"


def test_without_a_version_in_force_the_physics_answers_and_then_the_model(store: Store) -> None:
    followed = dv.FollowedModel(
        store, "scale", {"scale": np.zeros(())}, apply=lambda weights, x: weights["scale"] * x
    )
    guard = dv.Guard(followed, lambda x: x - 100)
    assert not guard.refresh()
    x = inputs()
    np.testing.assert_equal(guard(x), x - 100)
    assert guard.last == (("no model",), 1.0)
    dv.publish_model(store, "scale", {"scale": np.array(3.0)}, input_range=UNIT)
    assert guard.refresh()
    np.testing.assert_equal(guard(x), 3 * x)
    np.testing.assert_equal(guard(x * 2), x * 2 - 100)
    assert guard.statistics().by_reason == {"no model": 1, "input range": 1}
    assert guard.name == "scale"


def test_all_models_of_an_ensemble_are_refreshed(store: Store) -> None:
    members = [
        dv.FollowedModel(store, f"member-{number}", {"w": np.zeros(1)}) for number in range(3)
    ]
    guard = dv.Guard(members, physics)
    for number in range(3):
        dv.publish_model(store, f"member-{number}", {"w": np.ones(1)})
    assert guard.refresh()
    assert [member.version for member in members] == [1, 1, 1]


def test_calls_and_fallbacks_are_in_the_trace(tmp_path: Path) -> None:
    guard = dv.Guard(model, physics, input_range=UNIT, name="closure")
    observe.start(tmp_path)
    guard(inputs())
    guard(inputs() * 9)
    observe.stop()
    assert [(event.kind, event.name) for event in observe.read(tmp_path)] == [
        ("call_model", "closure"),
        ("call_model", "closure"),
        ("fall_back", "closure: input range"),
    ]


BAD: list[tuple[Any, str]] = [
    (lambda: dv.Guard([], physics), "needs a model"),
    (lambda: dv.Guard(model, physics, max_spread=0.1), "pass several models"),
    (lambda: dv.Guard([model, model], physics, max_spread=0), "greater than zero"),
    (lambda: dv.Guard(model, physics, tolerated=1.0), "less than 1"),
    (lambda: dv.Guard(model, physics, per="step"), "'call', 'sample', 'cell'"),  # type: ignore[arg-type]
    (lambda: dv.Guard(model, physics, per="cell", tolerated=0.1), "each cell by itself"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_what_is_no_guard_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_physics_of_another_shape_is_a_mistake() -> None:
    guard = dv.Guard(model, lambda x: x, input_range=UNIT, per="sample")
    x = inputs()
    x[0] = 9.0
    with pytest.raises(ValueError, match="they must be the same"):
        guard(x)


def test_outputs_that_do_not_lie_on_the_cells_of_the_inputs_are_a_mistake() -> None:
    guard = dv.Guard(lambda x: x[:, :1, :2], lambda x: x[:, :1, :2], input_range=UNIT, per="cell")
    x = inputs()
    x[0, 0, 0, 0] = 9.0
    with pytest.raises(ValueError, match="on the cells of the inputs"):
        guard(x)


def test_what_is_no_array_cannot_be_guarded() -> None:
    with pytest.raises(TypeError, match="a list cannot be guarded"):
        dv.Guard(lambda x: x, physics)([1.0])


@pytest.mark.parametrize("per", ["call", "sample", "cell"])
@pytest.mark.parametrize(
    ("dtype", "size"), [("f4", 1e25), ("f4", 1e-25), ("f2", 3e4), ("f2", 1e-4)]
)
def test_an_ensemble_disagrees_at_any_size_that_its_dtype_holds(
    kind: Make, per: Any, dtype: str, size: float
) -> None:
    def dissenter(x: Any) -> Any:
        return 0 * x + size

    guard = dv.Guard([lambda x: 0 * x, dissenter], lambda x: 0 * x - 7, max_spread=0.5, per=per)
    answer = guard(kind(np.ones((2, 1, 4), dtype)))
    assert (answer == -7).all()
    assert guard.last.reasons == ("ensemble spread",)


@pytest.mark.parametrize("per", ["call", "sample", "cell"])
def test_a_rank_without_cells_is_answered_with_none(kind: Make, per: Any) -> None:
    guard = dv.Guard([model, model], physics, input_range=UNIT, max_spread=0.1, per=per)
    assert guard(kind(np.ones((0, 2, 5, 3)))).shape == (0, 1, 5, 3)
    assert guard.last == ((), 0.0)


def test_an_ensemble_keeps_to_the_range_of_each_of_its_members(store: Store) -> None:
    members = []
    for number, seen in enumerate(
        (None, dv.InputRange([-9.0], [9.0]), dv.InputRange([0.0], [1.0]))
    ):
        dv.publish_model(store, f"member-{number}", {"w": np.ones(1)}, input_range=seen)
        members.append(
            dv.FollowedModel(
                store, f"member-{number}", {"w": np.zeros(1)}, apply=lambda weights, x: x
            )
        )
    guard = dv.Guard(members, lambda x: 0 * x)
    guard.refresh()
    guard(np.full((2, 1), 0.5))
    assert guard.last.reasons == ()
    guard(np.full((2, 1), 2.0))
    assert guard.last.reasons == ("input range",)
    assert guard.input_range is not None
    assert guard.input_range.upper == 9.0
