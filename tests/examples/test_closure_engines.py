"""The closure example runs on other engines when the URLs in its flow file are edited."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/closure"

pytestmark = [
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("torch", "fluidsim"))),
        reason="needs torch and fluidsim: pip install torch fluidsim",
    ),
    pytest.mark.timeout(400),
]


@pytest.mark.parametrize(
    ("streams", "models"),
    [
        pytest.param("sst://", "redis://", marks=pytest.mark.requires("adios2", "redis")),
        pytest.param("dragon://", "dragon://", marks=pytest.mark.requires("dragon")),
    ],
)
def test_the_example_runs_on(tmp_path: Path, streams: str, models: str) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "closure")
    flow = (folder / "flow.yaml").read_text()
    # The small case, and eight seconds of training.
    flow = flow.replace("case: full", "case: quick").replace("minutes: 2.1", "minutes: 0.13")
    flow = flow.replace('models: "shm://"', f'models: "{models}"')
    flow = flow.replace('"shm://"', f'"{streams}"')
    (folder / "flow.yaml").write_text(flow)
    dovetail = Path(sys.executable).with_name("dovetail")
    done = subprocess.run(
        [dovetail, "run", "flow.yaml", "--output", tmp_path / "run"],
        capture_output=True, check=False, cwd=folder, env=dict(os.environ), text=True, timeout=380,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["status"] == "succeeded"
    assert all(url.startswith(streams) for url in run["streams"].values())
    for component in ("trainer", "les"):
        assert run["components"][component]["status"] == "done"
