"""What a component wants to show in the report of its run: a text, a picture, a table."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dovetail.flow import files
from dovetail.flow.inside import this_component

_PICTURES = (".png", ".svg")


def exhibit(
    title: str,
    *,
    text: str = "",
    picture: Any = None,
    table: tuple[Sequence[str], Iterable[Sequence[Any]]] | None = None,
    order: int = 0,
) -> Path:
    """Show something in the report of this run. Call it in a component.

    Parameters
    ----------
    title
        What it is. A second exhibit of the same title and order replaces the first.
    text
        A few sentences.
    picture
        The path of a PNG or SVG file, which is copied; or a matplotlib figure.
    table
        Names of columns, and rows of texts and numbers.
    order
        Where it stands in the report: small numbers first.

    Returns
    -------
    Path
        The file that describes it, in the run's ``exhibits/``. It appears whole, after its
        picture.

    Raises
    ------
    OutsideRunError
        If this process is not a component of a running workflow.
    ValueError
        If the picture is neither PNG nor SVG, or a row is not as long as the columns.
    """
    folder = this_component().run / "exhibits"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{order}-{_slug(title)}"
    document = {
        "title": title,
        "text": text,
        "picture": None if picture is None else _keep(picture, folder, name),
        "table": None if table is None else _table(*table),
        "order": order,
    }
    return files.replace(folder / f"{name}.json", document)


def _slug(title: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80] or "exhibit"
    if slug == title.lower().replace(" ", "-"):
        return slug
    return f"{slug}-{zlib.crc32(title.encode()):08x}"  # 'k < 8' and 'k > 8' are two


def _keep(picture: Any, folder: Path, name: str) -> str:
    if hasattr(picture, "savefig"):
        suffix = ".png"
        aside = folder / f".{name}.{os.getpid()}{suffix}"
        picture.savefig(aside, dpi=150, bbox_inches="tight")
    else:
        source = Path(picture)
        suffix = source.suffix.lower()
        if suffix not in _PICTURES:
            raise ValueError(f"{source} is no {' or '.join(_PICTURES)} file: save it as one")
        aside = folder / f".{name}.{os.getpid()}{suffix}"
        shutil.copyfile(source, aside)
    return aside.replace(folder / f"{name}{suffix}").name


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
    kept = [[_plain(cell) for cell in row] for row in rows]
    for row in kept:
        if len(row) != len(columns):
            raise ValueError(f"the row {row} has {len(row)} cells for {len(columns)} columns")
    return {"columns": [str(column) for column in columns], "rows": kept}


def _plain(cell: Any) -> Any:
    """A JSON value: numbers of NumPy and torch become Python's, and what is no value text."""
    cell = cell.item() if hasattr(cell, "item") else cell
    if cell is None or isinstance(cell, str | bool | int):
        return cell
    if isinstance(cell, float):
        return cell if cell - cell == 0 else str(cell)
    return str(cell)
