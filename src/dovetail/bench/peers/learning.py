"""From samples to the batches of a training loop: fed by a stream, or held in memory.

Operations of one name do the same with both peers, for each sample: ``drawn`` (batches of samples
drawn at random, again and again). The fed one has two of its own: ``each once`` (every sample is
new, and comes through the stream), and two of gradient steps of 5 ms on 8 new samples each, while
the simulation goes as fast as it may: ``starved`` (the time of each in which the trainer waits for
samples) and ``fetched`` (all of the time that it takes to get the batch: the wait, the copy into
tensors, and what the receiving thread costs where cores are few).
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import dovetail as dv
from dovetail.bench.measure import Operation
from dovetail.bench.partner import Control, expect, partner
from dovetail.bench.payload import STEPS_HELD
from dovetail.bench.peers.contract import Scene
from dovetail.errors import DovetailError

BATCH = 32
HELD_BYTES, FEWEST, MOST = 64 << 20, 4 * BATCH, 64 * BATCH
"""What a reservoir holds: so many bytes, but no fewer and no more samples than these."""
GRADIENT_STEP, BATCH_OF_STEP = 5e-3, 8
"""Seconds and samples of a gradient step, in the operations ``starved`` and ``fetched``."""
STEPS_OBSERVED = 20
SHORTEST = 1e-9
"""Seconds; no wait at all counts as this one."""
REUSED = 8
"""How often each sample is drawn on average, in the operation ``drawn``."""

_numbers = itertools.count()


class LearningPeer(Protocol):
    """Something that batches come from."""

    name: str

    def missing(self) -> str | None:
        """Why it cannot run here, in words; ``None`` if it can."""
        ...

    def learn(self, nbytes: int, core: int | None) -> Scene:
        """Operations on samples of `nbytes`; simulations stay on `core`."""
        ...


def learning_peers() -> list[LearningPeer]:
    """Every peer of the benchmark, whether or not it can run here."""
    return [FromStream(), InMemory()]


def held(nbytes: int) -> int:
    """How many samples of so many bytes are held."""
    return min(max(HELD_BYTES // nbytes, FEWEST), MOST)


class FromStream:
    """An online dataset, driven through the public interface as a user would."""

    name = "shm"

    def missing(self) -> str | None:
        return _torch_missing()

    @contextmanager
    def learn(self, nbytes: int, core: int | None) -> Iterator[Mapping[str, Operation]]:
        with ExitStack() as stack:
            stack.enter_context(_one_thread())
            again = stack.enter_context(_fed(nbytes, core, _on_order, held(nbytes), "reservoir"))
            once = stack.enter_context(_fed(nbytes, core, _on_order, held(nbytes), "firo"))
            ahead = stack.enter_context(
                _fed(nbytes, core, _unasked, 4 * BATCH_OF_STEP, "firo", BATCH_OF_STEP)
            )
            again.control.send(FEWEST)
            next(again.batches)

            def drawn(count: int) -> float:
                started = time.perf_counter()
                again.control.send(-(-count // REUSED))
                for _ in range(-(-count // BATCH)):
                    next(again.batches)
                return (time.perf_counter() - started) * count / (-(-count // BATCH) * BATCH)

            def each_once(count: int) -> float:
                wanted = -(-count // BATCH) * BATCH
                started = time.perf_counter()
                once.control.send(wanted)
                for _ in range(wanted // BATCH):
                    next(once.batches)
                return (time.perf_counter() - started) * count / wanted

            compute = _gradient_step()
            next(ahead.batches)

            # Of these two a small part is measured: few steps stand for many.
            def starved(count: int) -> float:
                steps = min(count, STEPS_OBSERVED)
                before = ahead.data.statistics().seconds_starved
                for _ in range(steps):
                    compute(next(ahead.batches))
                waited: float = ahead.data.statistics().seconds_starved - before
                return max(waited * count / steps, SHORTEST)

            def fetched(count: int) -> float:
                steps = min(count, STEPS_OBSERVED)
                fetching = 0.0
                for _ in range(steps):
                    started = time.perf_counter()
                    batch = next(ahead.batches)
                    fetching += time.perf_counter() - started
                    compute(batch)
                return fetching * count / steps

            yield {"drawn": drawn, "each once": each_once, "starved": starved, "fetched": fetched}


class InMemory:
    """A ``TensorDataset`` with a shuffling ``DataLoader``: everything is there from the start."""

    name = "in memory"

    def missing(self) -> str | None:
        return _torch_missing()

    @contextmanager
    def learn(self, nbytes: int, core: int | None) -> Iterator[Mapping[str, Operation]]:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        samples = torch.from_numpy(np.stack([_sample(nbytes)] * held(nbytes)))
        loader = DataLoader(TensorDataset(samples), batch_size=BATCH, shuffle=True)

        def for_ever() -> Iterator[Any]:
            while True:
                yield from loader

        batches = for_ever()

        def drawn(count: int) -> float:
            wanted = -(-count // BATCH)
            started = time.perf_counter()
            for _ in range(wanted):
                next(batches)
            return (time.perf_counter() - started) * count / (wanted * BATCH)

        with _one_thread():
            yield {"drawn": drawn}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch computes on the one core that the benchmark stays on."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Fed:
    """A dataset, its batches, and the process that feeds it."""

    def __init__(self, data: Any, control: Control) -> None:
        from torch.utils.data import DataLoader

        self.data = data
        self.control = control
        self.batches = iter(DataLoader(data, batch_size=None))


@contextmanager
def _fed(
    nbytes: int,
    core: int | None,
    simulation: Callable[..., None],
    capacity: int,
    policy: Any,
    batch: int = BATCH,
) -> Iterator[_Fed]:
    room = (STEPS_HELD + 2) * (nbytes + 4096) + (16 << 20)
    url = f"shm://bench-{os.getpid()}-learn-{next(_numbers)}?capacity={room}"
    try:
        with (
            partner(simulation, url, nbytes, core=core) as control,
            dv.OnlineDataset(url, capacity=capacity, policy=policy, batch_size=batch) as data,
        ):
            data.start()
            expect(control, "ready")
            yield _Fed(data, control)
            data.stop()
    finally:
        try:
            dv.destroy_stream(url)
        except DovetailError:
            pass


def _on_order(control: Control, url: str, nbytes: int) -> None:
    """Write as many samples as are asked for, whenever they are."""
    sample = _sample(nbytes)
    with dv.open_stream(url, "w", policy=dv.buffered(STEPS_HELD)) as out:
        control.send("ready")
        while (count := control.recv()) is not None:
            for _ in range(count):
                _write(out, sample)


def _unasked(control: Control, url: str, nbytes: int) -> None:
    """Write samples as fast as they are taken."""
    sample = _sample(nbytes)
    try:
        with dv.open_stream(url, "w", policy=dv.buffered(STEPS_HELD), timeout=None) as out:
            control.send("ready")
            while not control.poll(0):
                _write(out, sample)
    except dv.StreamStoppedError:
        return


def _write(out: dv.StreamWriter, sample: NDArray[Any]) -> None:
    with out.step() as step:
        step.put("u", sample)


def _sample(nbytes: int) -> NDArray[Any]:
    values = np.random.default_rng(nbytes).standard_normal(max(nbytes // 4, 1), np.float32)
    return np.asarray(values)


def _gradient_step() -> Callable[[Any], None]:
    """Work that keeps one core busy as a small network does, mostly outside of Python."""
    import torch

    weights = torch.randn(128, 128)

    def compute(_: Any) -> None:
        until = time.perf_counter() + GRADIENT_STEP
        while time.perf_counter() < until:
            torch.mm(weights, weights)

    return compute


def _torch_missing() -> str | None:
    return None if importlib.util.find_spec("torch") else "pip install torch"
