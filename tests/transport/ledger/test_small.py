"""Small blocks are letters in a log, and blocks again when they are read."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dovetail as dv
from dovetail.data.layout import Piece, decode
from dovetail.transport.ledger.small import read_spelled, spelled

arrays = st.lists(st.integers(0, 255), max_size=600).map(lambda data: np.array(data, np.uint8))


@given(arrays, st.text("abc._-", max_size=20))
def test_a_block_comes_back(array: np.ndarray, note: str) -> None:
    text = spelled([Piece("x", "U8", array.shape, array)], {"note": note})
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    memory, header = read_spelled(text, "a step")
    assert decode(header[1], header[2])["x"].view(memory).tolist() == array.tolist()
    assert header[2]["note"] == note


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: "#" + text[1:], lambda _: "A"]
)
def test_a_damaged_block_is_refused(damage: object) -> None:
    text = spelled([Piece("x", "U8", (100,), np.zeros(100, np.uint8))], {})
    with pytest.raises(dv.CorruptDataError, match="a step"):
        read_spelled(damage(text), "a step")  # type: ignore[operator]
