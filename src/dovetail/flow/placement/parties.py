"""Components that are colocated or take turns are one *party*, which has its nodes together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dovetail.flow.placement import counting
from dovetail.flow.placement.counting import Counts
from dovetail.flow.schema import Component

if TYPE_CHECKING:
    from dovetail.flow.schema import Workflow


@dataclass(slots=True)
class Party:
    """Components that have their nodes together."""

    members: list[Component]
    index: int
    foes: set[int] = field(default_factory=set)
    """Parties on whose nodes it cannot be."""
    nodes: tuple[int, ...] = ()

    @property
    def who(self) -> str:
        if len(self.members) == 1:
            return f"component {self.members[0].name!r}"
        return f"components {' and '.join(repr(member.name) for member in self.members)}"

    @property
    def fixed(self) -> int | None:
        """How many nodes it takes, if its members say so."""
        return next((n for one in self.members if (n := counting.fixed_nodes(one))), None)

    @property
    def takes_all(self) -> bool:
        return self.fixed is None and any(map(counting.takes_all, self.members))

    @property
    def fewest(self) -> int:
        return max(map(counting.fewest_nodes, self.members))

    @property
    def most(self) -> int:
        return self.fixed or max(map(counting.most_nodes, self.members))

    def counts(self, nodes: int) -> dict[str, Counts] | str:
        """How many ranks each member has on this many nodes; or why that cannot be."""
        found = {}
        for member in self.members:
            counts = counting.counts_on(member, nodes)
            if isinstance(counts, str):
                return counts
            if len(self.members) > 1 and counts.process_count % nodes:
                return (
                    f"{self.who} are on the same {nodes} nodes, but {member.name!r} has "
                    f"{counts.process_count} ranks, {counts.process_count / nodes:.3g} a node: "
                    f"give it a multiple of {nodes}, or processes_per_node"
                )
            found[member.name] = counts
        return found


def parties_of(flow: Workflow, components: Iterable[Component]) -> dict[str, int]:
    """The party of each component, as the place of its first member among the components."""
    order = {component.name: place for place, component in enumerate(components)}
    party = dict(order)
    for names in [*flow.placement.colocate, *flow.placement.time_divide]:
        joined = {party[name] for name in names if name in party}
        if joined:
            party = {name: min(joined) if one in joined else one for name, one in party.items()}
    return party
