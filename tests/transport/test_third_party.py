"""Engines of others are found through entry points; one that is broken harms nobody else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs/how-to/add-an-engine.md"
ENGINE = """
from dovetail.transport.engines.local.engine import LocalEngine

class Renamed(LocalEngine):
    schemes = ("theirs",)

ENGINE = Renamed()
"""


def install(folder: Path, name: str, code: str) -> None:
    """A package, as pip would leave it, that registers an engine."""
    (folder / f"{name}.py").write_text(code)
    described = folder / f"{name}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[dovetail.engines]\n{name} = {name}:ENGINE\n")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    install(tmp_path, "theirs", ENGINE)
    install(tmp_path, "broken", "import no_such_package\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def dovetail(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "dovetail"), *words],
        capture_output=True, check=False, env=environment, text=True, timeout=60,
    )  # fmt: skip


def test_engines_of_others_are_listed_and_a_broken_one_says_why(
    environment: dict[str, str],
) -> None:
    done = dovetail("engines", "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    engines = {engine["scheme"]: engine for engine in json.loads(done.stdout)["engines"]}
    assert engines["theirs"]["available"]
    assert engines["shm"]["available"]
    assert not engines["broken"]["available"]
    assert "no_such_package" in engines["broken"]["detail"]
    assert "uninstall" in engines["broken"]["detail"]


def test_a_broken_engine_does_not_keep_others_from_their_work(environment: dict[str, str]) -> None:
    assert dovetail("clean", environment=environment).returncode == 0


def test_a_scheme_that_a_broken_engine_may_have_is_unavailable(
    environment: dict[str, str],
) -> None:
    done = dovetail("store", "ls", "broken://x", environment=environment)
    assert done.returncode != 0
    assert "no engine for broken://" in done.stderr
    assert "no_such_package" in done.stderr


@pytest.mark.timeout(400)
def test_the_engine_of_the_guide_keeps_both_contracts(tmp_path: Path) -> None:
    files = dict(
        re.findall(
            r'```python title="(.+?)"\n(.*?)^```', GUIDE.read_text(), re.DOTALL | re.MULTILINE
        )
    )
    install(tmp_path, "sqlite_engine", files["sqlite_engine.py"])
    tests = tmp_path / "test_sqlite_engine.py"
    tests.write_text(files["test_sqlite_engine.py"])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-c", os.devnull, "--rootdir", str(tmp_path),
         "-p", "no:cacheprovider", f"--basetemp={tmp_path}/base", str(tests)],
        capture_output=True, check=False, cwd=tmp_path, text=True, timeout=380,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    skipped = re.findall(r"^SKIPPED .*?: (.*)$", done.stdout, re.MULTILINE)
    assert all(reason.startswith("the engine ") for reason in skipped), skipped
