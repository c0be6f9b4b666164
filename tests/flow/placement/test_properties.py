"""What holds for every workflow, machine and number of nodes that can be thought of."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import dovetail as dv
from dovetail.flow.machines import Machine, find_machine
from dovetail.flow.placement.planner import place
from dovetail.flow.placement.result import Placement

SITES = [find_machine("aurora"), find_machine("polaris")]


def of_shape(cores: int, domains: int, gpus: int, reserved: list[int]) -> Machine:
    each = cores // domains
    near = cores // gpus if gpus else 0
    return Machine(
        name="made",
        node={  # type: ignore[arg-type]
            "cores": cores,
            "reserved": sorted({core for core in reserved if 0 < core < cores}),
            "numa": [{"cores": [*range(d * each, (d + 1) * each)]} for d in range(domains)],
            "gpus": {
                "variable": "GPUS",
                "devices": [
                    {"name": g, "selector": g, "cores": [*range(g * near, (g + 1) * near)]}
                    for g in range(gpus)
                ],
            },
        },
        launcher={"kind": "hydra"},  # type: ignore[arg-type]
    )


machines = st.sampled_from(SITES) | st.builds(
    of_shape,
    cores=st.integers(4, 24),
    domains=st.integers(1, 4),
    gpus=st.integers(0, 4),
    reserved=st.lists(st.integers(0, 24), max_size=2),
)
components = st.fixed_dictionaries(
    {},
    optional={
        "process_count": st.integers(1, 20),
        "node_count": st.integers(1, 4),
        "processes_per_node": st.integers(1, 6),
        "cpus_per_process": st.integers(1, 8),
        "gpus_per_process": st.integers(1, 2),
        "cores": st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True),
    },
)


@st.composite
def flows(draw: Any) -> dv.Workflow:
    """Up to five components, each written to by the one before it, and some rules."""
    names = list("abcde")[: draw(st.integers(1, 5))]
    said = {name: draw(components) for name in names}
    for name, after in pairwise(names):
        said[name]["writes"] = [f"s{name}"]
        said[after]["reads"] = [f"s{name}"]
    some = st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True)
    rules: dict[str, Any] = {}
    if len(names) > 1:
        for rule in ("colocate", "cluster", "time_divide"):
            rules[rule] = draw(st.lists(some, max_size=1))
    return dv.Workflow(
        "made",
        components={name: {"command": ["true"], **fields} for name, fields in said.items()},
        streams={f"s{name}": "sst://" for name in names[:-1]},
        placement=rules,
    )


@settings(max_examples=400, deadline=None)
@given(flow=flows(), machine=machines, nodes=st.none() | st.integers(1, 9))
def test_a_placement_gives_what_was_asked_for_or_is_refused(
    flow: dv.Workflow, machine: Machine, nodes: int | None
) -> None:
    try:
        placed = place(flow, machine, nodes)
    except dv.InvalidWorkflowError:
        return
    assert place(flow, machine, nodes).document() == placed.document()
    check_counts(flow, placed, nodes)
    check_seats(flow, placed)
    check_rules(flow, placed)


def check_counts(flow: dv.Workflow, placed: Placement, nodes: int | None) -> None:
    """Every rank that was asked for is there, on a node of the job."""
    if nodes is not None:
        assert placed.site.node_count == nodes
    for name, said in flow.components.items():
        one = placed.component(name)
        if said.counted is not None:
            assert one.process_count == said.counted
        assert said.node_count in (None, len(one.nodes))
        assert said.processes_per_node in (None, one.processes_per_node)
        assert {*one.nodes} <= {*range(placed.site.node_count)}
        assert list(one.nodes) == sorted({*one.nodes})
        where = [one.seat_of(rank)[0] for rank in range(one.process_count)]
        assert sorted({*where}) == list(one.nodes)
        assert sum(len(one.ranks_on(node)) for node in one.nodes) == one.process_count


def check_seats(flow: dv.Workflow, placed: Placement) -> None:
    """Each rank has its cores and GPUs, all of them on the node, and no one else has."""
    machine = placed.site.machine
    usable, devices = {*machine.node.usable}, {device.name for device in machine.node.devices}
    for name, said in flow.components.items():
        one = placed.component(name)
        assert len(one.seats) == one.processes_per_node
        cores = [core for seat in one.seats for core in seat.cores or ()]
        gpus = [gpu for seat in one.seats for gpu in seat.gpus]
        assert {*cores} <= usable
        assert {*gpus} <= devices
        if not one.on_what_is_left:
            assert len(cores) == len({*cores})
        assert len(gpus) == len({*gpus})
        for seat in one.seats:
            if said.cpus_per_process is not None:
                assert len(seat.cores or ()) == said.cpus_per_process
            if said.gpus_per_process is not None:
                assert len(seat.gpus) == said.gpus_per_process
        if said.cores is not None:
            assert cores == said.cores
    for one, other in combinations(placed.site.components, 2):
        if {*one.nodes}.isdisjoint(other.nodes):
            continue
        if one.shares_with or other.shares_with:
            continue
        if one.on_what_is_left and other.on_what_is_left:
            continue
        assert {c for s in one.seats for c in s.cores or ()}.isdisjoint(
            c for s in other.seats for c in s.cores or ()
        )
        assert {g for s in one.seats for g in s.gpus}.isdisjoint(
            g for s in other.seats for g in s.gpus
        )


def check_rules(flow: dv.Workflow, placed: Placement) -> None:
    for names in flow.placement.cluster:
        for one, other in combinations(names, 2):
            assert {*placed.component(one).nodes}.isdisjoint(placed.component(other).nodes)
    for names in (*flow.placement.colocate, *flow.placement.time_divide):
        assert len({placed.component(name).nodes for name in names}) == 1
    for names in flow.placement.time_divide:
        lead = {c for s in placed.component(names[0]).seats for c in s.cores or ()}
        for name in names[1:]:
            assert {c for s in placed.component(name).seats for c in s.cores or ()} <= lead
