"""Timing: what is counted, and what is made of it."""

from __future__ import annotations

from dovetail.bench.measure import Label, measure


def test_every_operation_is_measured_as_often_as_asked() -> None:
    calls: dict[str, list[int]] = {"a": [], "b": []}

    def operation(name: str, seconds: float):
        def run(count: int) -> float:
            calls[name].append(count)
            return count * seconds

        return run

    labels = {name: Label(name, "work", 1000) for name in calls}
    fast, slow = measure(
        {labels["a"]: operation("a", 1e-6), labels["b"]: operation("b", 5e-3)},
        repeats=5,
        batch_seconds=0.01,
    )
    assert fast.label == labels["a"]
    assert (fast.repeats, slow.repeats) == (5, 5)
    assert fast.batch == 10_000
    assert slow.batch == 2
    assert fast.median == fast.fastest == fast.lower_quartile == 1e-6
    assert fast.bytes_per_second == 1e9
    assert calls["a"][-5:] == [10_000] * 5
    assert calls["b"][-5:] == [2] * 5


def test_the_spread_is_that_of_the_repeats() -> None:
    times = iter([1.0, 1.0, *(5.0, 1.0, 3.0, 2.0, 4.0)])
    (measurement,) = measure(
        {Label("peer", "work", 1): lambda count: next(times)}, repeats=5, batch_seconds=1.0
    )
    assert measurement.fastest == 1.0
    assert (measurement.lower_quartile, measurement.median, measurement.upper_quartile) == (2, 3, 4)


def test_one_repeat_is_enough() -> None:
    (measurement,) = measure(
        {Label("peer", "work", 1): lambda count: 0.5 * count}, repeats=1, batch_seconds=0.5
    )
    assert measurement.lower_quartile == measurement.upper_quartile == measurement.median == 0.5
