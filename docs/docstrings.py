"""Docstrings are written for ``help()``; this makes the little markup that they hold into Markdown.

An extension of Griffe, which reads the sources for the reference pages (see ``mkdocs.yml``).
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|attr|meth|mod|data):`(?:([^`<]+) <)?(~?)([\w.]+)>?`")
TABLE = re.compile(r"^(=+(?: +=+)+)\n.*\n\1$", re.MULTILINE | re.DOTALL)
LITERAL = re.compile(r"(?:^|(?<=[^:\s]))::(?=\n\n    )", re.MULTILINE)


def link(match: re.Match[str]) -> str:
    title, short, target = match.groups()
    text = title or f"`{target.rsplit('.', 1)[-1] if short else target}`"
    return f'<autoref identifier="{target}" optional markdown="1">{text}</autoref>'


def to_markdown(text: str) -> str:
    text = TABLE.sub(lambda match: f"```text\n{match[0]}\n```", text)
    text = LITERAL.sub("", text)
    return ROLE.sub(link, text)


class Docstrings(griffe.Extension):
    """Rewrites each docstring when it is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
