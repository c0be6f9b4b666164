"""Files in the directory of a run.

They are for their owner alone, since environments and URLs may hold secrets. Those that change
are replaced as a whole.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document."""
    with open(path, "w", encoding="utf-8", opener=private) as file:
        file.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def replace(path: Path, document: dict[str, Any]) -> Path:
    """Write a JSON document that others may be reading: they see one or the other. The path."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    write(aside, document)
    return aside.replace(path)


def private(path: str, flags: int) -> int:
    """An opener of files for their owner alone."""
    return os.open(path, flags, 0o600)


def of_attempt(log: str, attempt: int) -> str:
    """The log of a rank or launch line in its first attempt (0) or in restart k."""
    return f"{log}.{attempt}" if attempt else log
