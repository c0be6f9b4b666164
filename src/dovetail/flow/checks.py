"""What is wrong with a workflow, found before anything starts, and all of it at once."""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from dovetail.errors import DovetailError, InvalidWorkflowError
from dovetail.flow import launch, wiring
from dovetail.flow.lookup import problems_of_function
from dovetail.flow.machines import Machine, find_machine
from dovetail.flow.placement import planner
from dovetail.flow.placement.agreement import problems_of_being_away
from dovetail.flow.schema import Component, Workflow
from dovetail.transport.url import near_match, parse

_KINDS = ("function", "script", "command")


def check(flow: Workflow, machine: Machine | None = None) -> list[str]:
    """Find what is wrong.

    Parameters
    ----------
    machine
        On which it is to run; where it sits there is not looked at. By default it is this one,
        and that is.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    InvalidWorkflowError
        With all problems.
    """
    components = list(flow.components.values())
    problems = [
        *_problems_of_folder(flow.folder),
        *_problems_of_names(flow),
        *_problems_of_services(components),
        *(
            f"component {component.name!r}: {problem}"
            for component in components
            for problem in _problems_of_component(component, flow.folder, machine)
        ),
        *_problems_of_wiring(flow),
        *_problems_of_urls(flow),
    ]
    placed: tuple[str, ...] = ()
    away = list(problems_of_being_away(flow)) if machine is None else []
    problems += away
    if machine is None and components and not away:
        try:
            placed = planner.place(flow, find_machine("local")).warnings
        except InvalidWorkflowError as error:
            problems += error.problems
    if problems:
        raise InvalidWorkflowError(*problems)
    return [*_warnings(flow), *placed]


def _problems_of_folder(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield f"there is no folder {folder} for the components to run in: correct 'folder'"


def _problems_of_names(flow: Workflow) -> Iterator[str]:
    for key, component in flow.components.items():
        if key != component.name:
            yield f"component {component.name!r} is listed as {key!r}: give it one name"
    for name in sorted(set(flow.streams) & set(flow.stores)):
        yield f"{name!r} is both a stream and a store: give one of them another name"
    for what, urls in (("stream", flow.streams), ("store", flow.stores)):
        variables: dict[str, str] = {}
        for name in urls:
            other = variables.setdefault(re.sub("[^A-Za-z0-9]", "_", name).upper(), name)
            if other != name:
                yield (
                    f"{what}s {other!r} and {name!r} differ only in case or punctuation, which "
                    f"environment variables do not tell apart: rename one"
                )


def _problems_of_services(components: list[Component]) -> Iterator[str]:
    if not components:
        yield "the workflow has no components: add one"
    elif all(component.service for component in components):
        names = " → ".join([*(component.name for component in components), components[0].name])
        yield (
            f"all components are services ({names}), each waiting for the others' work to be "
            f"done: it would never end. Take 'service' from the one whose end ends the run"
        )


def _problems_of_component(
    component: Component, folder: Path, machine: Machine | None
) -> Iterator[str]:
    given = [kind for kind in _KINDS if getattr(component, kind) is not None]
    if len(given) != 1:
        yield (
            f"it has {' and '.join(given) or 'nothing to run'}: give one of function, script "
            f"and command"
        )
    if component.function is not None:
        yield from problems_of_function(component.function, component.arguments, folder)
    if component.script is not None:
        yield from _problems_of_script(folder / component.script)
    if component.command is not None:
        yield from _problems_of_command(component, folder)
        if component.arguments:
            yield "a command has no 'arguments': write them into its list of words"
    if component.mpi and machine is None and launch.mpiexec() is None:
        yield (
            "mpi: there is no mpiexec beside this Python or on the PATH: load the MPI module "
            "of your system, or 'pip install mpich'"
        )


def _problems_of_script(file: Path) -> Iterator[str]:
    if not file.is_file():
        siblings = [path.name for path in file.parent.glob("*") if path.is_file()]
        near = near_match(file.name, siblings)
        yield f"there is no script {file}{near}: correct the path, which is relative to the flow"
    elif file.suffix != ".py" and not os.access(file, os.X_OK):
        yield f"the script {file} is neither Python nor executable: chmod +x it"


def _problems_of_command(component: Component, folder: Path) -> Iterator[str]:
    assert component.command is not None
    program = component.command[0]
    if "{run}" in program:
        return
    if os.sep in program:
        file = folder / program
        if not file.is_file():
            yield f"there is no program {file}: build it, or correct the path"
        elif not os.access(file, os.X_OK):
            yield f"the program {file} is not executable: chmod +x it"
    elif shutil.which(program, path=component.environment.get("PATH")) is None:
        yield f"there is no program {program!r} on the PATH: install it, or write its path"


def _problems_of_wiring(flow: Workflow) -> Iterator[str]:
    writers = defaultdict(list)
    for component in flow.components.values():
        for what, names, known in (
            ("reads", component.reads, flow.streams),
            ("writes", component.writes, flow.streams),
            ("stores", component.stores, flow.stores),
        ):
            kind = "store" if what == "stores" else "stream"
            for name in dict.fromkeys(names):
                if name not in known:
                    there = f"there are {', '.join(known)}" if known else "there are none"
                    yield (
                        f"component {component.name!r}: {what} {name!r} is no {kind} of the "
                        f"workflow{near_match(name, known)}; {there}: add it to '{kind}s'"
                    )
                if names.count(name) > 1:
                    yield f"component {component.name!r}: {what} names {name!r} twice"
        for name in dict.fromkeys(component.writes):
            writers[name].append(component.name)
    for name in flow.streams:
        if not writers[name]:
            yield (
                f"stream {name!r} has no writer, so that its readers would wait for ever: add "
                f"{name!r} to the 'writes' of the component that writes it"
            )
        elif len(writers[name]) > 1:
            yield (
                f"stream {name!r} has {len(writers[name])} writers, "
                f"{' and '.join(writers[name])}: give each a stream of its own, or make them "
                f"ranks of one component"
            )


def _problems_of_urls(flow: Workflow) -> Iterator[str]:
    places: dict[str, str] = {}
    for purpose, urls in (("stream", flow.streams), ("store", flow.stores)):
        for name, text in urls.items():
            if "://" not in text:
                yield f"{purpose} {name!r}: {text!r} is no URL: write one such as 'shm://'"
                continue
            try:
                url = parse(text.replace("{run}", "/run"), purpose)
                wiring.probe(url, purpose, name)
            except DovetailError as error:
                yield f"{purpose} {name!r}: {error}"
                continue
            if purpose == "stream" and url.location:
                place = f"{url.scheme}://{url.location}"
                other = places.setdefault(place, name)
                if other != name:
                    yield f"streams {other!r} and {name!r} are both {place}: give each its own"


def _warnings(flow: Workflow) -> Iterator[str]:
    components = flow.components.values()
    read = {name for component in components for name in component.reads}
    for name in flow.streams:
        if name not in read:
            yield (
                f"stream {name!r} has no reader: under lockstep or buffered its writer will wait "
                f"in vain for one"
            )
    used = {name for component in components for name in component.stores}
    for name in flow.stores:
        if name not in used:
            yield f"store {name!r} is used by no component"
    yield from _warnings_of_endless_reading(components)


def _warnings_of_endless_reading(components: Iterable[Component]) -> Iterator[str]:
    services = {
        name: component.name
        for component in components
        if component.service
        for name in component.writes
    }
    for component in components:
        if component.service:
            continue
        for name in component.reads:
            if name in services:
                yield (
                    f"component {component.name!r} reads stream {name!r} of the service "
                    f"{services[name]!r}, which ends only after it: it must stop by itself"
                )
