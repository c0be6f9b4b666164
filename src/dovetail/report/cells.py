"""Entries of tables."""

from __future__ import annotations

from typing import Any

from dovetail.quantities import in_count


def in_cell(value: Any) -> str:
    """An entry of a table: a text, or a number in at most four digits after the first."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return in_count(value) if abs(value) >= 10_000 else str(value)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def shorten(text: str, longest: int = 60) -> str:
    """A text whose middle is left out where it is long."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def is_number(text: str) -> bool:
    """Whether an entry of a table is to be set flush right."""
    return text[:1].isdigit() or (text[:1] in "-+−<±" and text[1:].lstrip()[:1].isdigit())
