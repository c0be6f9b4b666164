"""Workflows of components that are never started: only where they would sit matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dovetail as dv
from dovetail.flow.numbers import ranges
from dovetail.flow.placement.result import PlacedComponent


def flow_of(
    placement: dict[str, Any] | None = None,
    streams: dict[str, str] | None = None,
    **components: dict[str, Any],
) -> dv.Workflow:
    return dv.Workflow(
        "test",
        components={name: {"command": ["true"], **said} for name, said in components.items()},
        streams=streams or {},
        placement=placement or {},
    )


@pytest.fixture
def flow() -> Callable[..., dv.Workflow]:
    return flow_of


@pytest.fixture
def binds() -> Callable[[PlacedComponent], str]:
    """The cores of a component's ranks on a node, as PALS writes them."""

    def text(component: PlacedComponent) -> str:
        return ":".join(ranges(seat.cores or ()) for seat in component.seats)

    return text
