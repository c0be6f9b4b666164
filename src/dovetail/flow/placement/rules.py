"""What is said of components together: who shares nodes or cores, and who keeps apart."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dovetail.flow.fields import CheckedModel, Name


def _together(value: Any) -> Any:
    """Lists of names; one list alone may stand for itself."""
    if isinstance(value, str):
        raise ValueError(f"{value!r}: write lists of components, as in [[simulation, trainer]]")
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return [list(value)]
    return value


Group = Annotated[list[Name], Field(min_length=2)]
Groups = Annotated[list[Group], BeforeValidator(_together)]


class Link(CheckedModel):
    """Components on another system."""

    components: list[Name] = Field(min_length=1)
    machine: str = Field(min_length=1)
    """The name of its profile, or the path."""
    node_count: int | None = Field(default=None, ge=1)


class PlacementRules(CheckedModel):
    """Which components share nodes or cores, and which keep apart."""

    colocate: Groups = Field(default_factory=list)
    """Each a list of components on the same nodes, with cores and GPUs of their own."""
    cluster: Groups = Field(default_factory=list)
    """Each a list of components, of which every one has nodes of its own."""
    time_divide: Groups = Field(default_factory=list)
    """Each a list of components on the same cores and GPUs, which take turns."""
    link: list[Link] = Field(default_factory=list)
    """Components on other systems, which only a gateway joins to this one."""
