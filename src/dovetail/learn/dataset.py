"""A torch dataset that is fed by running simulations."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.util import Finalize
from typing import Any

import torch
import torch.distributed
from torch.utils.data import IterableDataset, default_collate, get_worker_info

from dovetail.learn.held_out import HeldOutMemory, HoldOut, Selection
from dovetail.learn.intake import Intake, Manner
from dovetail.learn.receiving import OnLost, Prepare, check_source
from dovetail.learn.reservoir import Reservoir
from dovetail.learn.samples import NamedArrays, Sample
from dovetail.learn.settings import (
    Eviction,
    NonFinite,
    PolicyName,
    check_choice,
    check_whole,
)
from dovetail.learn.shares import Consumer, shares
from dovetail.learn.statistics import LearnStatistics
from dovetail.learn.tensors import stacked, tensors
from dovetail.transport import ReadStep, StreamReader
from dovetail.transport.closing import Closing

Source = str | StreamReader
Streams = Source | Sequence[Source] | Mapping[str, Source]
VERSION = 1


def whole_step(step: ReadStep) -> NamedArrays:
    """All arrays of a step, as one sample."""
    return step


class OnlineDataset(Closing, IterableDataset):  # type: ignore[misc]
    """Samples of running simulations, drawn from a reservoir.

    Threads in the background receive the streams, copy each sample into the reservoir, and let
    the stream go on. An iteration draws from it until all streams have ended and everything was
    drawn; a second one goes on where the first was left.

    Parameters
    ----------
    streams
        One or several: names or URLs, or open readers; or a mapping of names to these.
    capacity, policy, watermark, max_reuse, evict, max_staleness, non_finite, seed
        Of the reservoir, as for :class:`~dovetail.Reservoir`. Several ranks and workers have one
        each, of this capacity.
    prepare
        Makes one sample (a mapping of names to arrays) of a step, or an iterable of several. It
        runs in the receiving thread; what it returns is copied. The default takes all arrays.
    transform
        Makes of a drawn :class:`~dovetail.learn.Sample`, whose arrays are read-only, what is
        delivered. The default is a dictionary of names to tensors of their own.
    batch_size
        Delivers batches of so many samples, stacked (with a `transform`: collated), for
        ``DataLoader(dataset, batch_size=None)``: faster than to have the loader collate them.
        The last one may be smaller.
    replay_ratio
        Draws for each sample that enters the reservoir. What is drawn is then a function of the
        seed and the streams alone, producers take turns, and the trainer waits for them if it is
        faster; a sample that is held out or refused is a turn that is passed. ``None``: samples
        enter as they come, and nobody waits who need not.
    hold_out
        Names of simulations, or of streams, that are never learned from, or a predicate on
        :class:`~dovetail.learn.Provenance`; see :meth:`held_out`.
    hold_out_capacity
        The most held-out samples kept; beyond that, an even choice over all.
    samples_per_epoch
        An iteration ends after so many samples; the next one goes on.
    on_lost
        What becomes of a producer that died. ``"raise"``: once all that came was drawn, the
        iteration raises PeerLostError. ``"reopen"``: the same, unless it is restarted within
        `timeout`. ``"continue"``: learning goes on with the others, if there are any.
    rank, size
        Which of the processes that learn together this is. The default is what
        ``torch.distributed`` says, the variables ``RANK`` and ``WORLD_SIZE``, or the workflow.
    group
        Name of the reader group of those who share a stream; give two datasets in one workflow
        different ones.
    timeout
        Seconds that a producer may be silent, or take to open its stream; ``None``: for ever.

    Raises
    ------
    InvalidURLError, ValueError, TypeError
    """

    def __init__(
        self,
        streams: Streams,
        *,
        capacity: int,
        policy: PolicyName = "reservoir",
        watermark: int = 1,
        max_reuse: int | None = None,
        evict: Eviction = "random",
        max_staleness: int | None = None,
        non_finite: NonFinite = "refuse",
        seed: int = 0,
        prepare: Prepare = whole_step,
        transform: Callable[[Sample], Any] | None = None,
        batch_size: int | None = None,
        replay_ratio: float | None = None,
        hold_out: HoldOut = (),
        hold_out_capacity: int = 256,
        samples_per_epoch: int | None = None,
        on_lost: OnLost = "raise",
        rank: int | None = None,
        size: int | None = None,
        group: str = "learn",
        timeout: float | None = 60.0,
    ) -> None:
        super().__init__()
        check_choice("on_lost", on_lost, ("raise", "reopen", "continue"))
        check_whole("hold_out_capacity", hold_out_capacity)
        for name, value in (("batch_size", batch_size), ("samples_per_epoch", samples_per_epoch)):
            if value is not None:
                check_whole(name, value)
        if replay_ratio is not None and not replay_ratio > 0:
            raise ValueError(f"replay_ratio={replay_ratio}: draws for each sample, more than 0")
        if (rank is None) != (size is None):
            raise ValueError(f"rank={rank}, size={size}: give both, or neither")
        self._sources = _named(streams)
        self._selection = Selection(hold_out, self._sources)
        if not self._learned_from:
            raise ValueError(f"hold_out leaves none of {', '.join(self._sources)} to learn from")
        self._reservoir: dict[str, Any] = {
            "capacity": capacity,
            "policy": policy,
            "watermark": watermark,
            "max_reuse": max_reuse,
            "evict": evict,
            "max_staleness": max_staleness,
            "non_finite": non_finite,
        }
        self._seed = seed
        Reservoir(**self._reservoir)  # refuses wrong settings here, and not in a worker
        self._hold_out_capacity = hold_out_capacity
        self._manner = Manner(prepare, timeout, on_lost, group, replay_ratio)
        self._transform = transform
        self._batch_size = batch_size
        self._samples_per_epoch = samples_per_epoch
        self._rank_and_size = None if rank is None or size is None else (rank, size)
        self._consumer()
        self._intake: Intake | None = None
        self._pid = 0
        self._state: Mapping[str, Any] | None = None
        self._drawn_in_epoch = 0
        self._begin_at = 0

    @property
    def _learned_from(self) -> list[str]:
        return [name for name in self._sources if name not in self._selection.streams]

    def __iter__(self) -> Iterator[Any]:
        intake = self._intake_here()
        intake.start()
        drawn, self._begin_at = self._begin_at, 0
        most = self._samples_per_epoch
        while most is None or drawn < most:
            wanted = self._batch_size or 1
            samples = intake.draw_many(wanted if most is None else min(wanted, most - drawn))
            if not samples:
                break
            drawn += len(samples)
            self._drawn_in_epoch = drawn
            yield self._delivered(samples)
        self._drawn_in_epoch = 0

    def _delivered(self, samples: list[Sample]) -> Any:
        if self._transform is not None:
            made = [self._transform(sample) for sample in samples]
            return made[0] if self._batch_size is None else default_collate(made)
        return tensors(samples[0]) if self._batch_size is None else stacked(samples)

    def start(self) -> None:
        """Begin to receive before the first iteration does. For one process without workers."""
        self._intake_here().start()

    def held_out(self, at_least: int = 0, timeout: float | None = 60.0) -> HeldOut:
        """The held-out samples that have come so far, in order of arrival.

        Streams that are held out whole are received from now on at the latest, in the process
        that asks; so this works beside the workers of a loader, too. After :meth:`close` or
        :meth:`stop`, no more will come.

        Parameters
        ----------
        at_least
            Wait until so many have come, or no more will.
        timeout
            Seconds; ``None`` waits for ever.

        Raises
        ------
        TransportTimeoutError
        """
        intake = self._intake_here()
        intake.start_held_out()
        return HeldOut(intake.held_out.wait_for(at_least, timeout))

    @property
    def received(self) -> int:
        """Samples that the reservoir of this process has taken in so far."""
        return self._intake_here().reservoir.received

    def statistics(self) -> LearnStatistics:
        """What was received, drawn and waited for in this process.

        The workers of a loader each count for themselves.
        """
        return self._intake_here().statistics()

    def state_dict(self) -> dict[str, Any]:
        """All that it takes to go on: samples, chance, how far each producer is.

        The arrays are those of the reservoir, not copies. Cheap, but what is done with it may
        not be: with workers, a StatefulDataLoader moves it between processes, so set its
        ``snapshot_every_n_steps`` accordingly.
        """
        intake = self._own_intake()
        return {
            "version": VERSION,
            "drawn_in_epoch": self._drawn_in_epoch if intake else self._begin_at,
            "intake": intake.state_dict() if intake else self._state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the dataset was whose state this is. Before the first iteration.

        Steps that the stream gives again are not taken again; steps that went by meanwhile are
        counted as ``missed``.

        Raises
        ------
        ValueError
            If this dataset has begun, or was made with other settings.
        """
        if self._own_intake() is not None:
            raise ValueError("this dataset has begun to receive: load the state into a new one")
        if state["version"] != VERSION:
            raise ValueError(f"the state is of version {state['version']}; this reads {VERSION}")
        self._state = state["intake"]
        self._begin_at = state["drawn_in_epoch"]

    def close(self) -> None:
        """Leave the streams. Harmless if that is done."""
        intake = self._own_intake()
        if intake is not None:
            intake.close()

    def stop(self) -> None:
        """As :meth:`close`, but tell the producers that no more is wanted. Not after it."""
        intake = self._own_intake()
        if intake is not None:
            intake.stop()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for name, source in self._sources.items():
            if not isinstance(source, str):
                raise TypeError(
                    f"{name} is an open reader, which cannot go to another process: give its "
                    f"name or URL instead"
                )
        consumer = self._consumer()
        state["_rank_and_size"] = (consumer.rank, consumer.size)
        state["_intake"], state["_pid"] = None, 0
        return state

    def _own_intake(self) -> Intake | None:
        """That of this process: a forked one has none of its parent's threads."""
        return self._intake if self._pid == os.getpid() else None

    def _intake_here(self) -> Intake:
        intake = self._own_intake()
        if intake is None:
            intake = self._intake = self._made_intake()
            self._pid = os.getpid()
            weakref.finalize(self, _close_in, self._pid, intake)
            if get_worker_info() is not None:  # workers end without what is done at exit
                Finalize(None, intake.close, exitpriority=1)
        return intake

    def _made_intake(self) -> Intake:
        consumer = self._consumer()
        held_out_whole = sorted(self._selection.streams)
        if get_worker_info() is not None:
            if self._selection.needs_a_look:
                raise ValueError(
                    "held-out samples would gather in the worker that receives them: hold out "
                    "whole streams, by their names, or use num_workers=0 (receiving runs in the "
                    "background all the same)"
                )
            held_out_whole = []
        reservoir = Reservoir(**self._reservoir, seed=self._seed_of(consumer))
        memory = HeldOutMemory(self._hold_out_capacity, self._seed, reservoir.changed)
        intake = Intake(
            self._sources,
            shares(self._learned_from, consumer),
            shares(held_out_whole, Consumer(consumer.rank, consumer.size)),
            reservoir,
            memory,
            self._selection,
            self._manner,
        )
        if self._state is not None:
            intake.load_state_dict(self._state)
        return intake

    def _seed_of(self, consumer: Consumer) -> int:
        return self._seed if consumer.count == 1 else self._seed * 1_000_003 + consumer.index

    def _consumer(self) -> Consumer:
        rank, size = self._rank_and_size or _rank_and_size()
        worker = get_worker_info()
        if worker is None:
            return Consumer(rank, size)
        return Consumer(rank, size, worker.id, worker.num_workers)


class HeldOut(Sequence[dict[str, torch.Tensor]]):
    """Held-out samples: a dataset for validation, which no longer changes.

    Attributes
    ----------
    samples
        The same as :class:`~dovetail.learn.Sample`, with their provenance.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = tuple(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return HeldOut(self.samples[place])
        return tensors(self.samples[place])

    def batch(self) -> dict[str, torch.Tensor]:
        """All of them, stacked: names to tensors of shape (samples, …)."""
        return stacked(self.samples)


def _close_in(pid: int, intake: Intake) -> None:
    if os.getpid() == pid:
        intake.close()


def _named(streams: Streams) -> dict[str, Source]:
    if isinstance(streams, Mapping):
        named = dict(streams)
    else:
        single = isinstance(streams, str) or hasattr(streams, "next_step")
        listed: Sequence[Any] = [streams] if single else list(streams)
        named = {check_source(source): source for source in listed}
        if len(named) < len(listed):
            raise ValueError("a stream is given twice: each of them is received once")
    for source in named.values():
        check_source(source)
    if not named:
        raise ValueError("there is no stream to receive: give at least one")
    return named


def _rank_and_size() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    for rank, size in (("RANK", "WORLD_SIZE"), ("DOVETAIL_RANK", "DOVETAIL_SIZE")):
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1
