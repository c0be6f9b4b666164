"""The nodes of one machine, taken by one party after the other.

Each takes the first nodes on which it finds seats, in the order of the workflow; those that are
clustered keep off one another's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING

from dovetail.flow.machines.profile import Machine
from dovetail.flow.placement.counting import Counts
from dovetail.flow.placement.parties import Party, parties_of
from dovetail.flow.placement.result import PlacedComponent
from dovetail.flow.placement.seating import Crowd, Seats, seat
from dovetail.flow.schema import Component

if TYPE_CHECKING:
    from dovetail.flow.schema import Workflow


class Allocation:
    """The nodes of one machine, taken by one party after the other."""

    def __init__(self, flow: Workflow, machine: Machine, components: Sequence[Component]) -> None:
        self.machine = machine
        self.components = components
        party = parties_of(flow, components)
        self.parties = {index: Party([], index) for index in sorted({*party.values()})}
        for component in components:
            self.parties[party[component.name]].members.append(component)
        for names in flow.placement.cluster:
            for name in names:
                if name in party:
                    foes = {party[other] for other in names if other in party}
                    self.parties[party[name]].foes |= foes - {party[name]}
        self._leaders = {
            name: names[0] for names in flow.placement.time_divide for name in names[1:]
        }
        self._colocated = {name for names in flow.placement.colocate for name in names}
        self.placed: dict[str, PlacedComponent] = {}
        self._counts: dict[str, Counts] = {}
        self.problems: list[str] = []

    def run(self, node_count: int) -> None:
        """Place all parties on this many nodes."""
        for party in self.parties.values():
            problem = self._place(party, node_count)
            if problem:
                self.problems += problem

    def _place(self, party: Party, node_count: int) -> list[str]:
        foes = [self.parties[index] for index in party.foes]
        kept = {node for foe in foes for node in foe.nodes}
        free = [node for node in range(node_count) if node not in kept]
        waiting = [foe for foe in foes if not foe.nodes and foe.index > party.index]
        if party.takes_all:
            rival = next((foe for foe in waiting if foe.takes_all), None)
            if rival is not None:
                return [
                    f"{party.who} and {rival.who} are clustered, and both take all nodes that "
                    f"are there: give one of them node_count"
                ]
            wanted = [len(free) - sum(foe.fewest for foe in waiting)]
        elif party.fixed is not None:
            wanted = [party.fixed]
        else:
            wanted = [*range(self._at_least(party), max(party.most, 1) + 1)]
        if wanted[0] < 1 or wanted[0] > len(free):
            return [self._too_few(party, max(wanted[0], 1), node_count, foes)]
        return self._first_seats(party, free, wanted)

    def _first_seats(self, party: Party, free: list[int], wanted: list[int]) -> list[str]:
        """Take the fewest, and of these the first, nodes on which all find seats."""
        first: list[str] = []
        for count in wanted:
            if count > len(free):
                break
            counts = party.counts(count)
            if isinstance(counts, str):
                first = first or [counts]
                continue
            for start in self._starts(free, count):
                nodes = tuple(free[start : start + count])
                seats, problems = self._seats(party, nodes, counts)
                if not problems:
                    self._take(party, nodes, counts, seats)
                    return []
                first = first or problems
        return first

    def _starts(self, free: list[int], count: int) -> list[int]:
        """Places among the free nodes where what sits on a node changes: others are alike."""
        edges = {0}
        for other in self.parties.values():
            if other.nodes:
                edges |= {other.nodes[0], other.nodes[-1] + 1}
        starts = [place for place, node in enumerate(free) if place == 0 or node in edges]
        return [start for start in starts if start + count <= len(free)]

    def _seats(
        self, party: Party, nodes: tuple[int, ...], counts: dict[str, Counts]
    ) -> tuple[Seats, list[str]]:
        """Seats of all that are placed, if the party takes these nodes."""
        crowds = []
        for component in self.components:
            name = component.name
            if name in counts:
                size, where = counts[name].processes_per_node, nodes
            elif name in self.placed:
                size, where = self.placed[name].processes_per_node, self.placed[name].nodes
            else:
                continue
            crowds.append(
                Crowd(
                    component,
                    size,
                    frozenset(where),
                    self._leaders.get(name),
                    name in self._colocated,
                )
            )
        return seat(self.machine, crowds)

    def _take(
        self, party: Party, nodes: tuple[int, ...], counts: dict[str, Counts], seats: Seats
    ) -> None:
        party.nodes = nodes
        self._counts |= counts
        for component in self.components:
            name = component.name
            if name not in self._counts:
                continue
            own = nodes if name in counts else self.placed[name].nodes
            self.placed[name] = PlacedComponent(
                name,
                self._counts[name].process_count,
                self._counts[name].processes_per_node,
                own,
                seats[name],
                self._leaders.get(name),
                seats[name][0].cores is not None
                and component.cores is None
                and component.cpus_per_process is None
                and component.gpus is None
                and component.gpus_per_process is None
                and name not in self._leaders,
            )

    def _at_least(self, party: Party) -> int:
        """A number of nodes below which there is no room for sure."""
        if self.machine.most_nodes == 1:
            return 1  # it is to be said what of that one there is too little of
        least = max((count for count, _ in self._demands(party)), default=1)
        return min(least, max(party.most, 1))

    def _demands(self, party: Party) -> Iterator[tuple[int, str]]:
        """Nodes that its members need for the cores or GPUs that they ask for, and why."""
        node = self.machine.node
        for member in party.members:
            ranks = member.counted or 1
            for each, there, what in (
                (member.cpus_per_process, len(node.usable), "cores"),
                (member.gpus_per_process, len(node.devices), "GPUs"),
            ):
                if each is None or member.name in self._leaders or each > there:
                    continue
                fit = there // each
                yield (
                    ceil(ranks / fit),
                    f"{ranks} ranks × {each} {what}: {fit} ranks fit on the {there} {what} of a "
                    f"node, and {ranks} / {fit} = {ranks / fit:.4g}",
                )

    def _too_few(self, party: Party, wanted: int, node_count: int, foes: Sequence[Party]) -> str:
        shares = [
            f"{foe.who} {'has' if len(foe.members) == 1 else 'have'} {len(foe.nodes) or foe.fewest}"
            for foe in foes
        ]
        kept = sum(len(foe.nodes) or foe.fewest for foe in foes)
        rest = f"{node_count - kept}".replace("-", "−")
        left = f", of which {node_count} − {kept} = {rest} are left for it"
        there = f"there {'is' if node_count == 1 else 'are'} {node_count}"
        nodes = "node" if wanted == 1 else "nodes"
        why = next((f" ({text})" for count, text in self._demands(party) if count == wanted), "")
        return (
            f"{party.who} {'takes' if len(party.members) == 1 else 'take'} {wanted} {nodes} of "
            f"{self.machine.name}{why if wanted > 1 else ''}, but {there}"
            + (f"{left} ({', '.join(shares)}, clustered)" if shares else "")
            + ": ask for more nodes, or take fewer"
        )
