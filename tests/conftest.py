"""Habits that bind every test: what may be skipped, what runs only on demand, what may be left."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
import requirements

pytest_plugins = ["leftovers", "pytester"]

ON_DEMAND = ("hardware", "soak")
"""Markers of tests that run only with an option of that name."""

_deselected: dict[str, list[str]] = {marker: [] for marker in ON_DEMAND}
_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    for marker in ON_DEMAND:
        parser.addoption(f"--{marker}", action="store_true", help=f"also run {marker} tests")


def pytest_configure(config: pytest.Config) -> None:
    # Before the first child is started, for it is seen by all of them.
    folder = tempfile.mkdtemp(prefix="dovetail-tests-")
    os.environ["DOVETAIL_DRAGON_FOLDER"] = folder
    os.environ["DOVETAIL_CACHE"] = os.path.join(folder, "cache")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept, left_out = [], []
    for item in items:
        marker = next((m for m in ON_DEMAND if m in item.keywords), None)
        if marker is None or config.getoption(marker):
            kept.append(item)
        else:
            left_out.append(item)
            _deselected[marker].append(item.nodeid)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("hardware"):
        return
    names = _deselected["hardware"]
    terminalreporter.section(f"hardware tests that did not run here: {len(names)}")
    for name in names:
        terminalreporter.write_line(name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for name in marker.args:
            why = requirements.missing(name)
            if why is not None:
                pytest.skip(f"needs {name}: {why}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _fail_if_required(report, str(report.longrepr[2]))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if report.skipped:
        _fail_if_required(report, str(report.longrepr[2]))
    return report


def _fail_if_required(report: pytest.TestReport | pytest.CollectReport, reason: str) -> None:
    reason = reason.removeprefix("Skipped: ")
    if reason.startswith("the engine "):  # declared to lack the capability: nothing is missing
        return
    required = requirements.required()
    if "all" in required or any(name in reason for name in required):
        report.outcome = "failed"
        report.longrepr = f"skipped, but DOVETAIL_TEST_REQUIRE asks for it: {reason}"


@pytest.fixture
def shm_url() -> Iterator[str]:
    """A ``shm://`` URL that no other test has; what is stored under it is removed."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    yield f"shm://{name}"
    import dovetail as dv

    with contextlib.suppress(dv.KeyNotFoundError):
        dv.destroy_stream(f"shm://{name}")
    dv.open_store(f"shm://{name}").destroy()
