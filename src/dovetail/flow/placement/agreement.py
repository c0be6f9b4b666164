"""Whether the rules of a workflow agree with one another, whatever the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dovetail.flow.placement.parties import parties_of
from dovetail.transport.url import near_match

if TYPE_CHECKING:
    from dovetail.flow.schema import Workflow


def problems_of_rules(flow: Workflow) -> Iterator[str]:
    """What is wrong with who is placed with whom, whatever the machine."""
    rules, known = flow.placement, flow.components
    kinds = {
        "colocate": rules.colocate,
        "cluster": rules.cluster,
        "time_divide": rules.time_divide,
        "link": [link.components for link in rules.link],
    }
    sound = True
    for kind, groups in kinds.items():
        for names in groups:
            for name in dict.fromkeys(names):
                if name not in known:
                    sound = False
                    yield (
                        f"{kind}({listed(names)}): there is no component {name!r}"
                        f"{near_match(name, known)}: correct the name"
                    )
                if names.count(name) > 1:
                    yield f"{kind}({listed(names)}): {name!r} is named twice: name it once"
    if not sound:
        return
    systems = dict.fromkeys(known, 0)
    for number, link in enumerate(rules.link, 1):
        for name in link.components:
            if systems[name]:
                yield f"link: {name!r} is linked to two systems: leave one out"
            systems[name] = number
    for kind in ("colocate", "cluster", "time_divide"):
        for names in kinds[kind]:
            if len({systems[name] for name in names}) > 1:
                yield (
                    f"{kind}({listed(names)}): they are on different systems, joined only by a "
                    f"gateway: leave out {kind}, or the link"
                )
    yield from _problems_of_turns(flow)
    party = parties_of(flow, known.values())
    for names in rules.cluster:
        for name in names:
            together = [other for other in names if party[other] == party[name]]
            if len(together) > 1 and together[0] == name:
                yield (
                    f"cluster({listed(names)}): {listed(together)} are colocated or take turns "
                    f"on the same nodes, and cannot have nodes of their own too: leave out one"
                )


def problems_of_being_away(flow: Workflow) -> Iterator[str]:
    """Components that cannot be started from here, since they are on another system."""
    for link in flow.placement.link:
        for name in link.components:
            yield (
                f"component {name!r} is linked: it runs on {link.machine}, and cannot be started "
                f"from here; 'dovetail plan --machine' shows both systems and what joins them"
            )


def _problems_of_turns(flow: Workflow) -> Iterator[str]:
    led: dict[str, str] = {}
    for names in flow.placement.time_divide:
        for name in names:
            if led.setdefault(name, names[0]) != names[0]:
                yield (
                    f"time_divide: {name!r} takes turns with {led[name]!r} and with "
                    f"{names[0]!r}: name all that share cores in one list"
                )
        for name in names[1:]:
            component = flow.components[name]
            if component.cores is not None or component.gpus is not None:
                yield (
                    f"time_divide({listed(names)}): {name!r} shares the cores and GPUs of "
                    f"{names[0]!r}, and names some of its own: leave out its 'cores' and 'gpus'"
                )
            if not _are_joined(flow, name, [other for other in names if other != name]):
                yield (
                    f"time_divide({listed(names)}): no stream joins {name!r} to the others, so "
                    f"that nothing makes it wait its turn: add a stream between them, written "
                    f"with dv.lockstep()"
                )


def _are_joined(flow: Workflow, name: str, others: Sequence[str]) -> bool:
    mine = flow.components[name]
    for other in others:
        its = flow.components[other]
        if {*mine.writes} & {*its.reads} or {*mine.reads} & {*its.writes}:
            return True
    return False


def listed(names: Sequence[str]) -> str:
    """``'simulation', 'trainer'``."""
    return ", ".join(map(repr, names))
