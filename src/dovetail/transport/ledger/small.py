"""Small blocks, which travel inside the entry that announces them: nobody has to fetch them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from dovetail.data.layout import Piece
from dovetail.errors import CorruptDataError
from dovetail.transport.ledger.medium import Block
from dovetail.transport.values import encode_pieces, read_header


def spelled(pieces: Sequence[Piece], metadata: dict[str, str]) -> str:
    """A block in the letters of an entry."""
    return base64.urlsafe_b64encode(encode_pieces(pieces, metadata).joined()).decode().rstrip("=")


def read_spelled(text: str, what: str) -> Block:
    """The block that was :func:`spelled`. Raises CorruptDataError if it is none."""
    try:
        memory = memoryview(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except binascii.Error as error:
        raise CorruptDataError(f"{what} is damaged: {error}") from None
    return Block(memory, read_header(memory, memory.nbytes, what)[0])
