"""The state of a stream as JSON: where a new log goes on from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dovetail.errors import CorruptDataError
from dovetail.transport.ledger.state import (
    Contribution,
    Epoch,
    Group,
    ReaderRank,
    State,
    WriterRank,
)
from dovetail.transport.policies import Policy


def to_json(state: State) -> dict[str, Any]:
    """A state as JSON values."""
    return {
        "newest": state.newest,
        "epochs": [_epoch_to_json(epoch) for epoch in state.epochs.values()],
        "refusals": state.refusals,
    }


def from_json(kept: dict[str, Any]) -> State:
    """The state that :func:`to_json` wrote.

    Raises
    ------
    CorruptDataError
    """
    state = State()
    try:
        state.newest = int(kept["newest"])
        state.epochs = {one["number"]: _epoch_from_json(one) for one in kept["epochs"]}
        state.refusals = dict(kept["refusals"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(f"the state of a stream is not what it should be: {error}") from None
    return state


def _epoch_to_json(epoch: Epoch) -> dict[str, Any]:
    return {
        "number": epoch.number,
        "policy": [epoch.policy.kind, epoch.policy.window],
        "size": epoch.size,
        "capacity": epoch.capacity,
        "writers": [[rank, asdict(writer)] for rank, writer in epoch.writers.items()],
        "groups": [_group_to_json(group) for group in epoch.groups.values()],
        "steps": [
            [step, [[rank, asdict(part)] for rank, part in parts.items()]]
            for step, parts in epoch.steps.items()
        ],
        "oldest": epoch.oldest,
        "owners": list(epoch.owners.items()),
        "done": sorted(epoch.done),
        "stop": epoch.stop,
        "heard": epoch.heard,
    }


def _epoch_from_json(kept: dict[str, Any]) -> Epoch:
    epoch = Epoch(kept["number"], Policy(*kept["policy"]), kept["size"], kept["capacity"])
    epoch.writers = {rank: WriterRank(**writer) for rank, writer in kept["writers"]}
    epoch.groups = {one["id"]: _group_from_json(one) for one in kept["groups"]}
    epoch.steps = {
        step: {rank: Contribution(**part) for rank, part in parts} for step, parts in kept["steps"]
    }
    epoch.oldest = kept["oldest"]
    epoch.owners = dict(kept["owners"])
    epoch.done = set(kept["done"])
    epoch.stop = kept["stop"]
    epoch.heard = kept["heard"]
    return epoch


def _group_to_json(group: Group) -> dict[str, Any]:
    return {
        **asdict(group),
        "ranks": [[number, asdict(rank)] for number, rank in group.ranks.items()],
        "redelivered": sorted(group.redelivered),
    }


def _group_from_json(kept: dict[str, Any]) -> Group:
    ranks = {number: ReaderRank(**rank) for number, rank in kept["ranks"]}
    return Group(**{**kept, "ranks": ranks, "redelivered": set(kept["redelivered"])})
