"""Entries of tables are written as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from dovetail.report.cells import in_cell, is_number


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""),
        (True, "yes"),
        (9537, "9537"),
        (1234567, "1\u202f234\u202f567"),
        (0.123456789, "0.12346"),
        ("as it is", "as it is"),
    ],
)
def test_entries_of_tables(value: Any, said: str) -> None:
    assert in_cell(value) == said


def test_what_counts_as_a_number() -> None:
    assert all(map(is_number, ["1", "-2.5", "< 0.01 %", "3 ms", "±1"]))
    assert not any(map(is_number, ["", "a", "-", "inf", "<b>"]))
