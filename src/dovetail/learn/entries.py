"""Samples as they are held, one by one, and as the columns of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dovetail.learn.samples import Arrays, Provenance, copied


@dataclass(slots=True, eq=False)
class Entry:
    """A sample that is held."""

    number: int
    """Its place in the order of arrival."""
    arrays: Arrays
    provenance: Provenance
    seen: int = 0
    """How often it was drawn."""
    place: int = -1
    """Where it lies in the list that holds it; -1 once it has left."""
    stale: bool = False
    """It leaves as soon as it has been drawn once."""


def columns_of(entries: Sequence[Entry], names: Sequence[str]) -> dict[str, Any]:
    """All that there is to know of samples with arrays of these names; no array is copied."""
    return {
        "names": list(names),
        "number": [entry.number for entry in entries],
        "seen": [entry.seen for entry in entries],
        "stale": [entry.stale for entry in entries],
        "provenance": [entry.provenance.to_json() for entry in entries],
        "arrays": {name: [entry.arrays[name] for entry in entries] for name in names},
    }


def entries_in(columns: Mapping[str, Any]) -> list[Entry]:
    """The samples of :func:`columns_of`, with copies of their arrays."""
    entries = []
    for place, number in enumerate(columns["number"]):
        arrays = copied({name: columns["arrays"][name][place] for name in columns["names"]})
        entries.append(
            Entry(
                number,
                arrays,
                Provenance(**columns["provenance"][place]),
                columns["seen"][place],
                stale=columns["stale"][place],
            )
        )
    return entries
