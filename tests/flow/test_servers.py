"""A run starts the servers that its streams and stores need, and ends them last."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import dovetail as dv
from dovetail.flow import Run, planning, wiring
from dovetail.flow.plan import Plan
from dovetail.testing.children import wait_until
from dovetail.transport.engines.redis.server import OWN_NBYTES
from dovetail.transport.url import parse

Make = Callable[..., dv.Workflow]
pytestmark = pytest.mark.requires("redis")


def coupled(workflow: Make, stream: str = "redis://", store: str = "redis://") -> dv.Workflow:
    return workflow(
        streams={"fields": stream},
        stores={"values": store},
        simulation={
            "function": "parts:write_steps",
            "arguments": {"stream": "fields", "steps": 5},
            "writes": ["fields"],
        },
        analysis={
            "function": "parts:read_steps",
            "arguments": {"stream": "fields", "store": "values"},
            "reads": ["fields"],
            "stores": ["values"],
        },
    )


def log(run: Run, name: str) -> str:
    return (run.directory / "logs" / name).read_text()


@pytest.mark.parametrize("url", ["redis://", "redis+unix://", "redis://?interface=lo"])
def test_a_run_has_servers_of_its_own_and_leaves_nothing_of_them(
    workflow: Make, output: Path, url: str
) -> None:
    run = coupled(workflow, url, url).run(output)
    assert log(run, "analysis.0.log") == "last 4.0\n"
    # One server for all that is written alike.
    servers = [name for name in run.document()["components"] if name.endswith(".server")]
    assert servers == [f"{url.partition(':')[0]}.server"]
    for name in servers:
        entry = run.document()["components"][name]
        assert entry["status"] == "done"
        assert entry["exit"] == 0
        assert "eady to accept connections" in log(run, f"{name}.0.log")
    assert list((output / "servers").glob("*")) == []


def test_the_password_of_a_server_is_in_no_file_but_its_own(workflow: Make, output: Path) -> None:
    flow = workflow(
        stores={"values": "redis://?capacity=20MiB"},
        one={"function": "parts:last", "stores": ["values"]},
    )
    run = flow.start(output)
    try:
        url = json.loads((output / "plan.json").read_text())["stores"]["values"]
        password_file = output / "servers" / "redis.redis" / "password"
        password = password_file.read_text().strip()
        assert len(password) == 64
        with dv.open_store(url, timeout=60) as store:
            store.put("a", 1)
            assert store.statistics().capacity == (20 << 20) + OWN_NBYTES
            with pytest.raises(dv.AccessDeniedError):
                dv.open_store(f"redis+unix://{parse(url, 'store').location}")
        holders = [
            path
            for path in output.rglob("*")
            if path.is_file() and password.encode() in path.read_bytes()
        ]
        assert sorted(path.name for path in holders) == ["password", "server.conf"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
        (pid,) = run.document()["components"]["redis.server"]["pids"]
        assert password not in Path(f"/proc/{pid}/cmdline").read_text()
        assert password not in Path(f"/proc/{pid}/environ").read_text()
    finally:
        run.stop()
    assert run.document()["components"]["redis.server"]["status"] == "stopped"


def test_a_server_whose_run_directory_has_a_long_path_has_its_socket_elsewhere(
    workflow: Make, tmp_path: Path
) -> None:
    output = tmp_path / ("long" * 30)
    run = coupled(workflow).run(output)
    socket = Path(parse(run.document()["stores"]["values"], "store").location)
    assert not socket.is_relative_to(output)
    assert not socket.exists()


def test_what_a_persistent_server_held_stays(workflow: Make, output: Path) -> None:
    run = coupled(workflow, store="redis://?persistent=yes").run(output)
    assert log(run, "analysis.0.log") == "last 4.0\n"
    assert list((output / "servers" / "redis-2.redis").glob("appendonly*"))


def test_a_server_that_dies_fails_the_run(workflow: Make, output: Path) -> None:
    flow = workflow(
        stores={"values": "redis://"}, one={"function": "parts:last", "stores": ["values"]}
    )
    run = flow.start(output)
    wait_until(lambda: run.document()["components"]["one"]["pids"], "the component")
    (pid,) = run.document()["components"]["redis.server"]["pids"]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(dv.WorkflowFailedError, match=r"redis.server: was killed by SIGKILL"):
        run.wait(60)


def test_what_a_server_cannot_be_is_said_before_anything_starts(workflow: Make) -> None:
    for url, said in (
        ("redis://?capasity=1GiB", "did you mean 'capacity'"),
        ("redis://?capacity=lots", "capacity='lots'"),
        ("redis://?interface=nowhere", "interface='nowhere'"),
        ("redis://?port=7000", "add interface="),
        ("redis+unix://?interface=lo", "redis\\+unix:// is a socket"),
        ("redis+cluster://", "needs a host"),
        ("rediss://", "needs a host"),
        ("redis://user:secret@localhost/name", "password_file= or password_env="),
    ):
        with pytest.raises(dv.InvalidWorkflowError, match=said) as caught:
            coupled(workflow, store=url).check()
        assert "secret" not in str(caught.value)


def test_a_plan_shows_the_servers_and_is_read_back(workflow: Make, tmp_path: Path) -> None:
    flow = coupled(workflow)
    servers = wiring.servers(flow.streams, flow.stores, tmp_path)
    plan = planning.make(flow, tmp_path, "label", servers)
    plan.write()
    assert Plan.read(tmp_path) == plan
    assert [component.name for component in plan.components] == [
        "redis.server",
        "simulation",
        "analysis",
    ]
    assert [component.name for component in flow.plan().components] == [
        component.name for component in plan.components
    ]
