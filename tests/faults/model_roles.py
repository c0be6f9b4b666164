"""What publishers and followers of models do in fault tests.

All weights of a version hold one number, which its attributes name too: a mixture shows.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import dovetail as dv
from dovetail.model import FollowedModel, publish_model  # here, and not when the time runs
from dovetail.testing.children import Channel
from dovetail.testing.store_roles import Ledger

SHAPES = {"first.weight": (64, 9), "first.bias": (64,), "last.weight": (300, 64), "steps": ()}


def weights_of(number: int) -> dict[str, Any]:
    return {name: np.full(shape, float(number)) for name, shape in SHAPES.items()}


def number_of(model: FollowedModel) -> int:
    """The number that the weights in force hold. Raises AssertionError for a mixture."""
    number: int = model.attrs["number"]
    for name, array in model.model.items():
        assert (np.asarray(array) == number).all(), f"{name} is not all of version {number}"
    return number


def publish_for_ever(channel: Channel, url: str, ledger: str, first: int) -> None:
    """Publish until killed; note the last number that is out, and its version."""
    out = Ledger(ledger, 2)
    with dv.open_store(url) as store:
        channel.send("ready")
        for number in itertools.count(first):
            version = publish_model(store, "m", weights_of(number), {"number": number})
            assert version > out.slots[1], f"version {version} after {out.slots[1]}"
            out.slots[:] = number, version


def follow_until_told(channel: Channel, url: str) -> None:
    """Refresh and check until a message comes; answer with what was seen."""
    with dv.open_store(url) as store:
        model = FollowedModel(store, "m", weights_of(0))
        channel.send("ready")
        version = number = 0
        while not channel.waiting():
            if model.refresh():
                assert model.version > version, f"version {model.version} after {version}"
                assert number_of(model) > number
                version, number = model.version, number_of(model)
    channel.send([model.statistics().taken, model.statistics().refused])
