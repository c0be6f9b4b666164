"""How many ranks on how many nodes: what a component says of it, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from dovetail.flow.schema import Component


@dataclass(frozen=True, slots=True)
class Counts:
    """Ranks, nodes, and ranks on each node but, perhaps, the last."""

    process_count: int
    node_count: int
    processes_per_node: int


def fixed_nodes(component: Component) -> int | None:
    """How many nodes its own words say that it takes; None if they leave it open."""
    if component.node_count is not None:
        return component.node_count
    if component.counted is not None and component.processes_per_node is not None:
        return ceil(component.counted / component.processes_per_node)
    return None


def takes_all(component: Component) -> bool:
    """Whether it takes whatever nodes are there."""
    return fixed_nodes(component) is None and component.processes_per_node is not None


def counts_on(component: Component, nodes: int) -> Counts | str:
    """What it comes to on this many nodes; or why that cannot be, with the arithmetic."""
    total, each = component.counted, component.processes_per_node
    if total is None and each is None:
        total, each = (nodes, 1) if component.node_count is not None else (1, 1)
    elif each is None:
        assert total is not None
        each = ceil(total / nodes)
    elif total is None:
        total = nodes * each
    if (nodes - 1) * each < total <= nodes * each:
        return Counts(total, nodes, each)
    most = f"{nodes} nodes × {each} ranks a node = {nodes * each}"
    if total > nodes * each:
        return (
            f"component {component.name!r}: {most}, which is less than its process_count "
            f"{total}: correct one of the three, or leave one out"
        )
    filled = ceil(total / each)
    return (
        f"component {component.name!r}: {total} ranks, {each} a node, fill {filled} of its "
        f"{nodes} nodes: take a multiple of {nodes} ranks, or node_count={filled}"
    )


def fewest_nodes(component: Component) -> int:
    """How many nodes it takes at least."""
    return fixed_nodes(component) or 1


def most_nodes(component: Component) -> int:
    """How many nodes could be of any use to it."""
    fixed = fixed_nodes(component)
    if fixed is not None:
        return fixed
    return component.counted or 1
