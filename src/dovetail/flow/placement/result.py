"""What placing comes to: for each component its nodes, and the seats of its ranks on each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dovetail.flow.machines.profile import Machine
from dovetail.flow.numbers import ranges


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one rank sits on its node."""

    cores: tuple[int, ...] | None
    """The cores that it is bound to; ``None`` if it may use any."""
    gpus: tuple[str, ...] = ()
    """The GPUs that it sees, by their names in the machine's profile."""


@dataclass(frozen=True, slots=True)
class PlacedComponent:
    """A component on its nodes: the same seats on each.

    Rank r has seat ``r % processes_per_node`` of node ``nodes[r // processes_per_node]``; the
    last node may have some seats left over.
    """

    name: str
    process_count: int
    processes_per_node: int
    nodes: tuple[int, ...]
    """Of the job, counted from 0, in the order of the ranks."""
    seats: tuple[Seat, ...]
    shares_with: str | None = None
    """The component on whose cores it takes turns."""
    on_what_is_left: bool = False
    """Its ranks are not bound one by one, but kept off the cores of the others."""

    def seat_of(self, rank: int) -> tuple[int, Seat]:
        """The node and the seat of a rank."""
        place, slot = divmod(rank, self.processes_per_node)
        return self.nodes[place], self.seats[slot]

    def ranks_on(self, node: int) -> range:
        """Its ranks on a node; none if it is not there."""
        if node not in self.nodes:
            return range(0)
        first = self.nodes.index(node) * self.processes_per_node
        return range(first, min(first + self.processes_per_node, self.process_count))

    @property
    def uneven(self) -> bool:
        """Whether the last node has fewer ranks than the others."""
        return self.process_count != len(self.nodes) * self.processes_per_node

    @property
    def is_bound(self) -> bool:
        """Whether its ranks have cores."""
        return self.seats[0].cores is not None


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes on which the same sits."""

    nodes: tuple[int, ...]
    occupants: tuple[tuple[str, int], ...]
    """Components, and how many of their ranks each of the nodes has."""


@dataclass(frozen=True)
class Site:
    """A machine with what is placed there."""

    machine: Machine
    node_count: int
    hosts: tuple[str, ...]
    """The names of the nodes, if they are known."""
    components: tuple[PlacedComponent, ...]

    def component(self, name: str) -> PlacedComponent:
        """The component of a name."""
        return next(component for component in self.components if component.name == name)

    @cached_property
    def groups(self) -> tuple[NodeGroup, ...]:
        """The nodes, those on which the same sits together; in the order of their first."""
        occupants: dict[int, list[tuple[str, int]]] = {n: [] for n in range(self.node_count)}
        for component in self.components:
            left = component.process_count
            for node in component.nodes:
                here = min(component.processes_per_node, left)
                occupants[node].append((component.name, here))
                left -= here
        alike: dict[tuple[tuple[str, int], ...], list[int]] = {}
        for node, who in occupants.items():
            alike.setdefault(tuple(who), []).append(node)
        return tuple(NodeGroup(tuple(nodes), who) for who, nodes in alike.items())

    @property
    def idle(self) -> tuple[int, ...]:
        """Nodes on which nobody sits."""
        return tuple(node for group in self.groups if not group.occupants for node in group.nodes)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A stream or store that two systems share, and that a gateway carries."""

    purpose: str
    name: str
    url: str
    source: str
    """The machine of its writer; of a store, the first that uses it."""
    target: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where every rank of a workflow sits. Get one with :meth:`dovetail.Workflow.place`."""

    workflow: str
    sites: tuple[Site, ...]
    """The machine that was asked for, then those that are linked to it."""
    crossings: tuple[Crossing, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def site(self) -> Site:
        """The machine that was asked for."""
        return self.sites[0]

    def component(self, name: str) -> PlacedComponent:
        """The component of a name, wherever it is."""
        return next(c for site in self.sites for c in site.components if c.name == name)

    def document(self) -> dict[str, Any]:
        """The placement as JSON values; nodes and cores as in ``0-3,8``."""
        return {
            "workflow": self.workflow,
            "sites": [_site(site) for site in self.sites],
            "crossings": [
                {
                    "purpose": crossing.purpose,
                    "name": crossing.name,
                    "url": crossing.url,
                    "source": crossing.source,
                    "target": crossing.target,
                }
                for crossing in self.crossings
            ],
            "warnings": list(self.warnings),
        }


def _site(site: Site) -> dict[str, Any]:
    return {
        "machine": site.machine.name,
        "node_count": site.node_count,
        "hosts": list(site.hosts),
        "components": [
            {
                "name": component.name,
                "process_count": component.process_count,
                "node_count": len(component.nodes),
                "processes_per_node": component.processes_per_node,
                "nodes": ranges(component.nodes),
                "shares_with": component.shares_with,
                "seats": [
                    {
                        "cores": None if seat.cores is None else list(seat.cores),
                        "gpus": list(seat.gpus),
                    }
                    for seat in component.seats
                ],
            }
            for component in site.components
        ],
        "nodes": [
            {"nodes": ranges(group.nodes), "occupants": dict(group.occupants)}
            for group in site.groups
        ],
    }
