"""Faults of workflows: whatever happens to a component, the run ends and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults import flow_roles as roles
from faults.tally import Tally

import dovetail as dv
from dovetail.flow import Run, inside, processes, read_flow
from dovetail.testing.children import Child, ChildServer, wait_until

PARTS = Path(__file__).parents[1] / "flow"
FEWER = 20
"""A whole run is a dear fault: of most kinds there are so many times fewer."""
LATEST = 0.6
"""Seconds after which Ctrl-C comes at the latest; by then all components of the run work."""
SHAPES = {
    "plain": {"function": "parts:last"},
    "ranks": {"function": "parts:last", "process_count": 4},
    "command": {"command": ["sh", "-c", "sleep 600; true"]},
}
EVERYTHING = PARTS / "everything.yaml"
"""A stream, a store, a process with a child, and a service."""


@pytest.fixture
def fewer(faults: Tally) -> Tally:
    faults.wanted = max(1, faults.wanted // FEWER)
    return faults


@pytest.fixture
def directories(tmp_path: Path) -> Iterator[Path]:
    """The parent of the directories of runs, outside of which nothing may be left of them."""
    yield tmp_path
    for directory in tmp_path.glob("run-*"):
        check_clean(directory)


@pytest.fixture(scope="module")
def commands() -> Iterator[ChildServer]:
    """Starts commands from an interpreter that has imported what they need."""
    with ChildServer(roles.WARM) as server:
        yield server


def check_clean(directory: Path) -> None:
    """No process, no shared memory, no lock or half-written file is left of a run."""
    assert processes.everywhere({inside.RUN: str(directory)}) == []
    assert list(Path("/dev/shm").glob(f"dovetail-*/{directory.name}*")) == []
    assert list(directory.glob("**/.*")) == []
    assert list(directory.glob("**/*lock*")) == []
    for log in directory.glob("logs/*.log"):
        if log.stat().st_size < 1 << 20:
            assert not [name for name in segments_in(log) if Path(name).exists()]


def segments_in(log: Path) -> list[str]:
    """The shared memory of libraries that a component says it has."""
    return re.findall("^segment (.+)$", log.read_text(errors="replace"), re.MULTILINE)


def start(directory: Path, grace: float = 2.0, **components: dict[str, Any]) -> Run:
    flow = dv.Workflow("test", components=components, grace=grace, folder=PARTS)
    return flow.start(directory)


def failure_of(run: Run) -> str:
    with pytest.raises(dv.WorkflowFailedError) as failure:
        run.wait(60)
    check_clean(run.directory)
    return str(failure.value)


def pids_of(run: Run, component: str, count: int = 1) -> list[int]:
    """The pids of a component's ranks, once they are known."""

    def pids() -> list[int]:
        found: list[int] = run.document()["components"][component]["pids"]
        return found

    wait_until(lambda: len(pids()) >= count, "the ranks to be there")
    return pids()


@pytest.mark.parametrize("shape", SHAPES)
def test_killed(fewer: Tally, chance: random.Random, directories: Path, shape: str) -> None:
    """Component killed at a random moment."""
    for trial in fewer:
        run = start(directories / f"run-{trial}", victim=SHAPES[shape], other=SHAPES["plain"])
        victims = pids_of(run, "victim", SHAPES[shape].get("process_count", 1))
        time.sleep(chance.uniform(0, 0.2))
        os.kill(chance.choice(victims), signal.SIGKILL)
        assert "was killed by SIGKILL" in failure_of(run)


@pytest.mark.requires("mpi")
def test_killed_mpi(fewer: Tally, chance: random.Random, directories: Path) -> None:
    """A rank, or mpiexec, of an MPI component killed at a random moment."""
    for trial in fewer:
        run = start(
            directories / f"run-{trial}",
            victim={"function": "parts:mpi_serve", "process_count": 2, "mpi": True},
            other=SHAPES["plain"],
        )
        ranks = pids_of(run, "victim", 2)
        mpiexec = [psutil.Process(ranks[0]).parents()[1].pid]
        log = run.directory / "logs" / "victim.0.log"
        wait_until(lambda: segments_in(log), "MPI to be there")  # noqa: B023
        time.sleep(chance.uniform(0, 0.2))
        os.kill(chance.choice(ranks + mpiexec), signal.SIGKILL)
        assert "the run failed: victim: " in failure_of(run)


def test_hung(fewer: Tally, directories: Path) -> None:
    """Component that hangs, and is found out by its timeout."""
    for trial in fewer:
        run = start(
            directories / f"run-{trial}",
            victim=SHAPES["plain"] | {"timeout": 0.3},
            other=SHAPES["ranks"],
        )
        assert "victim: hung: still running after its timeout of 0.3 s" in failure_of(run)


def test_import(fewer: Tally, directories: Path) -> None:
    """Component that dies at import: its traceback, within 5 seconds."""
    slowest = 0.0
    for trial in fewer:
        began = time.monotonic()
        run = start(
            directories / f"run-{trial}",
            victim={"function": "dies_at_import:main"},
            other=SHAPES["plain"],
        )
        failure = failure_of(run)
        slowest = max(slowest, time.monotonic() - began)
        assert "dies_at_import.py" in failure
        assert failure.endswith("ModuleNotFoundError: No module named 'no_such_module'")
        assert slowest < 5
    fewer.note(f"slowest {slowest:.2f} s")


@pytest.mark.parametrize(
    "shape",
    [
        {"function": "parts:rank_1_fails"},
        pytest.param(
            {"function": "parts:mpi_rank_1_fails", "mpi": True},
            marks=pytest.mark.requires("mpi"),
        ),
    ],
    ids=["plain", "mpi"],
)
def test_rank_1_of_4(fewer: Tally, directories: Path, shape: dict[str, Any]) -> None:
    """Component of which rank 1 of 4 fails."""
    for trial in fewer:
        run = start(
            directories / f"run-{trial}",
            victim=shape | {"process_count": 4},
            other=SHAPES["plain"],
        )
        failure = failure_of(run)
        assert failure.startswith("the run failed: victim: rank 1 of 4 exited with status 1")
        assert "ValueError: rank 1 broke" in failure


def test_output(fewer: Tally, directories: Path) -> None:
    """Component that prints 100 MB: all in its log, none in anybody's memory."""
    peaks = []
    for trial in fewer:
        directory = directories / f"run-{trial}"
        before = psutil.Process().memory_info().rss
        run = start(
            directory, victim={"function": "parts:chatter", "arguments": {"megabytes": 100}}
        )
        supervisor = psutil.Process(run.document()["supervisor"])
        while not run.ended(0.02):
            with contextlib.suppress(psutil.Error):
                peaks.append(supervisor.memory_info().rss)
        failure = failure_of(run)
        log = directory / "logs" / "victim.0.log"
        assert log.stat().st_size > 100 << 20
        assert failure.endswith("ValueError: after all that")
        assert len(failure) < 50_000
        assert psutil.Process().memory_info().rss - before < 32 << 20
        assert max(peaks) < 100 << 20
        log.unlink()
    fewer.note(f"supervisor at most {max(peaks) >> 20} MiB")


@pytest.mark.parametrize("about", ["deaf service", "deaf component"])
def test_deaf(fewer: Tally, directories: Path, about: str) -> None:
    """Component that ignores SIGTERM."""
    for trial in fewer:
        directory = directories / f"run-{trial}"
        deaf = {"function": "parts:serve_rudely", "service": about == "deaf service"}
        waits = {"function": "parts:wait_for", "arguments": {"path": "{run}/deaf"}}
        run = start(directory, grace=0.1, deaf=deaf, other=waits)
        wait_until((directory / "deaf").exists, "the component to be deaf")
        if about == "deaf service":
            run.wait(60)
        else:
            run.stop()
        check_clean(directory)
        assert "and was killed" in run.document()["components"]["deaf"]["reason"]


@pytest.fixture
def freezer(tmp_path: Path) -> Iterator[Path]:
    """A group of processes that can be frozen: until they are thawed, nothing ends them."""
    mount = tmp_path / "freezer"
    mount.mkdir()
    subprocess.run(["mount", "-t", "cgroup", "-o", "freezer", "none", mount], check=True)
    group = mount / f"dovetail-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        (group / "freezer.state").write_text("THAWED")
        wait_until(lambda: not (group / "tasks").read_text(), "the thawed to end")
        group.rmdir()
        subprocess.run(["umount", mount], check=True)


@pytest.mark.soak
@pytest.mark.requires("freezer")
def test_unkillable(tmp_path: Path, freezer: Path) -> None:
    """What not even SIGKILL ends is left behind after a while, and named."""
    run = start(tmp_path / "run", stuck=SHAPES["plain"], other=SHAPES["plain"])
    pid = pids_of(run, "stuck")[0]
    (freezer / "tasks").write_text(str(pid))
    (freezer / "freezer.state").write_text("FROZEN")
    run.kill()
    with pytest.raises(dv.WorkflowFailedError, match=f"process {pid} did not end"):
        run.wait(100)
    components = run.document()["components"]
    assert components["stuck"]["status"] == "failed"
    assert components["other"]["status"] == "stopped"


def test_semaphores(fewer: Tally, directories: Path) -> None:
    """Component with named semaphores killed, and their tracker before it."""
    for trial in fewer:
        directory = directories / f"run-{trial}"
        run = start(directory, victim={"function": "parts:share_semaphores"})
        wait_until((directory / "ready").exists, "the semaphores")
        log = directory / "logs" / "victim.0.log"
        assert segments_in(log)
        for _ in range(2):  # it is written whenever the supervisor has looked at its processes
            written = (directory / "run.json").stat().st_mtime_ns
            wait_until(
                lambda: (directory / "run.json").stat().st_mtime_ns != written,  # noqa: B023
                "the supervisor to look",
            )
        run.kill()
        failure_of(run)


@pytest.mark.parametrize("ending", ["fails", "is stopped", "is killed"])
def test_daemon(fewer: Tally, directories: Path, ending: str) -> None:
    """Daemon that a component forked twice, deaf and without our environment."""
    function = "start_a_daemon_and_fail" if ending == "fails" else "start_a_daemon_and_last"
    for trial in fewer:
        directory = directories / f"run-{trial}"
        mark = directory / "daemon"
        run = start(
            directory,
            grace=0.1,
            victim={"function": f"parts:{function}", "arguments": {"mark": str(mark)}},
        )
        wait_until(mark.exists, "the daemon")
        daemon = psutil.Process(int(mark.read_text()))
        if ending == "is stopped":
            run.stop()
        elif ending == "is killed":
            os.kill(pids_of(run, "victim")[0], signal.SIGKILL)
        failure_of(run)
        assert not daemon.is_running()


def test_supervisor(fewer: Tally, chance: random.Random, directories: Path) -> None:
    """Supervisor killed at a random moment: its ranks die with it, the handle cleans up."""
    for trial in fewer:
        directory = directories / f"run-{trial}"
        run = read_flow(EVERYTHING).start(directory)
        time.sleep(chance.uniform(0, 0.5))
        os.kill(run.document()["supervisor"], signal.SIGKILL)
        assert "the supervisor of the run was killed" in failure_of(run)


def test_caller(
    fewer: Tally, chance: random.Random, directories: Path, commands: ChildServer
) -> None:
    """The command itself killed at a random moment: the supervisor ends the run."""
    for trial in fewer:
        directory = directories / f"run-{trial}"
        command = begin(commands, directory)
        time.sleep(chance.uniform(0, 0.5))
        command.kill()
        command.close()
        wait_until(lambda: not supervisors(directory), "the supervisor to end")  # noqa: B023
        check_clean(directory)
        assert status_of(directory) in ("interrupted", None)  # None: killed before it began


def test_interrupted(
    faults: Tally, chance: random.Random, directories: Path, commands: ChildServer
) -> None:
    """Ctrl-C at a random moment."""
    begun = 0
    for trial in faults:
        directory = directories / f"run-{trial}"
        command = begin(commands, directory)
        time.sleep(chance.uniform(0, LATEST))
        command.signal(signal.SIGINT)
        assert command.receive() == 130, (directories / "output").read_text()
        command.join()
        check_clean(directory)
        if (directory / "run.json").exists():
            begun += 1
            assert status_of(directory) == "interrupted"
    faults.note(f"{begun} of them after the run had begun")


def test_interrupted_twice(
    fewer: Tally, chance: random.Random, directories: Path, commands: ChildServer
) -> None:
    """Ctrl-C at a random moment, and again at once: all is killed."""
    for trial in fewer:
        directory = directories / f"run-{trial}"
        command = begin(commands, directory)
        time.sleep(chance.uniform(0.3, LATEST))
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):  # it needed no second one
                command.signal(signal.SIGINT)
            time.sleep(chance.uniform(0, 0.02))
        wait_until(lambda: not command.alive(), "the command to end")  # noqa: B023
        command.close()
        check_clean(directory)
        assert status_of(directory) == "interrupted"


def begin(commands: ChildServer, directory: Path) -> Child:
    command = commands.start(
        roles.command,
        arguments=["run", str(EVERYTHING), "--output", str(directory)],
        folder=str(directory.parent),
        output=str(directory.parent / "output"),
    )
    assert command.receive() == "ready"
    return command


def supervisors(directory: Path) -> list[psutil.Process]:
    """The processes that look after the run in this directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[-2:] == ["dovetail.flow.supervise", str(directory)]:
                found.append(process)
    return found


def status_of(directory: Path) -> str | None:
    try:
        status: str = json.loads((directory / "run.json").read_text())["status"]
    except FileNotFoundError:
        return None
    return status
