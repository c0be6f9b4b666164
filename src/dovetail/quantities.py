"""Quantities as people write and read them."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Literal

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGTP", start=1):
    _UNITS[_letter + "iB"] = 1024**_power
    _UNITS[_letter + "B"] = 1000**_power
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def bytes_in(text: str) -> int:
    """The number of bytes that a text says: ``4096``, ``512MiB``, ``1.5 GB``.

    Raises
    ------
    ValueError
        With a sentence that begins with the text.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(
            f"{text!r} is not a size; write a number of bytes, or one with a unit as in 512MiB "
            f"or 2GiB"
        )
    size = int(float(match[1]) * _UNITS[match[2]])
    if not 1 <= size < 2**63:
        raise ValueError(f"{text!r} must be at least one byte and below 8 EiB")
    return size


def in_bytes(count: float) -> str:
    """A number of bytes: ``1.5 MiB``."""
    if count < 1024:
        return f"{count:.0f} B"
    units = ("KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(len(units), int(math.log2(count)) // 10)
    return f"{count / 1024**power:.1f} {units[power - 1]}"


def in_seconds(seconds: float) -> str:
    """A duration in the unit that suits it: ``12.3 µs``, ``4 min 10 s``, ``2 h 5 min``."""
    if seconds >= 3599.5:
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60} min"
    if seconds >= 99.95:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.9995:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds > 0 else "0 s"


def in_percent(share: float) -> str:
    """A share: ``12 %``, ``0.31 %``; never 0 or 100 for what is not quite that."""
    percent = share * 100
    if percent in (0.0, 100.0):
        return f"{percent:.0f} %"
    if 10 <= percent < 99.5:
        return f"{percent:.0f} %"
    if percent >= 99.5:
        return f"{min(percent, 99.9):.1f} %"
    if percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def in_rate(amount: float, seconds: float) -> str:
    """Bytes a second, or nothing where no time passed."""
    return f"{in_bytes(amount / seconds)}/s" if seconds > 0 else ""


def in_count(number: int) -> str:
    """A whole number, in groups of three digits."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 rank``, ``4 ranks``."""
    return f"{in_count(number)} {noun if number == 1 else plural or noun + 's'}"


def in_time(seconds: float, precision: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """A moment, given in seconds since the epoch, in local time."""
    return datetime.fromtimestamp(seconds).isoformat(" ", precision)


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 999.5 else f"{number:.0f}"
