"""A rank that has other cores than the plan gives it goes on, and the report says so."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dovetail as dv
from dovetail import report
from dovetail.flow import affinity
from dovetail.flow.plan import Plan

Make = Callable[..., dv.Workflow]
FAR = 4095
"""A core that no machine has on which these tests run."""


def run_rank(directory: Path, cores: tuple[int, ...]) -> str:
    """Start rank 0 of a run once more, with a plan that gives it these cores; its log."""
    plan = Plan.read(directory)
    (one,) = plan.components
    placed = (dataclasses.replace(one.placed[0], cores=cores),)
    dataclasses.replace(plan, components=(dataclasses.replace(one, placed=placed),)).write()
    subprocess.run(
        [sys.executable, "-P", "-m", "dovetail.flow.rank", str(directory), "one", "--rank", "0"],
        timeout=60,
        check=True,
        env={**os.environ, "DOVETAIL_ATTEMPT": "1"},
    )
    return (directory / "logs/one.0.log.1").read_text()


def test_a_difference_is_a_warning_in_log_and_report(workflow: Make, output: Path) -> None:
    core = min(os.sched_getaffinity(0))
    workflow(one={"function": "parts:tell_cores", "cores": [core]}).run(output)
    assert affinity.warnings(output) == []
    log = run_rank(output, (core, FAR))
    assert f"warning: the plan gives this rank core {core},{FAR}, and it has {core}\n" in log
    assert log.splitlines()[-1].startswith(f"{core} "), "it went on"
    said = " ".join(report.summary(output).split())
    assert (
        f"warning: one: 1 rank has other cores than planned: rank 0 was to have {core},{FAR}"
        in said
    )
    page = report.write(output).read_text()
    assert "Not as planned" in page
    assert report.account_of(output).document()["warnings"] == affinity.warnings(output)


def test_a_rank_that_can_have_none_of_its_cores_runs_anywhere(workflow: Make, output: Path) -> None:
    workflow(one={"function": "parts:tell_cores", "cpus_per_process": 1}).run(output)
    log = run_rank(output, (FAR,))
    everywhere = " ".join(map(str, sorted(os.sched_getaffinity(0))))
    assert f"the plan gives this rank core {FAR}, and it has " in log
    assert log.splitlines()[-1].startswith(f"{everywhere} ")


def test_colocated_ranks_that_ask_for_nothing_get_what_is_left(
    workflow: Make, output: Path
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    flow = workflow(
        bound={"function": "parts:tell_cores", "cpus_per_process": 1},
        free={"function": "parts:tell_cores"},
    )
    flow.colocate("bound", "free")
    if len(cores) == 1:
        (problem,) = _problems(flow)
        assert "but bound took all 1 of this machine" in problem
        return
    flow.run(output)
    left = " ".join(str(core) for core in cores[1:])
    assert (output / "logs/free.0.log").read_text().startswith(f"{left} ")


def _problems(flow: dv.Workflow) -> tuple[str, ...]:
    try:
        flow.check()
    except dv.InvalidWorkflowError as error:
        return error.problems
    return ()
