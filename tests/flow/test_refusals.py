"""What is refused before anything starts: all of it at once, each with what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dovetail as dv

Make = Callable[..., dv.Workflow]
ONE = {"function": "parts:succeed"}


def problems_of(work: Callable[[], Any]) -> tuple[str, ...]:
    with pytest.raises(dv.InvalidWorkflowError) as refusal:
        work()
    return refusal.value.problems


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"functon": "parts:succeed"}, "unknown key 'functon'; did you mean 'function'?"),
        ({"function": "succeed"}, "function: 'succeed' is no function: write 'module:function'"),
        ({"function": lambda: None}, "cannot import it: write it at the top level of a file"),
        ({"command": "ls -l"}, "command: 'ls -l': write a list of words, as in ['ls', '-l']"),
        (
            {"on_failure": "retry(2)"},
            "did you mean 'restart(1)'?; write fail, ignore or restart(n)",
        ),
        ({"reads": "fields"}, "reads: 'fields': write a list, as in [fields]"),
        ({"process_count": 0}, "process_count: 0: input should be greater than or equal to 1"),
        ({"process_count": "4"}, "process_count: '4': input should be a valid integer"),
        ({"timeout": -1}, "timeout: -1: input should be greater than 0"),
        ({"cores": []}, "cores: []: value should have at least 1 item"),
        ({"arguments": {"a": object()}}, "is no JSON value: write a number or, in quotes, a text"),
        ({"arguments": {"a": [1, float("inf")]}}, "arguments: a: inf is no JSON value"),
        ({"arguments": 3}, "must be a mapping of names to JSON values"),
        ({"timeout": float("nan")}, "timeout: nan: input should be"),
        ({"environment": {"A=B": "c"}}, "environment: 'A=B' is no name of a variable"),
        ({"environment": {"A": "b\0c"}}, "cannot be the value of a variable: leave out NUL"),
        ({"mpi": "yes"}, "mpi: 'yes': input should be a valid boolean"),
    ],
)
def test_a_wrong_field_is_said_with_its_value(fields: dict[str, Any], said: str) -> None:
    (problem,) = problems_of(lambda: dv.Component("one", **fields))
    assert said in problem


def test_all_wrong_fields_are_said_at_once() -> None:
    found = problems_of(
        lambda: dv.Workflow(
            "a b",
            components={"x": {"functon": "a:b", "timeout": 0}, "y": 3},
            stores={"models": 7},
            strems={},
        )
    )
    assert [problem.split(":")[0] for problem in found] == [
        "component 'x'", "component 'x'", "component 'y'", "name", "stores.models",
        "unknown key 'strems'; did you mean 'streams'?",
    ]  # fmt: skip


def test_a_field_that_is_changed_is_checked_again() -> None:
    component = dv.Component("one", function="parts:succeed")
    (problem,) = problems_of(lambda: setattr(component, "timeout", -2))
    assert problem.startswith("timeout: -2")


def test_two_components_of_one_name_are_refused() -> None:
    pair = [dv.Component("one", **ONE), dv.Component("one", **ONE)]
    assert problems_of(lambda: dv.Workflow("test", components=pair)) == (
        "there are two components 'one': give one of them another name",
    )
    flow = dv.Workflow("test", components=pair[:1])
    assert "two components 'one'" in problems_of(lambda: flow.add("one", **ONE))[0]


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["the workflow has no components: add one"]),
    "services only": (
        {"a": ONE | {"service": True}, "b": ONE | {"service": True}},
        ["all components are services (a → b → a), each waiting for the others' work to be done"],
    ),
    "nothing to run": ({"a": {}}, ["'a': it has nothing to run: give one of function, script"]),
    "two things to run": (
        {"a": ONE | {"script": "script.py"}},
        ["'a': it has function and script: give one of"],
    ),
    "no such module": (
        {"a": {"function": "prats:succeed"}},
        ["there is no module 'prats'; did you mean 'parts'?"],
    ),
    "no such function": (
        {"a": {"function": "parts:sucseed"}},
        ["parts.py has no 'sucseed'; did you mean 'succeed'?"],
    ),
    "wrong arguments": (
        {"a": {"function": "parts:say", "arguments": {"txt": "hello"}}},
        [
            "say(text, times) takes no argument 'txt'; did you mean 'text'?",
            "say(text, times) needs 'text': give it in 'arguments'",
        ],
    ),
    "no such script": (
        {"a": {"script": "scrpt.py"}},
        ["scrpt.py; did you mean 'script.py'?: correct the path, which is relative to the flow"],
    ),
    "script that cannot run": (
        {"a": {"script": "conftest"}, "b": {"script": "not_executable.sh"}},
        ["there is no script", "not_executable.sh is neither Python nor executable: chmod +x it"],
    ),
    "no such program": (
        {"a": {"command": ["no-such-program"]}, "b": {"command": ["./solver"]}},
        ["no program 'no-such-program' on the PATH", "solver: build it, or correct the path"],
    ),
    "undeclared names": (
        {"a": ONE | {"reads": ["feilds"], "stores": ["modles"], "writes": ["fields"]}},
        [
            "reads 'feilds' is no stream of the workflow; did you mean 'fields'?",
            "stores 'modles' is no store of the workflow; did you mean 'models'?",
        ],
    ),
    "no writer": (
        {"a": ONE | {"reads": ["fields"]}},
        ["stream 'fields' has no writer, so that its readers would wait for ever: add 'fields'"],
    ),
    "two writers": (
        {"a": ONE | {"writes": ["fields"]}, "b": ONE | {"writes": ["fields"]}},
        ["stream 'fields' has 2 writers, a and b: give each a stream of its own"],
    ),
    "cores that are not there": (
        {"a": ONE | {"cores": [9000]}},
        ["this machine has no core 9000 for it: there are"],
    ),
    "more cores than there are": (
        {"a": ONE | {"cpus_per_process": 5000, "process_count": 2}},
        ["2 ranks × 5000 cores = 10000, but"],
    ),
    "cores twice": ({"a": ONE | {"cores": [0, 0]}}, ["core 0 is listed twice"]),
    "shared cores": (
        {"a": ONE | {"cores": [0]}, "b": ONE | {"cores": [0]}},
        ["components 'a' and 'b' are both on core 0: give each cores of its own"],
    ),
    "uneven cores": (
        {"a": ONE | {"cores": [0], "process_count": 3}},
        ["1 cores cannot be dealt evenly to 3 ranks: list a multiple of 3"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_workflow_that_cannot_run_is_refused(workflow: Make, case: str) -> None:
    components, said = CASES[case]
    names = {name for entry in components.values() for name in entry.get("writes", ())}
    names |= {"fields"} if "no writer" in case else set()
    stores = {"models": "shm://"} if "undeclared" in case else {}
    flow = workflow(dict.fromkeys(names, "shm://"), stores, **components)
    found = problems_of(flow.check)
    assert len(found) == len(said), found
    for problem, part in zip(found, said, strict=True):
        assert part in problem


@pytest.mark.parametrize(
    ("streams", "stores", "said"),
    [
        ({"x": "shm://"}, {"x": "shm://"}, "'x' is both a stream and a store: give one of them"),
        ({"a-b": "shm://", "a_B": "shm://"}, {}, "differ only in case or punctuation"),
        ({"a": "shm://x", "b": "shm://x"}, {}, "streams 'a' and 'b' are both shm://x"),
        ({"a": "fields"}, {}, "stream 'a': 'fields' is no URL: write one such as 'shm://'"),
        ({"a": "shmm://x"}, {}, "no engine for shmm://; did you mean 'shm'?"),
        ({"a": "shm://?capcity=1GiB"}, {}, "no option 'capcity'; did you mean 'capacity'?"),
        ({}, {"a": "shm://?capacity=lots"}, "capacity='lots' is not a size"),
        ({"a": "file://relative"}, {}, "must name an absolute path"),
    ],
)
def test_wrong_streams_and_stores_are_refused(
    workflow: Make, streams: dict[str, str], stores: dict[str, str], said: str
) -> None:
    flow = workflow(streams, stores, one=ONE | {"writes": [*streams], "stores": [*stores]})
    (problem,) = problems_of(flow.check)
    assert said in problem


def test_problems_of_every_kind_are_said_at_once(workflow: Make, tmp_path: Path) -> None:
    flow = workflow(
        {"fields": "shm://", "idle": "shmm://"},
        a={"function": "parts:none", "cores": [9000]},
        b={"command": ["no-such-program"], "reads": ["other"]},
    )
    assert len(problems_of(flow.check)) == 7
    with pytest.raises(dv.InvalidWorkflowError):
        flow.run(tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing was started"


def test_what_need_not_be_wrong_is_a_warning(workflow: Make) -> None:
    flow = workflow(
        {"unread": "shm://", "endless": "shm://"},
        {"unused": "shm://"},
        a=ONE | {"writes": ["unread"], "reads": ["endless"]},
        b=ONE | {"writes": ["endless"], "service": True},
    )
    unread, unused, endless = flow.check()
    assert "stream 'unread' has no reader" in unread
    assert "store 'unused' is used by no component" in unused
    assert "'a' reads stream 'endless' of the service 'b', which ends only after it" in endless


SOURCE = """
import functools
from os import path as where
try:
    import fast as speed
except ImportError:
    speed = None
if speed is None:
    def chosen(): ...
else:
    def chosen(a): ...
@functools.cache
def decorated(*anything): ...
class Solver:
    def run(self): ...
def any_of(*, a=1, **others): ...
made = globals()["any_of"]
match made:
    case None: ...
    case _:
        def matched(): ...
"""


@pytest.mark.parametrize(
    ("function", "arguments", "sound"),
    [
        ("chosen", {"b": 1}, True),
        ("decorated", {"b": 1}, True),
        ("Solver.run", {}, True),
        ("any_of", {"b": 1}, True),
        ("made", {"b": 1}, True),
        ("matched", {}, True),
        ("where", {}, True),
        ("speed", {}, True),
        ("nothing", {}, False),
    ],
)
def test_a_function_is_found_without_importing_its_module(
    tmp_path: Path, function: str, arguments: dict[str, int], sound: bool
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported!')")
    (package / "part.py").write_text(SOURCE + "raise SystemExit('imported!')")
    component = dv.Component("a", function=f"package.part:{function}", arguments=arguments)
    flow = dv.Workflow("test", components=[component], folder=tmp_path)
    if sound:
        assert flow.check() == []
    else:
        assert "part.py has no 'nothing'" in problems_of(flow.check)[0]


def test_functions_of_installed_and_built_in_modules_are_found(workflow: Make) -> None:
    flow = workflow(
        installed={"function": "numpy.random:seed"},
        built_in={"function": "time:time"},
        own={"function": "dovetail.transport.registry:engines"},
    )
    assert flow.check() == []


def test_a_source_that_is_no_python_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("x = 1\ndef main(:\n")
    flow = dv.Workflow(
        "test", components=[dv.Component("a", function="part:main")], folder=tmp_path
    )
    assert "part.py, line 2: " in problems_of(flow.check)[0]


def test_an_mpi_component_needs_mpiexec(workflow: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail.flow import launch

    monkeypatch.setattr(launch.sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    launch.mpiexec.cache_clear()
    try:
        (problem,) = problems_of(workflow(a=ONE | {"mpi": True}).check)
    finally:
        launch.mpiexec.cache_clear()
    assert "there is no mpiexec beside this Python or on the PATH" in problem


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    component = dv.Component("a", command=["true"])
    flow = dv.Workflow("test", components=[component], folder=tmp_path / "none")
    assert f"there is no folder {tmp_path}/none" in problems_of(flow.check)[0]


def test_a_mere_folder_does_not_hide_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    component = dv.Component("a", function="numpy.random:seed")
    assert dv.Workflow("test", components=[component], folder=tmp_path).check() == []


def test_a_function_can_be_given_itself(workflow: Make) -> None:
    component = dv.Component("a", function=os.path.join)
    assert component.function == "posixpath:join"
