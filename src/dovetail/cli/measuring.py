"""What every ``dovetail bench`` command does alike: reads lists, says how far it is, stops."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import typer

from dovetail.quantities import bytes_in


def sizes_in(text: str) -> tuple[int, ...]:
    """Numbers of bytes, as in ``8,1KiB,8MiB``."""
    try:
        return tuple(bytes_in(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def names_in(text: str | None) -> list[str] | None:
    """Names, as in ``shm,memcpy``; ``None`` if none are given."""
    return None if text is None else [name.strip() for name in text.split(",")]


def stop_in_order() -> None:
    """Let a termination run through the ``finally`` blocks that stop what was started."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def progress() -> Callable[[str], None]:
    """Says what is being measured, to people who wait."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda text: print(f"measuring {text}", file=sys.stderr)
