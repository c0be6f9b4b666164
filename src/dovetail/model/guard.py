"""A guard: the model where it can be trusted, the physics elsewhere, and a count of both."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from dovetail import observe
from dovetail.model.arrays import arrays_of
from dovetail.model.following import FollowedModel
from dovetail.model.ranges import InputRange
from dovetail.model.trust import GRAINS, Grain

NO_MODEL = "no model"
INPUT_RANGE = "input range"
SPREAD = "ensemble spread"
NON_FINITE = "non-finite output"


class Verdict(NamedTuple):
    """What a guard thought of one call."""

    reasons: tuple[str, ...]
    """Why some or all of it was given by the physics; empty if nothing was."""
    share: float
    """The share of the call's samples or cells that the physics gave; 0 or 1 for a whole call."""


class GuardStatistics(NamedTuple):
    """What a guard has done so far."""

    calls: int
    """Calls of the guard."""
    fallbacks: int
    """Calls in which the physics gave some or all of the outputs."""
    by_reason: dict[str, int]
    """The same by reason; a call can have two. ``no model`` (none is in force yet), ``input
    range``, ``ensemble spread``, ``non-finite output``."""
    share: float
    """The share of all that was asked for that the physics gave."""
    seconds: float
    """Time spent in the guard, model and physics included."""


class Guard:
    """Calls a model where it can be trusted, and the physics where it cannot.

    ::

        guard = dv.Guard(model, fallback=smagorinsky)
        for step in range(steps):
            guard.refresh()
            forcing = guard(gradients)

    Parameters
    ----------
    model
        A :class:`~dovetail.FollowedModel` or anything that is called with an array and gives one:
        NumPy arrays or torch tensors. Several models, in a list, are an ensemble, and their mean
        is the answer.
    fallback
        The physics: called with the same arguments, gives an array of the same shape and dtype.
    input_range
        The inputs (the first argument) to trust the model with. Default: the range that was
        published with the model, as that changes; none if there was none. An ensemble is trusted
        with what is in the range of each of its members.
    max_spread
        How far an ensemble may disagree: the root mean square of the members' standard deviation,
        relative to that of their mean.
    tolerated
        The share of cells in a call, or in a sample, that may be out of range.
    per
        What falls back as one: the whole ``"call"``; each ``"sample"`` (axis 0) or each ``"cell"``
        by itself. For the latter two, outputs lie as the inputs do, and both model and physics are
        computed whole. A cell is what is left of the inputs without their axis of channels.
    name
        In the trace. Default: that of the model.

    Notes
    -----
    The physics also gives what the model cannot: everything while no version is in force, and
    whatever of its outputs is not finite. A model that raises raises: that is a mistake.

    Each process decides for itself. Counting is for one thread.
    """

    def __init__(
        self,
        model: Callable[..., Any] | Sequence[Callable[..., Any]],
        fallback: Callable[..., Any],
        *,
        input_range: InputRange | None = None,
        max_spread: float | None = None,
        tolerated: float = 0.0,
        per: Literal["call", "sample", "cell"] = "call",
        name: str | None = None,
    ) -> None:
        self.models = [model] if callable(model) else list(model)
        if not self.models:
            raise ValueError("a guard needs a model, or several")
        if max_spread is not None and len(self.models) < 2:
            raise ValueError(
                "the spread is that of an ensemble: pass several models to use max_spread"
            )
        if max_spread is not None and not max_spread > 0:
            raise ValueError(f"max_spread={max_spread}: it must be greater than zero")
        if not 0 <= tolerated < 1:
            raise ValueError(f"tolerated={tolerated}: it is a share, at least 0 and less than 1")
        if per not in GRAINS:
            raise ValueError(f"per={per!r}: say one of {', '.join(map(repr, GRAINS))}")
        self._fallback = fallback
        self._input_range = input_range
        self._max_spread = max_spread
        self._grain: Grain = GRAINS[per](tolerated)
        self.name = str(name or getattr(self.models[0], "name", "model"))
        self._by_reason: Counter[str] = Counter()
        self._calls = self._fallbacks = 0
        self._share = self._seconds = 0.0
        self.last = Verdict((), 0.0)
        """What it thought of the last call."""

    def __call__(self, inputs: Any, *args: Any, **named: Any) -> Any:
        """The model's outputs, or those of the physics, or both put together."""
        started = time.time_ns()
        outputs, self.last = self._judged(inputs, args, named)
        ended = time.time_ns()
        self._calls += 1
        self._fallbacks += bool(self.last.reasons)
        self._by_reason.update(self.last.reasons)
        self._share += self.last.share
        self._seconds += (ended - started) * 1e-9
        if observe.recording:
            observe.record(observe.CALL_MODEL, self.name, started, ended, 0, 0)
            for reason in self.last.reasons:
                observe.record(observe.FALL_BACK, f"{self.name}: {reason}", started, ended, 0, 0)
        return outputs

    def refresh(self) -> bool:
        """Refresh the models that follow a publisher. True if one is in another version now."""
        followed = [model for model in self.models if isinstance(model, FollowedModel)]
        return sum(model.refresh() for model in followed) > 0  # all of them, not up to the first

    @property
    def input_range(self) -> InputRange | None:
        """The range it keeps to: its own, or that of the version in force; the first of several."""
        return next(iter(self._ranges(self.models)), None)

    def statistics(self) -> GuardStatistics:
        """What it has done so far."""
        share = self._share / self._calls if self._calls else 0.0
        return GuardStatistics(
            self._calls, self._fallbacks, dict(self._by_reason), share, self._seconds
        )

    def _judged(
        self, inputs: Any, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[Any, Verdict]:
        if not all(getattr(model, "ready", True) for model in self.models):
            return self._fallback(inputs, *args, **named), Verdict((NO_MODEL,), 1.0)
        # One version for the range and for the answer, should another thread refresh.
        models = [
            model.pinned() if isinstance(model, FollowedModel) else model for model in self.models
        ]
        doubts: dict[str, Any] = {}
        ranges = self._ranges(models)
        for bounds in ranges:
            if not bounds.holds(inputs):
                strange = self._grain.strangers(bounds.outside(inputs))
                doubts[INPUT_RANGE] = doubts.get(INPUT_RANGE, False) | strange
        if INPUT_RANGE in doubts and self._grain.all_of(doubts[INPUT_RANGE]):
            return self._fallback(inputs, *args, **named), Verdict((INPUT_RANGE,), 1.0)
        answers = [model(inputs, *args, **named) for model in models]
        channel = ranges[0].axis if ranges else 1
        outputs, spread = self._joined(answers, channel)
        if spread is not None:
            doubts[SPREAD] = spread
        finite = arrays_of(outputs).finite(outputs)
        if not finite.all():
            doubts[NON_FINITE] = self._grain.broken(~finite, channel)
        reasons = tuple(reason for reason, mask in doubts.items() if mask.any())
        if not reasons:
            return outputs, Verdict((), 0.0)
        physics = self._fallback(inputs, *args, **named)
        mask = doubts[reasons[0]]
        for reason in reasons[1:]:
            mask = mask | doubts[reason]
        return self._grain.put_together(mask, physics, outputs, channel), Verdict(
            reasons, float(arrays_of(outputs).share(mask, tuple(range(mask.ndim))))
        )

    def _ranges(self, models: Sequence[Any]) -> list[InputRange]:
        """The ranges that inputs must lie in."""
        if self._input_range is not None:
            return [self._input_range]
        published = (getattr(model, "input_range", None) for model in models)
        return [bounds for bounds in published if bounds is not None]

    def _joined(self, answers: list[Any], channel: int) -> tuple[Any, Any]:
        """The mean of the ensemble, and where it disagrees too much."""
        if len(answers) == 1:
            return answers[0], None
        arrays = arrays_of(answers[0])
        members = arrays.stack(answers)
        mean = members.mean(0)
        if self._max_spread is None or 0 in mean.shape:
            return mean, None
        variance = arrays.mean_square(members - mean, (0,))[0]
        return mean, self._grain.spread(variance, mean, self._max_spread, channel)

    def __repr__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self._by_reason.items())
        return (
            f"<Guard {self.name!r}: {self._calls} calls, {self._fallbacks} to the physics"
            f"{f' ({reasons})' if reasons else ''}>"
        )
