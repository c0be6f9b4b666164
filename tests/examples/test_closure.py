"""The closure example runs from end to end, and cleans up however it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dovetail as dv
from dovetail.flow import inside, processes, read_flow

for needed in ("torch", "fluidsim", "matplotlib"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}: pip install {needed}", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)
CLOSURE = Path(__file__).resolve().parents[2] / "examples" / "closure"
DEADLINE = 280.0
"""Seconds, on a machine that does other things too."""


class Example:
    """The quick flow, running, with a home and a scratch folder of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / f"closure-{os.getpid()}-{tmp_path.name}"
        self.folders = {name: tmp_path / name for name in ("home", "scratch", "matplotlib")}
        for folder in self.folders.values():
            folder.mkdir()
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> subprocess.Popen[str]:
        dovetail = "import sys; from dovetail.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", dovetail, "run", str(CLOSURE / "quick.py")]
        self.process = subprocess.Popen(
            [*command, "--output", str(self.directory), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "HOME": str(self.folders["home"]),
                "TMPDIR": str(self.folders["scratch"]),
                "MPLCONFIGDIR": str(self.folders["matplotlib"]),
            },
        )
        return self.process

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Wait for something to happen while the example runs."""
        deadline = time.monotonic() + DEADLINE
        while not true():
            assert self.process is not None
            assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def run(self) -> dict[str, Any]:
        """What is recorded of the run: an empty mapping before it has begun."""
        record = self.directory / "run.json"
        return json.loads(record.read_text()) if record.exists() else {}

    def pid(self, component: str) -> int:
        """Of its first rank, once the simulation streams."""
        self.wait_until(lambda: bool(self.trace_of(component)))
        return self.run()["components"][component]["pids"][-1]

    def trace_of(self, component: str) -> list[Path]:
        """The traces of its ranks that are there: a rank that is at work has one."""
        pids = self.run().get("components", {}).get(component, {}).get("pids", [])
        traces = self.directory / "trace"
        return [path for pid in pids for path in traces.glob(f"*-{pid}-*.trace")]

    def exhibit(self, order: int) -> dict[str, Any]:
        (file,) = (self.directory / "exhibits").glob(f"{order}-*.json")
        return json.loads(file.read_text())

    def table(self, order: int) -> dict[str, dict[str, Any]]:
        """Its rows by what the first column says."""
        table = self.exhibit(order)["table"]
        rows = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
        return {row[table["columns"][0]]: row for row in rows}


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    """Whatever became of it, nothing is left: no process, no shared memory, no scratch file."""
    example = Example(tmp_path)
    yield example
    if example.process is not None:
        with example.process as process:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30.0)
    assert processes.everywhere({inside.RUN: str(example.directory)}) == []
    assert not list(Path("/dev/shm").rglob(f"{example.directory.name}*"))
    assert not list(example.folders["scratch"].iterdir())
    assert not list(example.folders["home"].iterdir())


def mean_horizon(row: dict[str, Any]) -> float:
    return float(row["horizon 0.9"].split()[0])


def test_the_example_learns_a_closure_in_the_loop_and_says_what_it_took(example: Example) -> None:
    printed, _ = example.start().communicate(timeout=DEADLINE)
    assert example.run()["status"] == "succeeded", printed
    assert [c["restarts"] for c in example.run()["components"].values()] == [0] * 5

    closures = example.table(10)
    learned, leith = closures["learned"], closures["Leith, longest horizon"]
    assert mean_horizon(learned) > 1.2 * mean_horizon(leith)
    assert mean_horizon(leith) > mean_horizon(closures["no closure"])
    assert 0.8 < float(learned["a priori"]) < 1.0
    assert float(learned["spectrum"]) < float(closures["no closure"]["spectrum"])
    assert "does not" in example.exhibit(10)["text"] or "wins" in example.exhibit(10)["text"]

    with dv.open_store(f"file://{example.directory}/results") as results:
        training, les = results.get("training").attrs, results.get("les").attrs
        simulations = [results.get(f"simulations/{name}").attrs for name in SIMULATIONS]
    correlations = [point["correlation"] for point in training["history"]]
    assert correlations[-1] > correlations[0]
    assert training["samples"] <= sum(each["windows"] for each in simulations[:2])
    versions = [point["version"] for point in training["history"]]
    assert versions == list(range(1, len(versions) + 1))
    assert les["version"] == versions[-1]
    assert les["forecasts"][0]["versions"][0] < versions[-1]  # it took new ones while it ran
    assert les["guard"]["calls"] >= sum(each["time_steps"] for each in les["forecasts"])
    assert len({each["seed"] for each in simulations}) == len(SIMULATIONS)
    for each in simulations:
        stream = each["stream"]
        assert stream["steps"] == each["windows"]
        assert stream["bytes"] == each["windows"] * BYTES_A_WINDOW
        assert stream["seconds_waited"] <= stream["seconds_in_calls"] <= each["seconds_streaming"]
    for order in (20, 30, 40):
        picture = example.directory / "exhibits" / example.exhibit(order)["picture"]
        assert picture.read_bytes().startswith(b"\x89PNG")


SIMULATIONS = ("dns_1-0", "dns_2-0", "dns_held_out-0", "dns_held_out-1", "dns_held_out-2")
BYTES_A_WINDOW = 4 * (5 * 32**2 + 4 * 12**2 + 32**2)


def test_a_trainer_that_is_killed_twice_goes_on_where_it_was_while_the_simulations_run(
    example: Example,
) -> None:
    process = example.start("--set", "trainer.checkpoint_every=1.0")
    checkpoint = example.directory / "checkpoints" / "trainer" / "training.safetensors"
    example.wait_until(checkpoint.exists)
    os.kill(example.pid("trainer"), signal.SIGKILL)  # before it has learned anything
    second = example.directory / "logs" / "trainer.0.log.1"
    example.wait_until(lambda: second.exists() and "-> version 1" in second.read_text())
    os.kill(example.pid("trainer"), signal.SIGKILL)
    printed, _ = process.communicate(timeout=DEADLINE)
    record = example.run()
    assert record["status"] == "succeeded", printed
    assert {name: c["restarts"] for name, c in record["components"].items()} == {
        "dns_1": 0,
        "dns_2": 0,
        "dns_held_out": 0,
        "trainer": 2,
        "les": 0,
    }
    with dv.open_store(f"file://{example.directory}/results") as results:
        history = results.get("training").attrs["history"]
    assert "going on after 0 gradient steps" in second.read_text()
    log = (example.directory / "logs" / "trainer.0.log.2").read_text()
    before = int(log.partition("going on after ")[2].split()[0])
    assert 0 < before < history[-1]["gradient_steps"]
    versions = [point["version"] for point in history]
    assert versions == sorted(set(versions))


def test_if_a_simulation_dies_the_run_fails_and_says_which(example: Example) -> None:
    process = example.start()
    os.kill(example.pid("dns_2"), signal.SIGKILL)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "dns_2" in printed
    assert example.run()["status"] == "failed"


def test_interrupted_the_run_ends_at_once(example: Example) -> None:
    process = example.start()
    example.pid("dns_held_out")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert example.run()["status"] == "interrupted"


def test_the_flow_in_yaml_is_the_flow_in_python() -> None:
    in_python, in_yaml = (read_flow(CLOSURE / name) for name in ("flow.py", "flow.yaml"))
    assert in_yaml.model_dump() == in_python.model_dump()
    assert in_python.check() == []


def test_minutes_and_quick_are_words_of_dovetail_run(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, str(CLOSURE / "run.py"), "--minutes", "soon"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert refused.returncode == 2
    assert "invalid float value: 'soon'" in refused.stderr
    assert not list(tmp_path.iterdir())
