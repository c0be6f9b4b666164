"""From a workflow and a machine to a placement.

All of it computes: the same workflow, machine and number of nodes give the same placement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dovetail.errors import InvalidMachineError, InvalidWorkflowError
from dovetail.flow.machines.catalogue import find_machine
from dovetail.flow.machines.profile import Machine
from dovetail.flow.placement import counting
from dovetail.flow.placement.agreement import listed, problems_of_rules
from dovetail.flow.placement.allocation import Allocation
from dovetail.flow.placement.result import Placement, Site
from dovetail.flow.placement.wires import crossings, problems_of_wires
from dovetail.flow.schema import Component

if TYPE_CHECKING:
    from dovetail.flow.schema import Workflow


def place(
    flow: Workflow, machine: Machine, node_count: int | None = None, hosts: tuple[str, ...] = ()
) -> Placement:
    """Place the components of a workflow.

    Parameters
    ----------
    machine
        The machine of all components that are linked to no other.
    node_count
        Nodes of the job; by default as many as are needed.
    hosts
        Their names, if they are known.

    Raises
    ------
    InvalidWorkflowError
        With all that cannot be, and the arithmetic.
    """
    problems = [*problems_of_rules(flow)]
    if problems:
        raise InvalidWorkflowError(*problems)
    away = {name for link in flow.placement.link for name in link.components}
    home = [component for component in flow.components.values() if component.name not in away]
    warnings: list[str] = []
    places: list[tuple[Machine, list[Component], int | None, tuple[str, ...]]] = []
    names = hosts or tuple(machine.hosts)
    places.append((machine, home, node_count, names))
    for link in flow.placement.link:
        there = [flow.components[name] for name in link.components]
        try:
            other = find_machine(link.machine)
        except InvalidMachineError as error:
            problems += [f"link {', '.join(link.components)}: {text}" for text in error.problems]
            continue
        places.append((other, there, link.node_count, tuple(other.hosts)))
    sites: list[Site] = []
    for profile, components, count, known in places:
        found, wrong, said = _site(flow, profile, components, count, known)
        problems += wrong
        warnings += said
        sites.append(found)
    if not problems:
        problems += problems_of_wires(flow, sites)
    if problems:
        raise InvalidWorkflowError(*problems)
    return Placement(
        flow.name, tuple(sites), tuple(crossings(flow, sites)), tuple(dict.fromkeys(warnings))
    )


def _site(
    flow: Workflow,
    machine: Machine,
    components: Sequence[Component],
    node_count: int | None,
    hosts: tuple[str, ...],
) -> tuple[Site, list[str], list[str]]:
    """What sits on one machine, what cannot, and what is worth a warning."""
    problems: list[str] = []
    warnings: list[str] = []
    most = len(hosts) or machine.most_nodes
    if node_count is not None and most is not None and node_count > most:
        whose = "hosts are given" if hosts else f"nodes are all that {machine.name} has"
        problems.append(f"{node_count} nodes are asked for, and {most} {whose}: ask for fewer")
        node_count = most
    allocation = Allocation(flow, machine, components)
    if machine.launcher.kind == "processes":
        warnings += _apart_in_vain(flow, allocation)
    if node_count is None and hosts:
        node_count = len(hosts)
    bound = sum(party.most for party in allocation.parties.values())
    limit = node_count if node_count is not None else max(1, min(bound, most or bound))
    problems += _problems_of_members(allocation)
    if not problems:
        allocation.run(limit)
    problems += allocation.problems
    placed = tuple(
        allocation.placed[component.name]
        for component in components
        if component.name in allocation.placed
    )
    used = max((component.nodes[-1] + 1 for component in placed), default=0)
    count = node_count if node_count is not None else used
    site = Site(machine, count, hosts[:count], placed)
    if not problems:
        warnings += _warnings(site)
    return site, problems, warnings


def _problems_of_members(allocation: Allocation) -> Iterator[str]:
    """Members of a party that want different numbers of nodes."""
    for party in allocation.parties.values():
        said = {
            member.name: nodes
            for member in party.members
            if (nodes := counting.fixed_nodes(member)) is not None
        }
        if len({*said.values()}) > 1:
            each = ", ".join(f"{name!r} {nodes}" for name, nodes in said.items())
            yield (
                f"{party.who} are on the same nodes, but take different numbers of them ({each}): "
                f"give them one node_count"
            )


def _apart_in_vain(flow: Workflow, allocation: Allocation) -> Iterator[str]:
    """On one machine all are on one node: what is clustered elsewhere shares it."""
    for names in flow.placement.cluster:
        yield f"cluster({listed(names)}): this machine is one node, which they share"
    for party in allocation.parties.values():
        party.foes.clear()


def _warnings(site: Site) -> Iterator[str]:
    quota = site.machine.node.quota
    bound = {
        core for component in site.components for one in component.seats for core in one.cores or ()
    }
    if quota is not None and len(bound) > quota:
        yield (
            f"ranks are bound to {len(bound)} cores, but the cgroup of this process grants the "
            f"time of {quota:g}"
        )
    if site.machine.launcher.kind == "processes":
        return
    for component in site.components:
        if not component.is_bound and not component.seats[0].gpus:
            yield (
                f"component {component.name!r} asks for no cores: its ranks are not bound, and "
                f"may run on those of others; give cpus_per_process"
            )
    if site.idle:
        yield (
            f"{len(site.idle)} of the {site.node_count} nodes of {site.machine.name} stay empty: "
            f"ask for {site.node_count - len(site.idle)}, or give processes_per_node without "
            f"node_count to take all"
        )
