"""Counts, nodes and groups; and what is impossible, refused with the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dovetail as dv

Make = Callable[..., dv.Workflow]
SIM = {"processes_per_node": 12, "gpus_per_process": 1, "cpus_per_process": 4}
COUPLED = {"writes": ["fields"]}, {"reads": ["fields"]}


def problems_of(flow: dv.Workflow, machine: str, nodes: int | None = None) -> tuple[str, ...]:
    with pytest.raises(dv.InvalidWorkflowError) as refusal:
        flow.place(machine, nodes)
    return refusal.value.problems


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ({}, (1, 1, 1)),
        ({"process_count": 3}, (3, 1, 3)),
        ({"node_count": 3}, (3, 3, 1)),
        ({"processes_per_node": 3}, (15, 5, 3)),
        ({"process_count": 7, "node_count": 3}, (7, 3, 3)),
        ({"process_count": 7, "processes_per_node": 2}, (7, 4, 2)),
        ({"node_count": 2, "processes_per_node": 3}, (6, 2, 3)),
        ({"process_count": 200, "cpus_per_process": 1}, (200, 2, 100)),
        ({"process_count": 24, "gpus_per_process": 1}, (24, 2, 12)),
    ],
)
def test_what_is_not_said_of_the_counts_follows(
    flow: Make, said: dict[str, int], counts: tuple[int, int, int]
) -> None:
    one = flow(one=said).place("aurora", 5).component("one")
    assert (one.process_count, len(one.nodes), one.processes_per_node) == counts


def test_ranks_go_round_a_node_before_the_next(flow: Make) -> None:
    one = flow(one={"process_count": 5, "processes_per_node": 2, "cpus_per_process": 1})
    placed = one.place("aurora", 4).component("one")
    assert [placed.seat_of(rank)[0] for rank in range(5)] == [0, 0, 1, 1, 2]
    assert [placed.seat_of(rank)[1].cores for rank in range(5)] == [(1,), (2,), (1,), (2,), (1,)]
    assert list(placed.ranks_on(2)) == [4]


def test_clustered_components_have_nodes_of_their_own(flow: Make) -> None:
    made = flow(
        {"cluster": ["sim", "server"]}, sim=SIM, server={"node_count": 2, "cpus_per_process": 64}
    )
    placed = made.place("aurora", 10)
    assert placed.component("sim").nodes == tuple(range(8))
    assert placed.component("server").nodes == (8, 9)


def test_colocated_components_share_nodes_and_no_cores(flow: Make) -> None:
    made = flow(
        {"colocate": ["sim", "helper", "free"]},
        sim=SIM,
        helper={"processes_per_node": 2, "cpus_per_process": 3},
        free={"processes_per_node": 2},
    )
    sim, helper, free = made.place("aurora", 3).site.components
    assert sim.nodes == helper.nodes == free.nodes == (0, 1, 2)
    taken = [core for one in (sim, helper) for seat in one.seats for core in seat.cores or ()]
    assert len(taken) == len({*taken}) == 54
    assert {*(free.seats[0].cores or ())} == {*range(104)} - {0, 52} - {*taken}


def test_components_that_take_turns_have_the_same_cores(flow: Make) -> None:
    writes, reads = COUPLED
    made = flow(
        {"time_divide": ["sim", "ai", "few"]},
        {"fields": "sst://"},
        sim=SIM | writes,
        ai={"processes_per_node": 12} | reads,
        few={"processes_per_node": 2} | reads,
    )
    sim, ai, few = made.place("aurora", 2).site.components
    assert ai.seats == sim.seats
    assert [seat.cores for seat in few.seats] == [
        tuple(core for seat in half for core in seat.cores or ())
        for half in (sim.seats[:6], sim.seats[6:])
    ]
    assert few.shares_with == "sim"


def test_linked_components_are_on_their_own_machine_and_a_gateway_joins_them(flow: Make) -> None:
    writes, reads = COUPLED
    sim = {"processes_per_node": 1, "cpus_per_process": 1} | writes
    made = flow(streams={"fields": "sst://f"}, sim=sim, ai={"node_count": 2} | reads)
    made.link("ai", machine="polaris")
    placed = made.place("aurora", 4)
    assert [site.machine.name for site in placed.sites] == ["aurora", "polaris"]
    assert [site.node_count for site in placed.sites] == [4, 2]
    (crossing,) = placed.crossings
    assert (crossing.name, crossing.source, crossing.target) == ("fields", "aurora", "polaris")
    with pytest.raises(dv.InvalidWorkflowError, match="^component 'ai' is linked: it runs on"):
        made.plan()


def test_equal_nodes_are_one_group(flow: Make) -> None:
    made = flow(
        sim=SIM, one={"process_count": 1, "cpus_per_process": 1}, two={"node_count": 9}
    ).place("aurora", 512)
    groups = [(len(group.nodes), dict(group.occupants)) for group in made.site.groups]
    assert groups == [
        (1, {"sim": 12, "one": 1, "two": 1}),
        (8, {"sim": 12, "two": 1}),
        (503, {"sim": 12}),
    ]


def test_the_same_request_has_the_same_answer(flow: Make) -> None:
    def document() -> dict[str, Any]:
        made = flow({"cluster": ["sim", "db"]}, sim=SIM, db={"node_count": 2}, rest={})
        return made.place("aurora", 10_000).document()

    assert document() == document()


IMPOSSIBLE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "cores": (
        {"a": {"processes_per_node": 13, "cpus_per_process": 8}}, {},
        "13 ranks × 8 cores = 104, but 102 of the 104 cores of a node of aurora "
        "(0-103, 0,52 reserved) are free",
    ),
    "cores beside others": (
        {"a": {"processes_per_node": 6, "cpus_per_process": 16},
         "b": {"processes_per_node": 1, "cpus_per_process": 7}}, {},
        "1 ranks × 7 cores = 7, but 6 of the 104 cores of a node of aurora "
        "(0-103, 0,52 reserved, a has 96) are free",
    ),
    "gpus": (
        {"a": {"processes_per_node": 7, "gpus_per_process": 2}}, {},
        "7 ranks × 2 GPUs = 14, but 12 of the 12 GPUs of a node of aurora are free",
    ),
    "nodes": (
        {"a": {"process_count": 100, "cpus_per_process": 16}}, {},
        "takes 17 nodes of aurora (100 ranks × 16 cores: 6 ranks fit on the 102 cores of a node, "
        "and 100 / 6 = 16.67), but there are 3",
    ),
    "nodes beside others": (
        {"a": {"node_count": 2}, "b": {"node_count": 2}}, {"cluster": ["a", "b"]},
        "but there are 3, of which 3 − 2 = 1 are left for it (component 'a' has 2, clustered)",
    ),
    "both take all": (
        {"a": {"processes_per_node": 1}, "b": {"processes_per_node": 1}}, {"cluster": ["a", "b"]},
        "both take all nodes that are there: give one of them node_count",
    ),
    "counts": (
        {"a": {"process_count": 9, "node_count": 2, "processes_per_node": 4}}, {},
        "2 nodes × 4 ranks a node = 8, which is less than its process_count 9",
    ),
    "empty nodes": (
        {"a": {"process_count": 4, "node_count": 3}}, {},
        "4 ranks, 2 a node, fill 2 of its 3 nodes",
    ),
    "uneven": (
        {"a": {"node_count": 2}, "b": {"process_count": 3}}, {"colocate": ["a", "b"]},
        "are on the same 2 nodes, but 'b' has 3 ranks, 1.5 a node",
    ),
    "different nodes": (
        {"a": {"node_count": 2}, "b": {"node_count": 3}}, {"colocate": ["a", "b"]},
        "take different numbers of them ('a' 2, 'b' 3): give them one node_count",
    ),
    "together and apart": (
        {"a": {}, "b": {}}, {"colocate": ["a", "b"], "cluster": ["a", "b"]},
        "'a', 'b' are colocated or take turns on the same nodes, and cannot have nodes of",
    ),
    "turns without a stream": (
        {"a": {}, "b": {}}, {"time_divide": ["a", "b"]},
        "no stream joins 'b' to the others, so that nothing makes it wait its turn",
    ),
    "no gpus at all": (
        {"a": {}, "b": {"gpus_per_process": 1}},
        {"link": [{"components": ["b"], "machine": "local"}]},
        "it asks for 1 GPU a rank, and this machine has none: leave out gpus_per_process",
    ),
    "unknown name": (
        {"sim": {}, "b": {}}, {"cluster": ["sin", "b"]},
        "there is no component 'sin'; did you mean 'sim'?",
    ),
    "linked and colocated": (
        {"a": {}, "b": {}},
        {"colocate": ["a", "b"], "link": [{"components": ["b"], "machine": "polaris"}]},
        "they are on different systems, joined only by a gateway",
    ),
    "unknown machine": (
        {"a": {}, "b": {}}, {"link": [{"components": ["b"], "machine": "polarys"}]},
        "there is no machine 'polarys'; did you mean 'polaris'?",
    ),
    "gpus that are not there": (
        {"a": {"gpus": ["6.0"]}}, {},
        "a node of aurora has no GPU 6.0 for it: there are 0.0, 0.1",
    ),
    "the same gpus": (
        {"a": {"gpus": [0.1], "processes_per_node": 1},
         "b": {"gpus": ["0.1"], "processes_per_node": 1}}, {},
        "components 'a' and 'b' are both on GPU 0.1: give each gpus of its own",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_is_impossible_is_refused_with_the_arithmetic(flow: Make, case: str) -> None:
    components, placement, said = IMPOSSIBLE[case]
    found = problems_of(flow(placement, **components), "aurora", 3)
    assert said in " ".join(found), found


@pytest.mark.parametrize("want", ["cpus_per_process", "gpus_per_process"])
def test_who_takes_turns_has_what_it_asks_for(flow: Make, want: str) -> None:
    writes, reads = COUPLED
    turns = {"time_divide": ["a", "b"]}
    made = flow(turns, {"fields": "sst://"}, a=writes, b=reads | {want: 2})
    (said,) = problems_of(made, "aurora")
    assert "'a', on whose" in said
    assert "takes turns, has 0: ask for less, or name 'b' first in time_divide" in said


def test_a_core_is_taken_with_any_of_its_hardware_threads(flow: Make) -> None:
    made = flow(
        threads={"processes_per_node": 1, "cores": "1-2,105-106"},
        second={"processes_per_node": 1, "cores": [107]},
        others={"processes_per_node": 2, "cpus_per_process": 1},
    )
    placed = made.place("aurora", 1)
    assert [seat.cores for seat in placed.component("others").seats] == [(4,), (5,)]


def test_memory_of_a_node_joins_only_those_on_it(flow: Make) -> None:
    writes, reads = COUPLED
    streams = {"fields": "shm://"}
    made = flow(streams=streams, a={"node_count": 2} | writes, b={"node_count": 2} | reads)
    (said,) = problems_of(made, "aurora")
    assert "'a' and 'b' are on 2: say that they are colocated" in said
    made.colocate("a", "b")
    assert made.place("aurora").component("b").nodes == (0, 1)
    apart = flow(streams=streams, a={"node_count": 2} | writes, b={"node_count": 1} | reads)
    (said,) = problems_of(apart, "aurora")
    assert "'a' is on nodes 0-1 and 'b' on node 0: colocate them" in said


def test_one_machine_bears_what_is_clustered_elsewhere(flow: Make) -> None:
    placed = flow({"cluster": ["a", "b"]}, a={}, b={}).place("local")
    assert "this machine is one node, which they share" in placed.warnings[0]
    (said,) = problems_of(flow(a={"node_count": 2}), "local")
    assert "takes 2 nodes of local, but there is 1" in said


def test_rules_are_the_same_in_python_and_in_yaml(flow: Make) -> None:
    made = flow(a={}, b={}, c={}, d={})
    made.colocate("a", "b")
    made.cluster("a", "c")
    made.time_divide("b", "c")
    made.link("d", machine="polaris", node_count=2)
    rules = {
        "colocate": [["a", "b"]],
        "cluster": [["a", "c"]],
        "time_divide": [["b", "c"]],
        "link": [{"components": ["d"], "machine": "polaris", "node_count": 2}],
    }
    assert made.document()["placement"] == rules
    again = dv.Workflow.from_document(made.document())
    assert again.placement == made.placement == flow(rules, a={}, b={}, c={}, d={}).placement
