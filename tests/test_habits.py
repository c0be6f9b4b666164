"""What ``conftest.py`` and ``leftovers.py`` promise, tried on small sessions of their own."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MARKERS = ("hardware", "soak", "requires")


@pytest.fixture
def session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Runs a test module in a session with our habits; returns what came of it."""
    monkeypatch.delenv("DOVETAIL_TEST_REQUIRE", raising=False)
    for name in ("conftest.py", "leftovers.py", "requirements.py"):
        shutil.copy(HERE / name, pytester.path)
    markers = "\n".join(f"    {marker}: …" for marker in MARKERS)
    pytester.makeini(f"[pytest]\npythonpath = .\nmarkers =\n{markers}")

    def run(module: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(module)
        return pytester.runpytest_subprocess(*arguments)

    return run


SKIPS = """
import pytest
import requirements

requirements._CHECKS["a-server"] = lambda: "it is not installed"

@pytest.mark.requires("a-server")
def test_with_a_server():
    raise AssertionError

def test_with_a_package():
    pytest.importorskip("no_such_package")

def test_what_the_engine_lacks():
    pytest.skip("the engine keeps no folder")

@pytest.mark.xfail(strict=True)
def test_known_to_fail():
    raise AssertionError
"""


def test_what_is_missing_is_skipped(session: Callable[..., pytest.RunResult]) -> None:
    session(SKIPS).assert_outcomes(skipped=3, xfailed=1)


@pytest.mark.parametrize(
    ("required", "failed"), [("all", 2), ("a-server", 1), ("a-server, no_such_package", 2)]
)
def test_what_is_required_must_not_be_missing(
    session: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    required: str,
    failed: int,
) -> None:
    monkeypatch.setenv("DOVETAIL_TEST_REQUIRE", required)
    result = session(SKIPS)
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == failed
    assert outcomes["skipped"] == 3 - failed
    assert outcomes["xfailed"] == 1
    result.stdout.fnmatch_lines(["*DOVETAIL_TEST_REQUIRE asks for it: needs a-server*"])


def test_an_unknown_requirement_is_an_error(session: Callable[..., pytest.RunResult]) -> None:
    result = session("import pytest\n@pytest.mark.requires('typo')\ndef test(): pass")
    result.assert_outcomes(errors=1)


ON_DEMAND = """
import pytest

@pytest.mark.hardware
def test_on_a_gpu(): pass

@pytest.mark.soak
def test_for_hours(): pass

def test_every_day(): pass
"""


def test_hardware_and_soak_tests_run_on_demand_and_hardware_is_listed_by_name(
    session: Callable[..., pytest.RunResult],
) -> None:
    result = session(ON_DEMAND)
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.fnmatch_lines(["*hardware tests that did not run here: 1*", "*::test_on_a_gpu"])
    session(ON_DEMAND, "--hardware", "--soak").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("leave", "named"),
    [
        ("subprocess.Popen(['sleep', '60'], start_new_session=True)", "process *: sleep 60"),
        ("(folder / f'left-{os.getpid()}').touch()", "/dev/shm/dovetail-test-habits/left-*"),
    ],
)
def test_what_a_test_leaves_behind_fails_the_session(
    session: Callable[..., pytest.RunResult], leave: str, named: str
) -> None:
    folder = Path("/dev/shm/dovetail-test-habits")
    folder.mkdir(exist_ok=True)
    try:
        result = session(
            "import os, pathlib, subprocess, leftovers\n"
            "leftovers.SECONDS_TO_GO = 0.2\n"
            f"folder = pathlib.Path({str(folder)!r})\n"
            f"def test(): {leave}"
        )
    finally:
        shutil.rmtree(folder)
    for number in re.findall(r"process (\d+): sleep", result.stdout.str()):
        os.kill(int(number), signal.SIGKILL)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*left behind by the tests*", named])
