"""Profiles of machines: shipped, found, extended, and refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import dovetail as dv
from dovetail.flow.machines import Machine, find_machine, machine_names, read_machine

SMALL = """
name: small
node:
  cores: 8
  reserved: [0]
  numa: [{cores: 0-3}, {cores: "4-7"}]
  gpus:
    variable: CUDA_VISIBLE_DEVICES
    devices: [{name: 0, selector: 0, cores: 1-3}, {name: 1, selector: 1, cores: 4-7}]
launcher: {kind: hydra}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which profiles are looked for first."""
    machines = tmp_path / "machines"
    machines.mkdir()
    monkeypatch.setenv("DOVETAIL_MACHINES", f"{machines}:{tmp_path / 'none'}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return machines


def problems_of(path: Path, text: str) -> tuple[str, ...]:
    path.write_text(text)
    with pytest.raises(dv.InvalidMachineError) as refusal:
        read_machine(path)
    return refusal.value.problems


def test_all_that_is_shipped_is_sound() -> None:
    assert [*machine_names()][:1] == ["local"]
    assert {"aurora", "polaris", "slurm", "pbs", "mpi"} <= {*machine_names()}
    for name in machine_names():
        machine = find_machine(name)
        assert machine.name == name
        assert Machine.from_document(machine.document(), "again") == machine


@pytest.mark.parametrize(
    ("name", "nodes", "cores", "threads", "devices"),
    [("aurora", 10624, 104, 208, 12), ("polaris", 560, 32, 64, 4)],
)
def test_the_nodes_of_the_sites(
    name: str, nodes: int, cores: int, threads: int, devices: int
) -> None:
    machine = find_machine(name)
    node = machine.node
    assert (machine.most_nodes, len(node.cores), len(node.devices)) == (nodes, cores, devices)
    assert len({t for core in node.cores for t in node.threads_of(core)}) == threads
    assert node.threads_of(3) == (3, 3 + cores)


def test_a_profile_is_found_by_name_and_by_path(folder: Path) -> None:
    (folder / "small.yaml").write_text(SMALL)
    assert find_machine("small").node.usable == [1, 2, 3, 4, 5, 6, 7]
    assert find_machine(folder / "small.yaml") == find_machine("small")
    assert machine_names()["small"] == folder / "small.yaml"


def test_a_profile_of_ones_own_comes_before_that_which_is_shipped(folder: Path) -> None:
    (folder / "aurora.yaml").write_text("extends: aurora\nnode: {reserved: [0, 1, 52, 53]}\n")
    aurora = find_machine("aurora")
    assert len(aurora.node.usable) == 100
    assert aurora.node.devices[0].name == "0.0"
    assert aurora.scheduler.queues[0].name == "debug"


def test_a_profile_extends_another_and_takes_nodes_like_this_one(folder: Path) -> None:
    (folder / "ours.yaml").write_text(
        "extends: slurm\nnode: here\nscheduler: {resources: ['--qos=high']}\n"
    )
    ours = find_machine("ours")
    assert (ours.name, ours.launcher.kind, ours.scheduler.kind) == ("ours", "srun", "slurm")
    assert ours.scheduler.resources == ["--qos=high"]
    assert ours.node == find_machine("local").node


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": 3}, "small.yaml: unknown key 'nodes'; did you mean 'node'?"),
        ({"launcher": {"kind": "mpirun"}}, "launcher: kind: 'mpirun': input should be 'processes'"),
        ({"node": {"cores": "0-3;5"}}, "'0-3;5' says no core numbers: write them as in '0-3,8'"),
        ({"node": {"cores": "5-3"}}, "5-3 runs backwards: write the lower number first"),
        ({"node": {"cores": 4, "reserved": "0-4"}}, "reserved: there is no core 4: the node has"),
        ({"node": {"cores": 2, "reserved": [0, 1]}}, "all cores (0-1) are reserved: leave some"),
        ({"node": {"cores": [0, 1, 1]}}, "cores: 1 is listed twice"),
        (
            {"node": {"cores": 4, "numa": [{"cores": "0-2"}, {"cores": "2-3"}]}},
            "numa: core 2 is in two domains: name it in one",
        ),
        ({"hosts": ["a", "b", "a"]}, "hosts: a is listed twice: name each once"),
        ({"hosts": ["a", "b"], "node_count": 3}, "node_count: 3, but 2 hosts are listed"),
        ({"node": {"cores": 4, "memory": "lots"}}, "node: memory: 'lots' is not a size"),
        ({"extends": "aurorra"}, "extends 'aurorra', which is no machine; did you mean 'aurora'"),
    ],
)
def test_what_is_wrong_is_said_with_its_value(
    folder: Path, change: dict[str, object], said: str
) -> None:
    text = yaml.safe_dump(yaml.safe_load(SMALL) | change)
    found = problems_of(folder / "small.yaml", text)
    assert said in " ".join(found), found


def test_rubbish_is_refused(folder: Path) -> None:
    path = folder / "rubbish.yaml"
    for text in ("- 1\n- 2\n", "a: [", "\0", "name: x\nname: y\n", "3", ""):
        assert "rubbish.yaml" in problems_of(path, text)[0]
    with pytest.raises(dv.InvalidMachineError, match=r"there is no machine profile .*none\.yaml"):
        find_machine("none.yaml")
    with pytest.raises(dv.InvalidMachineError, match="'auroa'; did you mean 'aurora'"):
        find_machine("auroa")


def test_profiles_that_extend_one_another_come_to_an_end(folder: Path) -> None:
    (folder / "one.yaml").write_text("extends: two\n")
    (folder / "two.yaml").write_text("extends: one\n")
    with pytest.raises(dv.InvalidMachineError, match="'extends' never comes to an end"):
        find_machine("one")


def test_the_schema_knows_every_key() -> None:
    schema = json.loads(json.dumps(Machine.model_json_schema()))
    assert {*schema["properties"]} == {*Machine.model_fields}
