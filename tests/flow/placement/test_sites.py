"""Aurora and Polaris: the bind lists that their users know, exactly, and the order of GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dovetail as dv
from dovetail.flow import jobs
from dovetail.flow.machines import find_machine

Make = Callable[..., dv.Workflow]
TWELVE = "1-8:9-16:17-24:25-32:33-40:41-48:53-60:61-68:69-76:77-84:85-92:93-100"
SIX = "1-16:17-32:33-48:53-68:69-84:85-100"
TILES = ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1", "4.0", "4.1", "5.0", "5.1"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"processes_per_node": 12, "gpus_per_process": 1}, TWELVE),
        ({"processes_per_node": 12, "cpus_per_process": 8}, TWELVE),
        ({"processes_per_node": 12, "gpus_per_process": 1, "cpus_per_process": 8}, TWELVE),
        ({"processes_per_node": 6, "gpus_per_process": 2}, SIX),
        ({"processes_per_node": 6, "cpus_per_process": 16}, SIX),
    ],
)
def test_the_bind_lists_of_aurora(flow: Make, said: dict[str, int], expected: str) -> None:
    planned = flow(sim=said).place("aurora", 2)
    (line,) = jobs.job_plan(flow(sim=said), planned).jobs[0].lines
    assert f"--cpu-bind=list:{expected}" in line.argv
    assert line.argv[:5] == ("mpiexec", "-n", str(2 * said["processes_per_node"]), "--ppn",
                             str(said["processes_per_node"]))  # fmt: skip


def test_a_rank_of_aurora_has_the_tile_that_is_near_its_cores(flow: Make) -> None:
    sim = flow(sim={"processes_per_node": 12, "gpus_per_process": 1}).place("aurora", 1)
    assert [seat.gpus for seat in sim.component("sim").seats] == [(tile,) for tile in TILES]
    pairs = flow(sim={"processes_per_node": 6, "gpus_per_process": 2}).place("aurora", 1)
    assert [seat.gpus for seat in pairs.component("sim").seats] == [
        *zip(TILES[::2], TILES[1::2], strict=True)
    ]


def test_the_colocated_lists_of_aurora_share_the_tiles_in_halves(flow: Make, binds: Any) -> None:
    made = flow(
        {"colocate": ["simulation", "trainer"]},
        simulation={
            "processes_per_node": 6,
            "cores": [1, 8, 16, 24, 32, 40],
            "gpus_per_process": 1,
        },
        trainer={
            "processes_per_node": 6,
            "cores": [53, 60, 68, 76, 84, 92],
            "gpus_per_process": 1,
        },
    )
    placed = made.place("aurora", 4)
    simulation, trainer = placed.site.components
    assert binds(simulation) == "1:8:16:24:32:40"
    assert binds(trainer) == "53:60:68:76:84:92"
    assert [gpu for seat in simulation.seats for gpu in seat.gpus] == TILES[:6]
    assert [gpu for seat in trainer.seats for gpu in seat.gpus] == TILES[6:]


def test_the_cores_of_aurora_for_daos_can_be_looked_up(flow: Make, binds: Any) -> None:
    cores = find_machine("aurora").node.core_lists["daos"]
    placed = flow(sim={"processes_per_node": 12, "cores": cores}).place("aurora", 1)
    assert binds(placed.component("sim")) == "4:9:14:19:20:25:56:61:66:71:74:79"


def test_the_gpus_of_polaris_go_against_the_cores(flow: Make, binds: Any) -> None:
    sim = flow(sim={"processes_per_node": 4, "gpus_per_process": 1}).place("polaris", 1)
    assert binds(sim.component("sim")) == "24-31:16-23:8-15:0-7"
    assert [seat.gpus for seat in sim.component("sim").seats] == [("0",), ("1",), ("2",), ("3",)]


def test_the_colocated_lists_of_polaris(flow: Make, binds: Any) -> None:
    made = flow(
        {"colocate": ["simulation", "trainer"]},
        simulation={"processes_per_node": 2, "cores": [24, 16], "gpus_per_process": 1},
        trainer={"processes_per_node": 2, "cores": [8, 1], "gpus_per_process": 1},
    )
    simulation, trainer = made.place("polaris", 3).site.components
    assert (binds(simulation), binds(trainer)) == ("24:16", "8:1")
    assert [seat.gpus for seat in simulation.seats] == [("0",), ("1",)]
    assert [seat.gpus for seat in trainer.seats] == [("2",), ("3",)]


def test_nobody_sits_on_a_reserved_core(flow: Make) -> None:
    placed = flow(a={"processes_per_node": 102, "cpus_per_process": 1}).place("aurora", 1)
    cores = {core for seat in placed.component("a").seats for core in seat.cores or ()}
    assert cores == {*range(104)} - {0, 52}
    with pytest.raises(dv.InvalidWorkflowError, match="core 0 of aurora is reserved"):
        flow(a={"cores": [0]}).place("aurora", 1)


def test_each_launch_line_of_polaris_has_a_base_of_its_own(flow: Make) -> None:
    made = flow(
        a={"processes_per_node": 1, "cpus_per_process": 1},
        b={"processes_per_node": 1, "cpus_per_process": 1},
    )
    lines = jobs.job_plan(made, made.place("polaris", 2)).jobs[0].lines
    assert [line.environment["MPICH_OFI_CXI_PID_BASE"] for line in lines] == ["0", "1"]


@pytest.mark.parametrize(
    ("machine", "nodes", "hours", "queue"),
    [
        ("aurora", 1, 1.0, "debug"),
        ("aurora", 3, 1.0, "debug-scaling"),
        ("aurora", 3, 20.0, "capacity"),
        ("aurora", 512, 6.0, "prod"),
        ("polaris", 8, 1.0, "debug-scaling"),
        ("polaris", 11, 1.0, "prod"),
    ],
)
def test_the_first_queue_that_takes_the_job_is_proposed(
    flow: Make, machine: str, nodes: int, hours: float, queue: str
) -> None:
    made = flow(a={"processes_per_node": 1, "cpus_per_process": 1})
    planned = jobs.job_plan(made, made.place(machine, nodes), hours=hours)
    script = planned.jobs[0].script or ""
    assert f"#PBS -q {queue}\n" in script
    assert f"#PBS -l select={nodes}\n" in script
    assert "#PBS -l place=scatter\n" in script
    assert f"#PBS -l filesystems=home:{'flare' if machine == 'aurora' else 'eagle'}\n" in script
    assert " -V" not in script


def test_a_job_that_no_queue_takes_is_refused_with_the_limits(flow: Make) -> None:
    made = flow(a={"processes_per_node": 1, "cpus_per_process": 1})
    placed = made.place("aurora", 100)
    with pytest.raises(dv.InvalidWorkflowError, match="debug-scaling takes 2–256 nodes for up to"):
        jobs.job_plan(made, placed, hours=3)
    with pytest.raises(dv.InvalidWorkflowError, match="has no queue 'prd'; did you mean 'prod'"):
        jobs.job_plan(made, placed, queue="prd")
