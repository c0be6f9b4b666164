"""`dovetail bench model` calls networks in every way, and says what it cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.requires("compiler")
@pytest.mark.timeout(300)
def test_a_short_run_measures_every_way_to_call(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("dovetail"), "bench", "model", "--batches", "1,3",
         "--networks", "mlp", "--ranks", "1,2", "--repeat", "2",
         "--milliseconds", "1", "-o", tmp_path / "made.json"],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "made.json").read_text())
    found = {(one["way"], one["batch"]) for one in document["measurements"]}
    ways = ("eager", "torchscript", "bare C", "ours, C", "ours, Python")
    crowds = ("processes × 1", "processes × 2", "shared × 1", "shared × 2")
    found -= {("Redis + eager", batch) for batch in (1, 3)}  # where there is a server
    assert found == {(way, batch) for way in (*ways, *crowds) for batch in (1, 3)}
    assert all(one["seconds"]["median"] > 0 for one in document["measurements"])
    assert len(document["targets"]) == 2
    assert "ours, Python" in done.stdout
    assert "shared × 2" in done.stdout
