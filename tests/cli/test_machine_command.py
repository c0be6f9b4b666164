"""``dovetail machine`` and ``dovetail plan --machine``, as a person meets them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

FLOW = """
name: closure
streams: {fields: "shm://"}
components:
  simulation: {command: ["true"], processes_per_node: 6, gpus_per_process: 1, writes: [fields]}
  trainer: {command: ["true"], processes_per_node: 6, gpus_per_process: 1, reads: [fields]}
  database: {command: ["true"], node_count: 2, cpus_per_process: 64, service: true}
placement:
  colocate: [simulation, trainer]
  cluster: [simulation, database]
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flow.yaml").write_text(FLOW)
    return tmp_path / "flow.yaml"


def test_machines_are_listed_and_shown(dovetail: Any) -> None:
    names = [entry["name"] for entry in dovetail.json("machine", "list")]
    assert names[0] == "local"
    assert {"aurora", "polaris", "slurm", "pbs", "mpi"} <= {*names}
    assert "GPU 3.1              near 61-68" in dovetail.output("machine", "show", "aurora")
    assert dovetail.json("machine", "show", "polaris")["node"]["gpus"]["devices"][0] == {
        "name": "0", "selector": "0", "cores": [*range(24, 32)],
    }  # fmt: skip
    assert "did you mean 'aurora'" in dovetail.error("machine", "show", "aurorra")
    assert "Machine" in dovetail.output("machine", "schema")


def test_a_profile_is_checked_against_this_machine(dovetail: Any) -> None:
    assert dovetail.json("machine", "check", "local")["fits"] is True
    done = dovetail("machine", "check", "aurora", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["fits"] is False


def test_a_plan_shows_who_sits_where(dovetail: Any, flow: Path) -> None:
    lines = dovetail.output("plan", flow, "--machine", "aurora", "--nodes", "512").splitlines()
    assert lines[0] == "closure: 512 nodes of aurora"
    assert [" ".join(line.split()) for line in lines[3:6]] == [
        "s simulation 3060 6 0-509 1-8:9-16:17-24:25-32:33-40:41-48 0.0:0.1:1.0:1.1:2.0:2.1",
        "t trainer 3060 6 0-509 53-60:61-68:69-76:77-84:85-92:93-100 3.0:3.1:4.0:4.1:5.0:5.1",
        "d database 2 1 510-511 1-51,53-65 -",
    ]
    assert "510 nodes alike, 0-509" in lines
    assert f"  NUMA 0  x{'ssssssssSSSSSSSS' * 3}...  0-51" in lines
    assert f"  NUMA 1  x{'ttttttttTTTTTTTT' * 3}...  52-103" in lines


def test_a_plan_as_json_holds_launch_lines_and_script(dovetail: Any, flow: Path) -> None:
    document = dovetail.json("plan", flow, "--machine", "aurora", "--nodes", "4", "--account", "us")
    (site,) = document["sites"]
    assert site["nodes"] == [
        {"nodes": "0-1", "occupants": {"simulation": 6, "trainer": 6}},
        {"nodes": "2-3", "occupants": {"database": 1}},
    ]
    launch = site["launches"][0]
    assert launch["argv"][:3] == ["mpiexec", "-n", "12"]
    assert launch["environment"]["OMP_NUM_THREADS"] == "8"
    assert launch["environment"]["FI_CXI_DEFAULT_CQ_SIZE"] == "131072"
    assert "#PBS -A us\n" in site["script"]


def test_the_script_and_the_drawing_are_written(dovetail: Any, flow: Path, tmp_path: Path) -> None:
    script, svg = tmp_path / "job.sh", tmp_path / "plan.svg"
    done = dovetail(
        *("plan", flow, "--machine", "aurora", "--nodes", "12", "--time", "0:30"),
        *("--script", script, "--svg", svg),
    )
    assert done.returncode == 0, done.stderr
    assert "aurora wants an account: give --account" in done.stderr.decode()
    assert "#PBS -l walltime=00:30:00\n" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)
    root = ET.fromstring(svg.read_text())
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "10 nodes alike0-9" in texts
    titles = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "core 53: trainer, local rank 0" in titles
    assert "GPU 2.1: simulation, local rank 5" in titles


def test_what_cannot_be_is_refused(dovetail: Any, flow: Path) -> None:
    plan = ("plan", flow, "--machine", "aurora")
    said = dovetail.error(*plan, "--nodes", "2")
    assert "but there are 2, of which 2 − 2 = 0 are left for it" in said
    assert "nothing was started" in said
    assert "aurora has no queue 'dbug'" in dovetail.error(*plan, "--nodes", "4", "--queue", "dbug")
    assert "takes 4 nodes for 2 h: debug takes" in dovetail.error(
        *("plan", flow, "--machine", "aurora", "--nodes", "4", "--time", "2:00", "--queue", "debug")
    )
    dovetail.error(*plan, "--time", "soon", status=2)
    assert "local has no scheduler" in dovetail.error(
        "plan", _small(flow), "--script", flow.with_name("x.sh")
    )


def test_hosts_are_named_in_launch_lines(dovetail: Any, flow: Path) -> None:
    (site,) = dovetail.json("plan", _small(flow), "--machine", "mpi", "--hosts", "n1,n2")["sites"]
    assert site["hosts"] == ["n1", "n2"]
    argv = site["launches"][0]["argv"]
    assert argv[argv.index("-hosts") + 1] == "n1,n2"
    assert site["script"] is None


def _small(flow: Path) -> Path:
    file = flow.with_name("small.yaml")
    file.write_text("components: {a: {command: ['true'], processes_per_node: 1}}\n")
    return file
