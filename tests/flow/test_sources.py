"""One schema, in Python and in YAML; and the plan that comes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import dovetail as dv
from dovetail.flow import Plan, read_flow

PYTHON = """
import dovetail as dv

flow = dv.Workflow(
    "closure",
    stores={"models": "shm://"},
    streams={"fields": "shm://?capacity=512MiB"},
    components=[
        dv.Component("dns", function="dns:main", arguments={"seeds": [1, 2]}, writes=["fields"]),
        dv.Component(
            "trainer", function="trainer:main", reads=["fields"], stores=["models"],
            on_failure="restart(2)",
        ),
        dv.Component("les", function="les:main", stores=["models"], service=True),
    ],
)
"""
YAML = """
name: closure
stores: {models: "shm://"}
streams:
  fields: shm://?capacity=512MiB
components:
  dns: {function: "dns:main", arguments: {seeds: [1, 2]}, writes: [fields]}
  trainer:
    function: trainer:main
    reads: [fields]
    stores: [models]
    on_failure: restart(2)
  les: {function: "les:main", stores: [models], service: true}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_python_and_yaml_are_one_schema(write: Callable[[str, str], Path]) -> None:
    in_python = read_flow(write("flow.py", PYTHON))
    in_yaml = read_flow(write("flow.yaml", YAML))
    assert in_python == in_yaml
    assert in_python.document() == in_yaml.document()
    assert in_python.folder == in_yaml.folder == write("x", "").parent


def test_a_folder_stands_for_the_flow_in_it(write: Callable[[str, str], Path]) -> None:
    assert read_flow(write("flow.yaml", YAML).parent).name == "closure"
    assert read_flow(write("flow.py", PYTHON.replace("closure", "other")).parent).name == "other"


def test_a_yaml_flow_without_a_name_has_that_of_its_file(write: Callable[[str, str], Path]) -> None:
    assert read_flow(write("heat.yaml", "components: {a: {function: 'a:b'}}")).name == "heat"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("components: {a: {functon: 'a:b'}}", "component 'a': unknown key 'functon'; did you mean"),
        ("component: {}", "unknown key 'component'; did you mean 'components'?"),
        ("folder: /etc", "unknown key 'folder'"),
        ("a: {b: ", "is no YAML"),
        ("- a", "a workflow is a mapping with the keys name, components"),
        (
            "components:\n  a: {function: 'a:b'}\n  a: {function: 'a:c'}\n",
            "flow.yaml, line 3: 'a' is used twice (first in line 2)",
        ),
        (
            "components: {a: {function: 'a:b'}, a: {function: 'a:c'}}",
            "flow.yaml, line 1: 'a' is used twice (first in line 1)",
        ),
        ("components: {a: {name: b}}", "component 'a': its name is its key"),
    ],
)
def test_wrong_yaml_is_refused(write: Callable[[str, str], Path], text: str, said: str) -> None:
    with pytest.raises(dv.InvalidWorkflowError) as refusal:
        read_flow(write("flow.yaml", text))
    assert said in str(refusal.value)


def test_yaml_may_merge_what_components_share(write: Callable[[str, str], Path]) -> None:
    flow = read_flow(
        write(
            "flow.yaml",
            "components:\n"
            "  a: &a {function: 'a:b', environment: &e {X: 1}}\n"
            "  b: {<<: *a, process_count: 2, environment: {<<: *e, X: 2}}\n",
        )
    )
    first, second = flow.components.values()
    assert (first.function, first.process_count) == ("a:b", 1)
    assert (second.function, second.process_count) == ("a:b", 2)
    assert second.environment == {"X": "2"}


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1.e-3", ".1e-2", "1.0e-3"])
def test_a_number_with_an_exponent_is_a_number(
    write: Callable[[str, str], Path], text: str
) -> None:
    file = write(
        "flow.yaml", f"components: {{a: {{function: 'a:b', arguments: {{rate: {text}}}}}}}"
    )
    assert read_flow(file).components["a"].arguments == {"rate": 1e-3}
    assert read_flow(file, [f"a.other={text}"]).components["a"].arguments == {
        "rate": 1e-3,
        "other": 1e-3,
    }


def test_a_function_of_the_flow_file_itself_can_be_given(
    write: Callable[[str, str], Path], output: Path
) -> None:
    text = (
        "import dovetail as dv\n"
        "def work():\n    print('in', __name__)\n"
        "flow = dv.Workflow('own', components=[dv.Component('a', function=work)])\n"
    )
    read_flow(write("own.py", text)).run(output)
    assert (output / "logs" / "a.0.log").read_text() == "in own\n"


def test_yaml_constructs_no_objects(write: Callable[[str, str], Path]) -> None:
    with pytest.raises(dv.InvalidWorkflowError, match="no YAML"):
        read_flow(write("flow.yaml", "name: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "makes none: call the one that is to run 'flow'"),
        ("import dovetail as dv\na = dv.Workflow('a')\nb = dv.Workflow('b')", "makes a and b"),
    ],
)
def test_a_python_file_makes_one_workflow(
    write: Callable[[str, str], Path], text: str, said: str
) -> None:
    with pytest.raises(dv.InvalidWorkflowError, match=said):
        read_flow(write("flow.py", text))


def test_a_wrong_field_in_a_python_file_is_said_with_its_line(
    write: Callable[[str, str], Path],
) -> None:
    file = write("flow.py", "import dovetail as dv\n\nx = dv.Component('a', comand=['ls'])\n")
    with pytest.raises(dv.InvalidWorkflowError, match=r"flow\.py, line 3: unknown key 'comand'"):
        read_flow(file)


def test_a_flow_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "flow.py", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no"):
            read_flow(path)
    (tmp_path / "flow.txt").touch()
    with pytest.raises(dv.InvalidWorkflowError, match="neither a .py nor a .yaml"):
        read_flow(tmp_path / "flow.txt")


def test_arguments_can_be_set_from_outside(write: Callable[[str, str], Path]) -> None:
    settings = ["dns.seeds=[3, 4]", "trainer.minutes=20", "trainer.title=a=b"]
    flow = read_flow(write("flow.yaml", YAML), settings)
    assert flow.components["dns"].arguments == {"seeds": [3, 4]}
    assert flow.components["trainer"].arguments == {"minutes": 20, "title": "a=b"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dns", "write component.argument=value"),
        ("dns.day=2020-01-01", "arguments: day: datetime.date(2020, 1, 1) is no JSON value"),
        ("dsn.seeds=1", "there is no component 'dsn'; did you mean 'dns'?"),
    ],
)
def test_settings_that_fit_nothing_are_refused(
    write: Callable[[str, str], Path], setting: str, said: str
) -> None:
    with pytest.raises(dv.InvalidWorkflowError) as refusal:
        read_flow(write("flow.yaml", YAML), [setting])
    assert said in str(refusal.value)


def test_a_component_can_be_added_later() -> None:
    flow = dv.Workflow("test")
    one = flow.add("one", function="parts:succeed")
    flow.add(dv.Component("two", function="parts:tell", reads=["fields"]))
    flow.streams["fields"] = "shm://"
    assert flow.components["one"] is one
    assert list(flow.components) == ["one", "two"]
    assert flow.folder == Path(__file__).parent


def test_the_plan_says_every_rank_its_cores_and_its_wiring(
    workflow: Callable[..., dv.Workflow], tmp_path: Path
) -> None:
    core = min(os.sched_getaffinity(0))
    flow = workflow(
        {"fields": "shm://", "history": "file://"},
        {"models": "shm://given"},
        solver={
            "function": "parts:tell",
            "process_count": 2,
            "writes": ["fields", "history"],
            "environment": {"OUT": "{run}/out"},
        },
        trainer={
            "command": ["true", "{run}"],
            "cores": [core],
            "reads": ["fields"],
            "stores": ["models"],
            "on_failure": "restart(3)",
        },
    )
    plan = flow.plan()
    solver, trainer = plan.components
    assert [placed.cores for placed in solver.placed] == [None, None]
    assert [placed.cores for placed in trainer.placed] == [(core,)]
    assert trainer.restarts == 3
    assert trainer.runs == f"true {plan.directory}"
    assert solver.environment["OUT"] == f"{plan.directory}/out"
    assert trainer.environment["DOVETAIL_STORE_MODELS"] == "shm://given"
    assert "DOVETAIL_STREAM_HISTORY" in solver.environment
    assert "DOVETAIL_STREAM_HISTORY" not in trainer.environment
    assert plan.streams["history"] == f"file://{plan.directory}/streams/history"
    assert plan.wiring["streams"]["fields"] == {"writer": "solver", "readers": ["trainer"]}
    assert [launch.ranks for launch in solver.launches] == [(0,), (1,)]
    assert not Path(plan.directory).exists()


def test_a_plan_is_read_back_as_it_was_written(
    workflow: Callable[..., dv.Workflow], tmp_path: Path
) -> None:
    from dovetail.flow import planning

    flow = workflow(one={"function": "parts:succeed", "process_count": 2, "cpus_per_process": 1})
    plan = planning.make(flow, tmp_path, "label", {})
    plan.write()
    assert Plan.read(tmp_path) == plan


@pytest.mark.requires("mpi")
def test_an_mpi_component_has_one_launch_line(workflow: Callable[..., dv.Workflow]) -> None:
    flow = workflow(one={"function": "parts:succeed", "process_count": 4, "mpi": True})
    (launch,) = flow.plan().components[0].launches
    assert Path(launch.argv[0]).name == "mpiexec"
    assert launch.argv[1:3] == ("-n", "4")
    assert launch.ranks == (0, 1, 2, 3)
