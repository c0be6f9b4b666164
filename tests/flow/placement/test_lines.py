"""Launch lines and scripts, tried with the real launcher where one is here."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dovetail as dv
from dovetail.flow import jobs
from dovetail.flow.machines import Machine, find_machine
from dovetail.flow.machines.profile import Launcher
from dovetail.flow.placement.lines import launch_line, select_gpus
from dovetail.flow.placement.script import Job, script

Make = Callable[..., dv.Workflow]
TELL = (
    "import os, sys; here = sorted(os.sched_getaffinity(0));"
    "open(sys.argv[1] + os.environ['PMI_RANK'], 'w').write(f'{os.environ[\"GPUS\"]} {here}')"
)
CORES = sorted(os.sched_getaffinity(0))


def with_launcher(kind: str, cores: int = 8) -> Machine:
    """Nodes of two domains and four GPUs."""
    return Machine(
        name="made",
        node={  # type: ignore[arg-type]
            "cores": cores,
            "numa": [{"cores": f"0-{cores // 2 - 1}"}, {"cores": f"{cores // 2}-{cores - 1}"}],
            "gpus": {
                "variable": "GPUS",
                "devices": [
                    {"name": g, "selector": g, "cores": [2 * g, 2 * g + 1]} for g in range(4)
                ],
            },
        },
        launcher=Launcher(kind=kind),  # type: ignore[arg-type]
    )


def words(flow: dv.Workflow, machine: Machine, nodes: int, *hosts: str) -> str:
    placed = flow.place(machine, nodes, hosts)
    return " ".join(launch_line(placed.site, "a", 0, ["./a"], "/run").argv)


def test_the_words_of_each_launcher(flow: Make) -> None:
    made = flow(a={"processes_per_node": 2, "cpus_per_process": 2})
    assert words(made, with_launcher("pals"), 3) == (
        "mpiexec -n 6 --ppn 2 --hostfile /run/hosts/a --cpu-bind=list:0-1:2-3 ./a"
    )
    assert words(made, with_launcher("hydra"), 2, "n1", "n2") == (
        "mpiexec -n 4 -ppn 2 -hosts n1,n2 -bind-to user:0+1,2+3 ./a"
    )
    assert words(made, with_launcher("openmpi"), 2, "n1", "n2") == (
        "mpiexec -n 4 --map-by ppr:2:node --host n1:2,n2:2 --bind-to none --oversubscribe ./a"
    )
    assert words(made, with_launcher("srun"), 3) == (
        "srun --nodes=3 --ntasks=6 --ntasks-per-node=2 --distribution=block "
        "--nodelist=/run/hosts/a --overlap --cpu-bind=mask_cpu:0x3,0xc ./a"
    )


def test_gpus_are_selected_by_local_rank(flow: Make) -> None:
    made = flow(a={"processes_per_node": 2, "gpus_per_process": 2})
    assert words(made, with_launcher("srun"), 1).endswith(
        "/run/select_gpus.sh SLURM_LOCALID GPUS 0,1:2,3 ./a"
    )
    assert " PALS_LOCAL_RANKID " in words(made, with_launcher("pals"), 1)
    assert " PMI_LOCAL_RANK CUDA_VISIBLE_DEVICES " in words(made, find_machine("polaris"), 1)


def test_a_rank_is_shown_the_gpus_of_its_seat(tmp_path: Path) -> None:
    wrapper = tmp_path / "select_gpus.sh"
    wrapper.write_text(select_gpus())
    command = [
        "sh",
        str(wrapper),
        "LOCAL",
        "GPUS",
        "0,1:2:3",
        "sh",
        "-c",
        'echo "$GPUS $1"',
        "a",
        "b c",
    ]

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip

    assert [run(LOCAL=rank).stdout for rank in "012"] == ["0,1 b c\n", "2 b c\n", "3 b c\n"]
    beyond = run(LOCAL="3")
    assert (beyond.returncode, beyond.stdout) == (64, "")
    assert "more ranks were started on this node than planned" in beyond.stderr
    for wrong in ("", "x", "-1"):
        assert "and no rank: the launcher does not set it" in run(LOCAL=wrong).stderr


@pytest.mark.requires("mpi")
@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_ranks_under_mpiexec_have_the_cores_and_gpus_of_the_plan(
    flow: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = find_machine("mpi")
    node = machine.node.document() | {
        "cores": CORES[:2],
        "numa": [],
        "nics": [],
        "gpus": {
            "variable": "GPUS",
            "devices": [  # against the order of the cores
                {"name": "first", "selector": "7", "cores": [CORES[1]]},
                {"name": "second", "selector": "5", "cores": [CORES[0]]},
            ],
        },
    }
    machine = Machine.from_document(machine.document() | {"node": node}, "made")
    made = flow(a={"process_count": 2, "gpus_per_process": 1, "mpi": True})
    placed = made.place(machine, 1, ("localhost",))
    program = [sys.executable, "-c", TELL, str(tmp_path / "rank-")]
    line = launch_line(placed.site, "a", 0, program, str(tmp_path))
    wrapper = tmp_path / "select_gpus.sh"
    wrapper.write_text(select_gpus())
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    done = subprocess.run(line.argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rank-0").read_text() == f"7 [{CORES[1]}]"
    assert (tmp_path / "rank-1").read_text() == f"5 [{CORES[0]}]"


PARTS = {
    "work": {"command": ["true"], "processes_per_node": 1, "cpus_per_process": 1},
    "serve": {"command": ["true"], "node_count": 1, "service": True},
}


def job_script(flow: Make, tmp_path: Path, work: str, serve: str) -> str:
    """A PBS job on this host, whose launch lines run these shell commands."""
    machine = find_machine("pbs")
    made = flow(**PARTS)
    planned = jobs.job_plan(made, made.place(machine, 1), directory=tmp_path / "run")
    said = {"work": work, "serve": serve}
    lines = tuple(
        dataclasses.replace(line, argv=("sh", "-c", said[line.component]))
        for line in planned.jobs[0].lines
    )
    job = Job("test", str(tmp_path / "run"), str(tmp_path), "true")
    return script(planned.jobs[0].site, lines, job)


def run_job(text: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as PBS does: with a file that names the nodes."""
    (tmp_path / "run").mkdir()
    (tmp_path / "nodefile").write_text("localhost\nlocalhost\n")
    file = tmp_path / "job.sh"
    file.write_text(text)
    beside = str(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", str(file)],
        env={
            **os.environ,
            "PBS_NODEFILE": str(tmp_path / "nodefile"),
            "PATH": f"{beside}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.requires("mpi")
def test_a_script_ends_with_its_work_and_takes_the_services_along(
    flow: Make, tmp_path: Path
) -> None:
    serve = "trap 'echo ended >> out; exit' TERM; echo up >> up; while :; do sleep 0.05; done"
    work = 'until [ -e up ]; do sleep 0.05; done; echo "$DOVETAIL_COMPONENT" >> out'
    done = run_job(job_script(flow, tmp_path, work, serve), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "work\nended\n"
    assert (tmp_path / "run/hosts/work").read_text() == "localhost\n"


@pytest.mark.requires("mpi")
def test_a_script_fails_with_its_work(flow: Make, tmp_path: Path) -> None:
    serve = "trap 'echo ended >> out; exit' TERM; echo up >> up; while :; do sleep 0.05; done"
    work = "until [ -e up ]; do sleep 0.05; done; exit 9"
    done = run_job(job_script(flow, tmp_path, work, serve), tmp_path)
    assert done.returncode == 9
    assert "failed with status 9" in done.stderr
    assert (tmp_path / "out").read_text() == "ended\n"


def test_a_script_refuses_a_job_that_is_too_small(flow: Make, tmp_path: Path) -> None:
    made = flow(a={"node_count": 3, "cpus_per_process": 1})
    planned = jobs.job_plan(made, made.place("pbs"), directory=tmp_path / "run")
    done = run_job(planned.jobs[0].script or "", tmp_path)
    assert done.returncode == 1
    assert "the job has 1 nodes, and the plan needs 3" in done.stderr


def test_scripts_are_shell_that_can_be_read(flow: Make, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    made = flow(
        {"cluster": ["a", "b"]},
        a={"processes_per_node": 2, "cpus_per_process": 1, "environment": {"A": "it's $HOME"}},
        b={"node_count": 1, "cpus_per_process": 1},
    )
    for machine in ("aurora", "polaris", "pbs", "slurm"):
        placed = made.place(machine, 5)
        text = jobs.job_plan(made, placed, account="us").jobs[0].script
        assert text is not None
        checked = subprocess.run(
            [bash, "-n"], input=text, capture_output=True, text=True, timeout=30, check=False
        )
        assert checked.returncode == 0, checked.stderr
        assert "  export A='it'\"'\"'s $HOME'\n" in text
        assert "# a: 8 ranks, 2 a node, on nodes 1-4 of the job\n" in text
        assert "\nsed -n '5p' " in text
    assert "#SBATCH --nodes=5\n" in text
    assert "#SBATCH --time=01:00:00\n" in text
    assert "#SBATCH --account=us\n" in text
