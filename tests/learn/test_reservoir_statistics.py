"""Chance, tested as chance: with fixed seeds, at levels that a fair reservoir passes.

Each test compares counts with what they should be on average by a chi-square statistic, and asks
that it lies inside the central 99.9 % of its distribution: neither too uneven, nor too even.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import dovetail as dv
from dovetail.learn import Provenance

LEVEL = 0.0005
SEEDS = range(3)


def plausible(observed: Any, expected: Any, constraints: int = 1) -> bool:
    observed, expected = np.asarray(observed, float), np.asarray(expected, float)
    assert expected.min() > 5, "too few for the statistic to be one of chi-square"
    statistic = ((observed - expected) ** 2 / expected).sum()
    low, high = stats.chi2.ppf([LEVEL, 1 - LEVEL], observed.size - constraints)
    return bool(low < statistic < high)


def put(reservoir: dv.Reservoir, number: int) -> None:
    assert reservoir.put({"u": np.float32(number)}, Provenance("run", number), 0)


def draw(reservoir: dv.Reservoir) -> int:
    sample = reservoir.draw(0)
    assert sample is not None
    return sample.number


@pytest.mark.parametrize("seed", SEEDS)
def test_draws_are_uniform_over_what_is_held(seed: int) -> None:
    reservoir = dv.Reservoir(50, seed=seed)
    for number in range(50):
        put(reservoir, number)
    counts = Counter(draw(reservoir) for _ in range(50_000))
    assert plausible([counts[number] for number in range(50)], np.full(50, 1000))


@pytest.mark.parametrize("seed", SEEDS)
def test_successive_draws_are_independent(seed: int) -> None:
    reservoir = dv.Reservoir(10, seed=seed)
    for number in range(10):
        put(reservoir, number)
    drawn = [draw(reservoir) for _ in range(50_001)]
    pairs = Counter(itertools.pairwise(drawn))
    assert plausible([pairs[a, b] for a in range(10) for b in range(10)], np.full(100, 500), 10)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_order_of_firo_is_equally_likely(seed: int) -> None:
    orders: Counter[tuple[int, ...]] = Counter()
    for repeat in range(4800):
        reservoir = dv.Reservoir(4, policy="firo", seed=seed * 10_000 + repeat)
        for number in range(4):
            put(reservoir, number)
        reservoir.close()
        orders[tuple(sample.number for sample in reservoir.draw_many(9))] += 1
    assert len(orders) == 24
    assert plausible(list(orders.values()), np.full(24, 200))


def ages_held(seed: int, capacity: int, samples: int) -> NDArray[np.int64]:
    """How many newer samples there are than each of those held at the end."""
    reservoir = dv.Reservoir(capacity, seed=seed)
    for number in range(samples):
        put(reservoir, number)
        reservoir.draw_many(40)  # so that nearly all are seen
    numbers = reservoir.state_dict()["number"]
    return samples - 1 - np.array(numbers)


def test_what_is_held_is_drawn_from_the_whole_stream_and_thins_out_exponentially() -> None:
    """The seen are let go at random: a sample survives `a` newer ones with (1 - 1/C)^a."""
    capacity, samples, repeats = 20, 100, 60
    ages = np.concatenate([ages_held(seed, capacity, samples) for seed in range(repeats)])
    edges = np.array([0, 5, 10, 15, 20, 30, 45, samples])
    survival = (1 - 1 / capacity) ** np.arange(samples)
    # While there was room nothing was let go: the first samples met fewer evictions.
    survival[samples - capacity :] = (1 - 1 / capacity) ** (samples - capacity)
    expected = [repeats * survival[a:b].sum() for a, b in itertools.pairwise(edges)]
    observed, _ = np.histogram(ages, edges)
    assert observed.sum() == capacity * repeats
    # Within a reservoir the counts are tied to one another: at most as uneven as if they were not.
    statistic = ((observed - np.array(expected)) ** 2 / np.array(expected)).sum()
    assert statistic < stats.chi2.ppf(1 - LEVEL, len(expected) - 1)


@pytest.mark.parametrize("evict", ["random", "oldest", "most_seen"])
@pytest.mark.parametrize("draws", [1, 2, 5])
def test_over_a_long_stream_every_sample_is_drawn_and_none_is_dropped_unseen(
    evict: Any, draws: int
) -> None:
    reservoir = dv.Reservoir(30, evict=evict, seed=draws)
    counts: Counter[int] = Counter()
    number = 0
    while number < 1000:
        while number < 1000 and reservoir.has_room():
            put(reservoir, number)
            number += 1
            counts.update(draw(reservoir) for _ in range(draws))
        counts[draw(reservoir)] += 1  # it is full of unseen ones: the producer has to wait
    reservoir.close()
    while (sample := reservoir.draw(0)) is not None:
        counts[sample.number] += 1
    assert set(counts) == set(range(1000))
    statistics = reservoir.statistics()
    assert statistics.drawn == sum(counts.values())
    assert statistics.evicted + 30 == 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_several_simulations_are_drawn_alike_whatever_the_order_of_their_launch(seed: int) -> None:
    reservoir = dv.Reservoir(400, seed=seed)
    for simulation in range(4):  # one after the other, as a queue launches them
        for step in range(100):
            reservoir.put({"u": np.float32(0)}, Provenance(f"run {simulation}", step), 0)
    counts = Counter(sample.provenance.simulation for sample in reservoir.draw_many(20_000, 0))
    assert plausible(list(counts.values()), np.full(4, 5000))


def test_seen_counts_are_those_of_the_draws() -> None:
    reservoir = dv.Reservoir(20, seed=1)
    counts: Counter[int] = Counter()
    for number in range(200):
        put(reservoir, number)
        for sample in reservoir.draw_many(3):
            counts[sample.number] += 1
            assert sample.seen == counts[sample.number]


def test_the_held_out_are_an_even_choice_over_the_whole_simulation() -> None:
    import threading

    from dovetail.learn.held_out import HeldOutMemory

    counts: Counter[int] = Counter()
    for seed in range(2000):
        memory = HeldOutMemory(10, seed, threading.Condition(threading.RLock()))
        for number in range(40):
            memory.keep({"u": np.zeros(1)}, Provenance("held", number))
        kept = memory.wait_for(10, 0)
        assert [sample.number for sample in kept] == sorted(sample.number for sample in kept)
        counts.update(sample.number for sample in kept)
    assert sum(counts.values()) == 20_000
    # Drawn without replacement, the counts vary less than a multinomial's: by 1 - 10/40.
    expected = np.full(40, 500.0)
    statistic = ((np.array([counts[n] for n in range(40)]) - expected) ** 2 / expected).sum()
    low, high = stats.chi2.ppf([LEVEL, 1 - LEVEL], 39)
    assert low < statistic / (1 - 10 / 40) < high
