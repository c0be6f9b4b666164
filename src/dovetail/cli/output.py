"""How results are printed: tables for people, JSON for scripts, sentences for errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def print_json_line(document: Any) -> None:
    """One JSON document as one line, at once: for output that has no end."""
    json.dump(document, sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Aligned columns; nothing is cut, so that the lines can be searched.

    Parameters
    ----------
    columns
        Headings. One that ends in ``>`` (not printed) is set flush right.
    rows
        Anything; printed as text, control characters escaped.
    """
    headings = [column.removesuffix(">") for column in columns]
    lines = [headings, *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.endswith(">") else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip())


def printable(text: str) -> str:
    """`text` without characters that would move the cursor or end the line."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def sentence(error: BaseException) -> str:
    """What an error says, on one line."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return printable(" ".join(text.split())) or type(error).__name__
