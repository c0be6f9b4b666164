"""Streams and stores between components, where these sit: what reaches whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from dovetail.flow.numbers import ranges
from dovetail.flow.placement.result import Crossing, Site

if TYPE_CHECKING:
    from dovetail.flow.schema import Workflow

_IN_A_NODE = "shm://"


def problems_of_wires(flow: Workflow, sites: Sequence[Site]) -> Iterator[str]:
    """What lies in the memory of a node, between components that are not on the same ones."""
    for site in sites:
        placed = {component.name: component for component in site.components}
        together = [{*names} for names in (*flow.placement.colocate, *flow.placement.time_divide)]
        for purpose, urls in (("stream", flow.streams), ("store", flow.stores)):
            for name, url in urls.items():
                users = [
                    placed[component.name]
                    for component in flow.components.values()
                    if component.name in placed
                    and name in (*component.reads, *component.writes, *component.stores)
                ]
                if not url.startswith(_IN_A_NODE):
                    continue
                for one, other in combinations(users, 2):
                    if one.nodes != other.nodes:
                        yield (
                            f"{purpose} {name!r} is {_IN_A_NODE}, which stays in a node, but "
                            f"{one.name!r} is on {_nodes(one.nodes)} and {other.name!r} on "
                            f"{_nodes(other.nodes)}: colocate them, or give it a URL that "
                            f"reaches other nodes, such as {_reaching(purpose)}"
                        )
                    elif len(one.nodes) > 1 and not any(
                        {one.name, other.name} <= names for names in together
                    ):
                        yield (
                            f"{purpose} {name!r} is {_IN_A_NODE}, which stays in a node, but "
                            f"{one.name!r} and {other.name!r} are on {len(one.nodes)}: say that "
                            f"they are colocated, which makes it one {purpose} a node, or give it "
                            f"a URL such as {_reaching(purpose)}"
                        )


def _nodes(nodes: tuple[int, ...]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {ranges(nodes)}"


def _reaching(purpose: str) -> str:
    return "sst://" if purpose == "stream" else "redis://"


def crossings(flow: Workflow, sites: Sequence[Site]) -> Iterator[Crossing]:
    """What a gateway must carry between the systems."""
    home = {component.name: site.machine.name for site in sites for component in site.components}
    where = {
        component.name: number for number, site in enumerate(sites) for component in site.components
    }
    for name, url in flow.streams.items():
        writers = [c.name for c in flow.components.values() if name in c.writes]
        readers = [c.name for c in flow.components.values() if name in c.reads]
        for writer in writers:
            targets = {where[reader]: home[reader] for reader in readers}
            for number, target in sorted(targets.items()):
                if number != where[writer]:
                    yield Crossing("stream", name, url, home[writer], target)
    for name, url in flow.stores.items():
        users = [c.name for c in flow.components.values() if name in c.stores]
        systems = {where[user]: home[user] for user in users}
        first = where[users[0]] if users else 0
        for number, target in sorted(systems.items()):
            if number != first:
                yield Crossing("store", name, url, home[users[0]], target)
