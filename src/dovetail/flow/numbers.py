"""Core numbers as people write them: ``0-3,8``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")
_MOST = 1 << 16


def ranges(numbers: Iterable[int], separator: str = ",") -> str:
    """Numbers, sorted, as people write them: ``0-3,8``."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return separator.join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def numbers_in(value: Any) -> Any:
    """What ``0-3,8`` or a list of numbers and such texts says, in that order; else `value`.

    Raises
    ------
    ValueError
        For a text that says no numbers.
    """
    if isinstance(value, str):
        return [number for part in value.split(",") for number in _range(part, value)]
    if isinstance(value, list | tuple | range):
        return [
            number
            for item in value
            for number in (numbers_in(item) if isinstance(item, str) else [item])
        ]
    return value


def _range(part: str, whole: str) -> range:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise ValueError(f"{whole!r} says no core numbers: write them as in '0-3,8'")
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if last < first:
        raise ValueError(f"{whole!r}: {part.strip()} runs backwards: write the lower number first")
    if last > _MOST:
        raise ValueError(f"{whole!r}: {last} is no number of a core: the last can be {_MOST}")
    return range(first, last + 1)
