"""``dovetail run``, ``plan`` and ``validate``, as a person meets them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from dovetail.flow import inside, processes

PARTS = Path(__file__).parents[1] / "flow"


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    """A folder with a flow, its components and nothing else."""
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "parts.py").symlink_to(PARTS / "parts.py")
    (folder / "dies_at_import.py").symlink_to(PARTS / "dies_at_import.py")
    return folder


def write(flow: Path, text: str) -> Path:
    (flow / "flow.yaml").write_text(text)
    return flow / "flow.yaml"


COUPLED = """
name: coupled
streams: {fields: "shm://"}
stores: {values: "file://"}
components:
  simulation:
    function: parts:write_steps
    arguments: {stream: fields, steps: 5}
    writes: [fields]
  analysis:
    function: parts:read_steps
    arguments: {stream: fields, store: values}
    reads: [fields]
    stores: [values]
"""


def test_a_run_tells_how_it_goes_and_keeps_its_directory(
    dovetail: Any, flow: Path, tmp_path: Path
) -> None:
    done = dovetail("run", write(flow, COUPLED), "--output", tmp_path / "run")
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert re.search(r"^ +\d+\.\d s  simulation: running, 1 rank", said, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d s  analysis: done after \d+\.\d s$", said, re.MULTILINE)
    assert (tmp_path / "run" / "logs" / "analysis.0.log").read_text() == "last 4.0\n"
    assert (tmp_path / "run" / "report.html").exists()
    assert done.stdout.decode().endswith(f"report: {tmp_path}/run/report.html\n")


def test_the_outcome_as_json(dovetail: Any, flow: Path, tmp_path: Path) -> None:
    done = dovetail("run", write(flow, COUPLED), "-o", tmp_path / "run", "--json")
    document = json.loads(done.stdout)
    assert document["directory"] == str(tmp_path / "run")
    assert document["status"] == "succeeded"
    assert document["components"]["analysis"]["exit"] == 0


def test_arguments_can_be_set_on_the_command_line(
    dovetail: Any, flow: Path, tmp_path: Path
) -> None:
    done = dovetail(
        "run", write(flow, COUPLED), "-o", tmp_path / "run", "--set", "simulation.steps=8"
    )
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "run" / "logs" / "analysis.0.log").read_text() == "last 7.0\n"
    refused = dovetail.error("validate", flow / "flow.yaml", "--set", "simulation.stpes=8")
    assert "takes no argument 'stpes'; did you mean 'steps'?" in refused


def test_a_component_that_dies_at_import_ends_the_run_with_its_traceback(
    dovetail: Any, flow: Path, tmp_path: Path
) -> None:
    file = write(
        flow,
        "components: {a: {function: 'dies_at_import:main'}, b: {function: 'parts:last'}}",
    )
    began = time.monotonic()
    done = dovetail("run", file, "--output", tmp_path / "run")
    assert time.monotonic() - began < 5
    said = done.stderr.decode()
    assert done.returncode == 1
    assert "dovetail: the run failed: a: exited with status 1" in said
    assert said.rstrip().endswith("ModuleNotFoundError: No module named 'no_such_module'")


def test_what_a_component_prints_does_not_command_the_terminal(
    dovetail: Any, flow: Path, tmp_path: Path
) -> None:
    file = write(flow, "components: {a: {command: [sh, -c, 'printf \"\\033[31m\\tred\"; exit 1']}}")
    said = dovetail("run", file, "--output", tmp_path / "run").stderr
    assert b"\x1b" not in said
    assert said.endswith(b"\\x1b[31m red\n")


def test_all_problems_are_listed_and_nothing_is_started(
    dovetail: Any, flow: Path, tmp_path: Path
) -> None:
    file = write(
        flow, COUPLED.replace("parts:read", "parts:raed").replace("reads: [fields]", "reads: [f]")
    )
    for command in (
        ["run", file, "--output", tmp_path / "run"],
        ["plan", file],
        ["validate", file],
    ):
        said = dovetail.error(*command)
        assert "flow.yaml has 2 problems; nothing was started\n" in said
        assert "  - component 'analysis': function 'parts:raed_steps': parts.py has no" in said
        assert "  - component 'analysis': reads 'f' is no stream of the workflow" in said
    assert not (tmp_path / "run").exists()
    done = dovetail("validate", file, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert (document["valid"], len(document["problems"])) == (False, 2)


def test_a_sound_flow_is_valid_with_its_warnings(dovetail: Any, flow: Path) -> None:
    file = write(flow, COUPLED.replace("stores: {", "stores: {idle: 'shm://', "))
    done = dovetail("validate", file)
    assert done.stdout.decode() == f"{file} is valid\n"
    assert done.stderr.decode() == "warning: store 'idle' is used by no component\n"
    assert dovetail.json("validate", file) == {
        "flow": str(file),
        "valid": True,
        "problems": [],
        "warnings": ["store 'idle' is used by no component"],
    }


def test_the_plan_shows_every_rank_its_cores_and_its_wiring(dovetail: Any, flow: Path) -> None:
    core = min(os.sched_getaffinity(0))
    file = write(flow, COUPLED.replace("    writes", f"    cores: [{core}]\n    writes"))
    lines = dovetail.output("plan", file).splitlines()
    assert lines[0].startswith("coupled: 2 components, 2 ranks, on ")
    assert lines[2].split() == [
        "COMPONENT", "RANK", "CORES", "RUNS", "READS", "WRITES", "STORES", "ON", "FAILURE",
    ]  # fmt: skip
    assert lines[3].split()[:6] == [
        "simulation",
        "0",
        str(core),
        "parts:write_steps",
        "-",
        "fields",
    ]
    assert "fields  simulation  analysis  shm://coupled-TIME.fields" in lines
    document = dovetail.json("plan", file)
    assert document["components"][0]["placed"] == [
        {"rank": 0, "cores": [core], "log": "logs/simulation.0.log", "environment": {}}
    ]
    assert "-m dovetail.flow.rank" in dovetail.output("plan", file, "--launch")
    assert not (flow / "runs").exists()


def test_an_error_in_a_python_flow_is_its_own(dovetail: Any, flow: Path) -> None:
    (flow / "flow.py").write_text("import dovetail as dv\n\nflow = dv.Workflw('a')\n")
    done = dovetail("run", flow)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert said.splitlines()[:2] == [
        "Traceback (most recent call last):",
        f'  File "{flow}/flow.py", line 3, in <module>',
    ]
    assert "AttributeError: module 'dovetail' has no attribute 'Workflw'" in said
    assert "cli/flow.py" not in said


def test_a_directory_that_is_in_use_is_refused(dovetail: Any, flow: Path) -> None:
    said = dovetail.error("run", write(flow, COUPLED), "--output", flow)
    assert "is not empty: a run needs a directory of its own" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_all_its_processes(
    dovetail: Any, flow: Path, tmp_path: Path, number: signal.Signals
) -> None:
    file = write(flow, "components: {a: {function: 'parts:last', process_count: 2}}")
    run = tmp_path / "run"
    command = subprocess.Popen(
        [*dovetail.command, "run", str(file), "--output", str(run)], stderr=subprocess.PIPE
    )
    assert command.stderr is not None
    while b"a: running" not in command.stderr.readline():
        pass
    command.send_signal(number)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 128 + number
    assert b"the run was interrupted" in said
    assert processes.everywhere({inside.RUN: str(run)}) == []


def test_a_run_whose_reader_has_left_is_stopped(dovetail: Any, flow: Path, tmp_path: Path) -> None:
    file = write(flow, "components: {a: {function: 'parts:fail_until', arguments: {attempt: 9}, "
                 "on_failure: restart(9)}, b: {function: 'parts:last'}}")  # fmt: skip
    run = tmp_path / "run"
    command = subprocess.Popen(
        [*dovetail.command, "run", str(file), "--output", str(run)], stderr=subprocess.PIPE
    )
    assert command.stderr is not None
    command.stderr.readline()
    command.stderr.close()
    assert command.wait(60) == 1
    assert processes.everywhere({inside.RUN: str(run)}) == []
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"


def test_on_a_terminal_each_component_has_a_line_that_is_kept_up_to_date(
    dovetail: Any, flow: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [*dovetail.command, "run", str(write(flow, COUPLED)), "--output", str(tmp_path / "run")],
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 4096)
        except OSError:  # the other end of a terminal is closed
            break
    os.close(ours)
    assert command.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    assert re.search(r"✓ simulation  done +0:0\d", text)
    assert re.search(r"✓ analysis    done +0:0\d .* last 4\.0", text)
