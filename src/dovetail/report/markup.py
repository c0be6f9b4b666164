"""HTML that is put together from elements: what is no markup already is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from typing import Any

from dovetail.report.cells import in_cell, is_number

_EMPTY = ("img", "meta", "path", "br")


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element. Texts among `children` are escaped, ``None`` is left out.

    Attributes that are ``None`` or ``False`` are left out. An underscore at the end of a name is
    dropped (``class_``); others become hyphens.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY:
        return Markup(f"<{name}{said}>" if name != "path" else f"<path{said}/>")
    return Markup(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[Any]) -> Markup:
    """Elements and texts, one after the other."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """A table that scrolls by itself where the page is narrow.

    A column whose entries are numbers is set flush right. An entry may be markup.
    """
    return grouped_table(columns, {Markup(): rows})


def grouped_table(
    columns: Sequence[str], groups: Mapping[Markup, Iterable[Sequence[Any]]]
) -> Markup:
    """A table as :func:`table` makes it, with a heading above each group of rows."""
    cells = {
        title: [[_entry(value) for value in row] for row in rows] for title, rows in groups.items()
    }
    kinds = [
        "number" if _is_numeric(row[place] for rows in cells.values() for row in rows) else None
        for place in range(len(columns))
    ]

    def line(name: str, entries: Iterable[str], **attributes: str) -> Markup:
        pairs = zip(entries, kinds, strict=True)
        return element(
            "tr", *(element(name, one, class_=kind, **attributes) for one, kind in pairs)
        )

    bodies = (
        element("tbody", _heading(title, len(columns)), *(line("td", row) for row in rows))
        for title, rows in cells.items()
    )
    whole = element("table", element("thead", line("th", columns, scope="col")), *bodies)
    return element("div", whole, class_="scroll", tabindex="0")


def _heading(title: Markup, columns: int) -> Markup | None:
    if not title:
        return None
    return element("tr", element("th", title, colspan=columns, scope="rowgroup", class_="group"))


def _is_numeric(entries: Iterable[str]) -> bool:
    """Whether all are numbers, where there is anything."""
    said = [unescape(entry) for entry in entries if entry]
    return bool(said) and all(map(is_number, said))


def paragraphs(text: str) -> Markup:
    """A text, a paragraph for each of its blocks."""
    blocks = (" ".join(block.split()) for block in text.split("\n\n"))
    return joined(element("p", block) for block in blocks if block)


def _entry(value: Any) -> str:
    return value if isinstance(value, Markup) else in_cell(value)
