"""The closure example runs from end to end, and cleans up however it ends."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

for needed in ("torch", "fluidsim", "matplotlib"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}: pip install {needed}", allow_module_level=True)

RUN = Path(__file__).resolve().parents[2] / "examples" / "closure" / "run.py"
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"test-closure-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def example(name: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The example, running, its streams under `name` and its results in ``tmp_path``."""
    folders = {name: tmp_path / name for name in ("home", "scratch", "matplotlib")}
    for folder in folders.values():
        folder.mkdir()
    command = [sys.executable, str(RUN), "--quick", "--output", str(tmp_path), "--url"]
    process = subprocess.Popen(
        [*command, f"shm://{name}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "HOME": str(folders["home"]),
            "TMPDIR": str(folders["scratch"]),
            "MPLCONFIGDIR": str(folders["matplotlib"]),
        },
    )
    with process:
        yield process
        if process.poll() is None:
            process.kill()


def left_behind(name: str, tmp_path: Path) -> list[Path]:
    """What is still there of the run: its streams, its scratch folder, and files in its home."""
    shared = [path for path in Path("/dev/shm").rglob("*") if name in path.name]
    return [*shared, *(tmp_path / "scratch").iterdir(), *(tmp_path / "home").iterdir()]


def parts(process: subprocess.Popen[str]) -> dict[str, int]:
    """The process ids of the programs that the example has started, by script and seed."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for child in children:
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        script = next((Path(word).stem for word in words if word.endswith(".py")), None)
        if script is not None:
            found["held-out" if "--samples" in words else script] = int(child)
    return found


def wait_for_samples(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until all three programs are at work and the trainer has begun."""
    log = tmp_path / "trainer.log"
    while not (log.exists() and log.read_text()):
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_the_example_learns_a_closure_and_says_what_it_took(
    example: subprocess.Popen[str], name: str, tmp_path: Path
) -> None:
    printed, _ = example.communicate(timeout=100)
    assert example.returncode == 0, printed
    assert not left_behind(name, tmp_path)

    training = json.loads((tmp_path / "training.json").read_text())
    dns = json.loads((tmp_path / "dns.json").read_text())
    held_out = json.loads((tmp_path / "held-out.json").read_text())
    models = training["models"]
    assert models["learned"]["correlation"] > 0.8
    assert models["learned"]["correlation"] > models["Smagorinsky"]["correlation"]
    assert 0.7 < models["learned"]["transfer"] < 1.3
    assert training["history"][-1]["correlation"] > training["history"][0]["correlation"]
    assert dns["seed"] != held_out["seed"]

    sent, received = dns["stream"], training["stream"]
    bytes_a_sample = 4 * 4 * 32**2
    assert sent["bytes"] == sent["steps"] * bytes_a_sample
    assert received["bytes"] == received["steps"] * bytes_a_sample
    assert training["samples"] == received["steps"] <= sent["steps"]
    assert training["held_out_samples"] == held_out["stream"]["steps"]
    assert sent["seconds_waited"] <= sent["seconds_in_calls"] <= dns["seconds_streaming"]

    fields = np.load(tmp_path / "fields.npz")
    assert fields["unfiltered_vorticity"].shape == (128, 128)
    assert fields["exact"].shape == fields["learned"].shape == (32, 32)
    assert (tmp_path / "closure.png").read_bytes().startswith(b"\x89PNG")
    for fact in ("simulation waited", "trainer waited", "% of its time", "correlation", "MB"):
        assert fact in printed


def test_if_the_simulation_dies_the_run_fails_with_its_last_lines_and_nothing_is_left(
    example: subprocess.Popen[str], name: str, tmp_path: Path
) -> None:
    wait_for_samples(tmp_path, example)
    programs = parts(example)
    os.kill(programs["dns"], signal.SIGKILL)
    printed, _ = example.communicate(timeout=30)
    assert example.returncode == 1
    assert "dns failed" in printed
    assert not any(alive(pid) for pid in programs.values())
    assert not left_behind(name, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_the_run_stops_every_program_and_leaves_nothing(
    number: signal.Signals, example: subprocess.Popen[str], name: str, tmp_path: Path
) -> None:
    wait_for_samples(tmp_path, example)
    programs = parts(example)
    assert {"dns", "train"} <= set(programs)
    example.send_signal(number)
    printed, _ = example.communicate(timeout=30)
    assert example.returncode == 130
    assert "interrupted" in printed
    assert not any(alive(pid) for pid in programs.values())
    assert not left_behind(name, tmp_path)


def test_a_url_that_no_engine_knows_is_refused_before_anything_starts(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, str(RUN), "--quick", "--output", str(tmp_path), "--url", "smh://fields"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert "shm://" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(tmp_path.iterdir())
