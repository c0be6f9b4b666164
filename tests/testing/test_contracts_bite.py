"""The shipped contracts fail an engine that breaks a promise, and pass one that keeps them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
import dovetail as dv
from dovetail.transport.engines.local import store as local_store
from dovetail.transport import ends
from dovetail.testing import StoreContract, StreamContract

{sabotage}

class TestStore(StoreContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"file://{{tmp_path}}/folder"

class TestStream(StreamContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"file://{{tmp_path}}/folder"
"""

SABOTAGE = {
    "attributes are lost": """
def put(self, key, value, attrs=None, put=local_store.LocalStore.put):
    return put(self, key, value)
local_store.LocalStore.put = put
""",
    "views are writable copies": """
def get(self, key, get=local_store.LocalStore.get):
    found = get(self, key)
    return dv.Dataset({name: found[name].copy() for name in found}, found.attrs)
local_store.LocalStore.get = get
""",
    "delete forgets": """
local_store.LocalStore.delete = lambda self, key: None
""",
    "an absent key is None": """
def get(self, key, get=local_store.LocalStore.get):
    try:
        return get(self, key)
    except dv.KeyNotFoundError:
        return None
local_store.LocalStore.get = get
""",
    "keys are not sorted": """
def keys(self, prefix="", keys=local_store.LocalStore.keys):
    return keys(self, prefix)[::-1]
local_store.LocalStore.keys = keys
""",
    "wait gives the old value": """
def wait(self, key, timeout, newer_than=None, wait=local_store.LocalStore.wait):
    return wait(self, key, timeout)
local_store.LocalStore.wait = wait
""",
    "an item is kept twice": """
def append(self, name, key, append=local_store.LocalStore.append):
    append(self, name, key)
    return append(self, name, key)
local_store.LocalStore.append = append
""",
    "slashes become underscores": """
def put(self, key, value, attrs=None, put=local_store.LocalStore.put):
    return put(self, key.replace("/", "_"), value, attrs)
local_store.LocalStore.put = put
""",
    "a crash looks like an end": """
def next_step(self, timeout=None, next_step=ends.Reader.next_step):
    try:
        return next_step(self, timeout)
    except dv.PeerLostError:
        return None
ends.Reader.next_step = next_step
""",
    "a timeout looks like an end": """
def next_step(self, timeout=None, next_step=ends.Reader.next_step):
    try:
        return next_step(self, timeout)
    except dv.TransportTimeoutError:
        return None
ends.Reader.next_step = next_step
""",
}


def outcome(folder: Path, sabotage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run both contracts on the local engine, after `sabotage`."""
    suite = folder / "test_sabotaged.py"
    suite.write_text(SUITE.format(sabotage=sabotage))
    command = [
        sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", folder,
        "-p", "no:cacheprovider", f"--basetemp={folder}/base", *arguments, suite,
    ]  # fmt: skip
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
        cwd=folder,
    )


@pytest.mark.parametrize("sabotage", SABOTAGE.values(), ids=SABOTAGE.keys())
def test_a_broken_promise_is_found(tmp_path: Path, sabotage: str) -> None:
    select = "TestStream" if "ends." in sabotage else "TestStore"
    done = outcome(tmp_path, sabotage, "-x", "-k", f"{select} and not torch")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-3000:]
    assert "1 failed" in done.stdout, done.stdout[-3000:]


def test_the_contracts_can_be_run_by_anyone(tmp_path: Path) -> None:
    chosen = "TestStore and (dataset_keeps or hostile) or TestStream and (every_reader or dataset)"
    done = outcome(tmp_path, "", "-k", chosen)
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-3000:]


def test_a_suite_without_a_url_says_what_is_missing(tmp_path: Path) -> None:
    suite = tmp_path / "test_empty.py"
    suite.write_text(
        "from dovetail.testing import StoreContract\n\n\nclass TestMine(StoreContract):\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-c", os.devnull, str(suite)],
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
        cwd=tmp_path,
    )
    assert "fixture `url`" in done.stdout
