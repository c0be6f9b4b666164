"""A block of a stream of ours inside an SST step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from dovetail.data.layout import Entry, Header, Piece, decode
from dovetail.transport.engines.adios.writing import Placed

VARIABLE = "dovetail/block"
"""The string variable that describes it, as JSON."""


class Description(NamedTuple):
    """What is said of a block beside its arrays."""

    number: int
    """Its number at its carrier."""
    kind: str
    """``block``, or ``gone``: nobody can have it any more."""
    pieces: list[Any]
    metadata: dict[str, str]


def write(description: Description) -> str:
    """As text."""
    return json.dumps(description)


def read(text: str) -> Description:
    """From its text."""
    return Description(*json.loads(text))


def of_header(header: Header) -> list[Any]:
    """The pieces of a block: name, code, stored shape and bytes of each array."""
    variables = decode(header[1], header[2])
    return [
        [name, code, shape, nbytes]
        for name, code, shape, _, nbytes in map(tuple, header[1])
        if name in variables
    ]


def placed(memory: Any, header: Header) -> list[Placed]:
    """The arrays of a block, where they lie."""
    variables = decode(header[1], header[2]).values()
    return [Placed(variable, variable.view(memory)) for variable in variables]


def pieces_of(described: Sequence[Any]) -> list[Piece]:
    """Pieces without bytes yet."""
    return [Piece(name, code, tuple(shape), None) for name, code, shape, _ in described]


def entries_of(described: Sequence[Any], extents: Sequence[tuple[int, int]]) -> list[Entry]:
    """Where the pieces lie in the room that was made for them."""
    return [
        Entry(name, code, tuple(shape), offset, nbytes)
        for (name, code, shape, _), (offset, nbytes) in zip(described, extents, strict=True)
    ]
