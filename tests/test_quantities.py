"""Quantities are written as people read them, and read as people write them."""

from __future__ import annotations

import pytest

from dovetail.quantities import bytes_in, in_bytes, in_percent, in_seconds


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (3e-9, "3 ns"),
        (12.34e-6, "12.3 µs"),
        (0.9999e-3, "1 ms"),
        (0.25, "250 ms"),
        (29.14, "29.1 s"),
        (99.97, "1 min 40 s"),
        (250, "4 min 10 s"),
        (7512, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert in_seconds(seconds) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.999999, "99.9 %"),
        (0.00001, "< 0.01 %"),
        (0.0031, "0.31 %"),
        (0.0266, "2.7 %"),
        (0.5, "50 %"),
    ],
)
def test_shares_are_never_whole_unless_they_are(share: float, said: str) -> None:
    assert in_percent(share) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**50, "1.0 PiB")]
)
def test_bytes(count: int, said: str) -> None:
    assert in_bytes(count) == said


@pytest.mark.parametrize(
    ("text", "size"), [("8", 8), ("64KiB", 65536), (" 1.5 MiB ", 3 << 19), ("2GB", 2 * 10**9)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert bytes_in(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "0", "0.2B", "9EiB", "9000PiB", "1,5MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size|byte"):
        bytes_in(text)
