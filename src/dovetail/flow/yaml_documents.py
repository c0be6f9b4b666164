"""YAML as a person expects it: a key is written once, and ``1e-3`` is a number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dovetail.errors import InvalidWorkflowError

_EXPONENTIAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
"""Numbers that YAML 1.1 takes for texts, and YAML 1.2 does not: it wants ``1.0e-3``."""


def read_yaml(file: Path, refusal: type[InvalidWorkflowError] = InvalidWorkflowError) -> Any:
    """What a YAML file says.

    Raises
    ------
    InvalidWorkflowError
        Or `refusal`: for what is no YAML, and for keys that are written twice.
    """
    import yaml

    try:
        document, twice = load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise refusal(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    if twice:
        raise refusal(*(f"{file.name}, {problem}" for problem in twice))
    return document


def load(text: str) -> tuple[Any, list[str]]:
    """What a YAML text says, and which keys it has twice."""
    import yaml

    twice: list[str] = []

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Sees a key that is written twice (YAML lets the last win), and that 1e-3 is a number."""

        def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            first: dict[tuple[str, str], int] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                    continue
                line = key.start_mark.line + 1
                if (key.tag, key.value) in first:
                    twice.append(
                        f"line {line}: {key.value!r} is used twice (first in line "
                        f"{first[key.tag, key.value]}): give one of them another name"
                    )
                first.setdefault((key.tag, key.value), line)
            return node

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENTIAL, [*"-+.0123456789"])
    return yaml.load(text, Loader), twice
