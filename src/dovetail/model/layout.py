"""How a published model lies in a store, for readers in any language.

One value under the key ``models/<name>``: the weights, each under the name that it has in the
model, and as attributes what the publisher said, plus

========================  =========================================================
``dovetail.version``      1, 2, 3 …; never used twice for a name
``dovetail.published``    when, in seconds since the epoch
``dovetail.input_range``  if the publisher gave it, the range of inputs that the model was trained
                          on: ``{"lower": [one number a channel], "upper": […], "axis": 1}``
========================  =========================================================

The list ``models/<name>/versions`` counts the versions: one item each, its time.

A value is replaced as a whole. So a reader that holds one holds one version, entire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dovetail.data import Dataset
from dovetail.model.ranges import InputRange

RESERVED = "dovetail."
"""What the names of our own arrays and attributes begin with."""
VERSION = RESERVED + "version"
PUBLISHED = RESERVED + "published"
INPUT_RANGE = RESERVED + "input_range"


class Heading(NamedTuple):
    """What a published value says of itself."""

    version: int
    published: float
    attrs: Mapping[str, Any]
    """Those of the publisher alone."""
    input_range: InputRange | None


def key_of(name: str) -> str:
    """The key that holds the newest version of a model."""
    return f"models/{name}"


def versions_of(name: str) -> str:
    """The list that counts the versions of a model."""
    return f"models/{name}/versions"


def heading_of(value: Dataset) -> Heading:
    """The heading of a published model.

    Raises
    ------
    ValueError
        If the value is no published model.
    """
    attrs = value.attrs
    version, published = attrs.get(VERSION), attrs.get(PUBLISHED)
    if not isinstance(version, int) or version < 1 or not isinstance(published, int | float):
        raise ValueError(
            "the value is no published model: it lacks the attributes dovetail.version, at "
            "least 1, and dovetail.published; publish it with dovetail.publish_model"
        )
    own = {name: item for name, item in attrs.items() if not name.startswith(RESERVED)}
    try:
        moment = float(published)
    except OverflowError as error:
        raise ValueError(f"the attribute {PUBLISHED} is no time: {error}") from error
    return Heading(version, moment, own, _input_range_in(attrs.get(INPUT_RANGE)))


def input_range_as_json(bounds: InputRange) -> dict[str, Any]:
    """An input range as an attribute."""
    return {"lower": bounds.lower.tolist(), "upper": bounds.upper.tolist(), "axis": bounds.axis}


def _input_range_in(attribute: Any) -> InputRange | None:
    if attribute is None:
        return None
    try:
        return InputRange(attribute["lower"], attribute["upper"], int(attribute["axis"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the attribute {INPUT_RANGE} is no input range: {error!r}") from error
