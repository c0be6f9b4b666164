"""``daos://`` keeps both contracts on a mount like that of a container.

DAOS itself needs hardware. What is mounted here has its mounts' name and their lack of shared locks
and memory; child processes see it through a mount of their own, as on another node. On a machine
with DAOS, ``--hardware`` runs the suites on the container that DOVETAIL_TEST_DAOS names.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from transport.engines.local.served import Served

import dovetail as dv
from dovetail.testing import StoreContract, StreamContract
from dovetail.testing.children import ChildServer
from dovetail.transport.engines.daos.mounts import USUAL
from dovetail.transport.registry import engines

POOL, CONTAINER = f"dovetail-test-{os.getpid()}", "results"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A container, mounted where launch-dfuse.sh would."""
    try:
        with Served("dfuse", tmp_path_factory.mktemp("daos"), USUAL / POOL / CONTAINER) as served:
            yield served
    finally:
        shutil.rmtree(USUAL / POOL, ignore_errors=True)


@pytest.fixture(scope="module")
def elsewhere(served: Served) -> Iterator[ChildServer]:
    with served.children() as children:
        yield children


class OnContainer:
    """A container that is mounted on two nodes."""

    options = ""

    @pytest.fixture
    def url(self, served: Served) -> str:
        return f"daos://{POOL}/{CONTAINER}/runs/{next(_numbers)}{self.options}"

    @pytest.fixture
    def children(self, elsewhere: ChildServer) -> Iterator[ChildServer]:
        yield elsewhere
        elsewhere.close_children()


@pytest.mark.requires("bindfs")
class TestStore(OnContainer, StoreContract):
    def test_values_are_files_of_the_container(self, url: str, served: Served) -> None:
        with dv.open_store(url) as store:
            assert store.url == url
            assert store.path == served.here / url.partition(f"{CONTAINER}/")[2]
            store.put("u", [1.0])
            assert [file.name for file in Path(store.path).glob("*.safetensors")] == [
                "u.safetensors"
            ]
            store.destroy()

    def test_the_container_itself_is_a_store(self, served: Served) -> None:
        with dv.open_store(f"daos://{POOL}/{CONTAINER}") as store:
            assert store.path == served.here
            store.put("u", [1.0])
            store.destroy()

    def test_a_store_that_must_be_there_already(self, served: Served) -> None:
        with pytest.raises(dv.KeyNotFoundError):
            dv.open_store(f"daos://{POOL}/{CONTAINER}/absent?create=no")

    def test_it_is_listed_with_what_is_mounted(self, served: Served) -> None:
        (status,) = [status for status in engines() if status.scheme == "daos"]
        assert status.available
        assert str(served.here) in status.detail


@pytest.mark.requires("bindfs")
class TestStream(OnContainer, StreamContract):
    options = "?lost_after=3s"


@pytest.mark.hardware
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("suite", ["StoreContract", "StreamContract"])
def test_a_real_container_keeps_the_contracts(suite: str, tmp_path: Path) -> None:
    container = os.environ.get("DOVETAIL_TEST_DAOS")
    if container is None:
        pytest.skip("needs DAOS: set DOVETAIL_TEST_DAOS=daos://pool/container")
    options = "" if suite == "StoreContract" else "?lost_after=5s"
    module = tmp_path / "test_real.py"
    module.write_text(f"""if True:
        import itertools, pytest
        from dovetail.testing import {suite}
        numbers = itertools.count()

        class TestReal({suite}):
            @pytest.fixture
            def url(self):
                return f"{container}/dovetail-test-{os.getpid()}/{{next(numbers)}}{options}"
        """)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", module]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=1000)
    assert done.returncode == 0, done.stdout
