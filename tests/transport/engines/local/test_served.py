"""``file://`` keeps its contracts where neither locks nor mapped memory are shared.

Child processes see the folder through another mount, as if they ran on another node.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from transport.engines.local.served import Served, report_version

import dovetail as dv
from dovetail.testing import StoreContract, StreamContract, check_store_against_a_dict
from dovetail.testing import store_roles as roles
from dovetail.testing.children import ChildServer
from dovetail.testing.values import sealed

_numbers = itertools.count()


@pytest.fixture(scope="class")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with Served(request.cls.program, tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(scope="class")
def elsewhere(served: Served) -> Iterator[ChildServer]:
    with served.children() as children:
        yield children


class OnServed:
    """Suites on a folder that a program serves."""

    program: str

    @pytest.fixture
    def children(self, elsewhere: ChildServer) -> Iterator[ChildServer]:
        yield elsewhere
        elsewhere.close_children()

    @pytest.fixture
    def url(self, served: Served) -> str:
        return f"file://{served.here}/{next(_numbers)}"


class PlainStore(OnServed, StoreContract):
    def test_it_copies_and_polls_by_itself(self, url: str) -> None:
        with dv.open_store(url) as store:
            assert not store.capabilities.zero_copy
            assert not store.capabilities.woken_waits
            assert store.capabilities.several_nodes
            store.destroy()

    def test_values_have_one_version_on_all_nodes(self, url: str, children: ChildServer) -> None:
        with dv.open_store(url) as store:
            version = store.put("a", sealed(1, 10))
            assert store.stat("a").version == version
            child = children.start(report_version, url=url, key="a")
            assert child.receive() == version
            child.join()
            store.destroy()

    def test_long_keys_are_known_on_all_nodes(self, url: str, children: ChildServer) -> None:
        key = "long " * 100
        with dv.open_store(url) as store:
            store.put(key, sealed(7, 10))
            child = children.start(roles.report_what_is_there, url=url)
            assert child.receive() == {key: 7}
            child.join()
            store.destroy()

    def test_it_behaves_as_a_dict(self, url: str) -> None:
        check_store_against_a_dict(url, examples=5)


class LedgerStream(OnServed, StreamContract):
    @pytest.fixture
    def url(self, served: Served) -> str:
        return f"file://{served.here}/{next(_numbers)}?lost_after=3s"


# Every day daos:// runs on it: tests/transport/engines/daos.
@pytest.mark.soak
@pytest.mark.requires("bindfs")
class TestStoreOnBindfs(PlainStore):
    program = "bindfs"


@pytest.mark.soak
@pytest.mark.requires("bindfs")
class TestStreamOnBindfs(LedgerStream):
    program = "bindfs"


@pytest.mark.soak
@pytest.mark.requires("sshfs")
class TestStoreOnSshfs(PlainStore):
    program = "sshfs"


@pytest.mark.soak
@pytest.mark.requires("sshfs")
class TestStreamOnSshfs(LedgerStream):
    program = "sshfs"


@pytest.mark.requires("strace")
def test_a_folder_that_cannot_be_locked_is_polled_too(tmp_path: Path) -> None:
    program = """if True:
        import sys, dovetail as dv
        with dv.open_store(f"file://{sys.argv[1]}/store") as store:
            assert not store.capabilities.zero_copy and not store.capabilities.woken_waits
            store.put("a", [1, 2, 3])
            assert store.wait("a", 1)["value"].tolist() == [1, 2, 3]
        stream = f"file://{sys.argv[1]}/fields"
        with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
            with out.step() as step:
                step["u"] = [4.0]
        assert [step["u"][0] for step in dv.open_stream(stream, "r")] == [4.0]
        """
    subprocess.run(
        ["strace", "-f", "-qq", "-o", tmp_path / "calls", "-e", "trace=flock",
         "-e", "inject=flock:error=ENOLCK", sys.executable, "-c", program, tmp_path],
        check=True, timeout=100,
    )  # fmt: skip
    assert "INJECTED" in (tmp_path / "calls").read_text()
