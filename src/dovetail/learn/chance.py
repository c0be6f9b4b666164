"""The state of a source of chance, as JSON values."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any


def state_of(chance: random.Random) -> list[Any]:
    """All that decides what it gives next."""
    version, words, gauss = chance.getstate()
    return [version, list(words), gauss]


def restore(chance: random.Random, state: Sequence[Any]) -> None:
    """Go on as the source whose state this is."""
    version, words, gauss = state
    chance.setstate((version, tuple(words), gauss))
