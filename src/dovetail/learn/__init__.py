"""Learning from running simulations: reservoirs, online datasets, checkpoints.

The training loop stays yours. :class:`OnlineDataset` is an ``IterableDataset`` of torch that is
fed by streams; :class:`Reservoir` is the memory in it, and can be used without torch;
:func:`save_checkpoint` keeps both, with model and optimizer, so that a killed trainer goes on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dovetail.learn.checkpoint import load_checkpoint, save_checkpoint
from dovetail.learn.positions import Position
from dovetail.learn.reservoir import Reservoir
from dovetail.learn.samples import Provenance, Sample
from dovetail.learn.statistics import LearnStatistics, ReservoirStatistics

if TYPE_CHECKING:
    from dovetail.learn.dataset import HeldOut, OnlineDataset

__all__ = [
    "HeldOut",
    "LearnStatistics",
    "OnlineDataset",
    "Position",
    "Provenance",
    "Reservoir",
    "ReservoirStatistics",
    "Sample",
    "load_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first used."""
    if name in ("HeldOut", "OnlineDataset"):
        return getattr(import_module("dovetail.learn.dataset"), name)
    raise AttributeError(f"module 'dovetail.learn' has no attribute {name!r}")
