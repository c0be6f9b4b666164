"""``dovetail plan --machine``: where every rank of a workflow would sit on a machine."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from dovetail.cli.flow import read, refuse, warn
from dovetail.cli.output import print_json, print_table, printable
from dovetail.errors import InvalidWorkflowError

if TYPE_CHECKING:
    from dovetail.flow.jobs import JobPlan
    from dovetail.flow.placement.result import NodeGroup, Site

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TIME = re.compile(r"(\d+):([0-5]?\d)(?::([0-5]?\d))?")


class Request(NamedTuple):
    """What the command line asks for."""

    machine: str
    nodes: int | None
    hosts: tuple[str, ...]
    time: str
    queue: str | None
    account: str | None


def plan(
    flow: Path,
    overrides: list[str] | None,
    request: Request,
    launches: bool,
    script: Path | None,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Print, draw and write what was asked for."""
    from dovetail.flow.jobs import job_plan
    from dovetail.flow.machines import find_machine
    from dovetail.flow.placement import picture

    hours = _hours(request.time)
    try:
        workflow = read(flow, overrides)
        machine = find_machine(request.machine)
        warnings = workflow.check(machine)
        placement = workflow.place(machine, request.nodes, request.hosts)
        planned = job_plan(
            workflow, placement, hours=hours, queue=request.queue, account=request.account
        )
    except InvalidWorkflowError as error:
        refuse(flow, error)
    if svg is not None:
        svg.write_text(picture.svg(placement), encoding="utf-8")
    if script is not None:
        _write_script(planned, script)
    if as_json:
        print_json(planned.document())
        return
    warn([*warnings, *placement.warnings])
    if machine.scheduler.account and request.account is None:
        warn([f"{machine.name} wants an account: give --account"])
    for number, job in enumerate(planned.jobs):
        if number:
            print()
        _print_site(placement.workflow, job.site)
        if launches:
            _print_launches(planned, number)
    _print_crossings(planned)


def _hours(text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no time: write hours and minutes, as in 1:30")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    if not hours + minutes + seconds:
        raise typer.BadParameter(f"{text!r} leaves no time at all")
    return hours + minutes / 60 + seconds / 3600


def _write_script(planned: JobPlan, file: Path) -> None:
    texts = [job.script for job in planned.jobs if job.script is not None]
    if not texts:
        print(
            f"dovetail: {planned.placement.site.machine.name} has no scheduler, and so no script: "
            f"leave out --script",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    file.write_text(texts[0], encoding="utf-8")
    file.chmod(0o755)


def _print_site(workflow: str, site: Site) -> None:
    from dovetail.flow.numbers import ranges
    from dovetail.flow.placement.lines import bind_list

    nodes = "node" if site.node_count == 1 else "nodes"
    print(f"{workflow}: {site.node_count} {nodes} of {site.machine.name}")
    print()
    letters = _letters(site)
    print_table(
        ["", "COMPONENT", "RANKS>", "A NODE>", "NODES", "CORES OF THE RANKS OF A NODE", "GPUS"],
        [
            (
                letters[component.name],
                component.name,
                component.process_count,
                component.processes_per_node,
                ranges(component.nodes),
                _cores(component.on_what_is_left, component.is_bound, bind_list(component.seats)),
                ":".join(",".join(seat.gpus) for seat in component.seats)
                if component.seats[0].gpus
                else "-",
            )
            for component in site.components
        ],
    )
    for group in site.groups:
        print()
        count = len(group.nodes)
        which = f"{count} nodes alike, {ranges(group.nodes)}" if count > 1 else ""
        print(which or f"node {group.nodes[0]}")
        for line in _drawn(site, group, letters):
            print(f"  {line}")
    print()
    print(
        "a letter is a core of that component, a capital one of its next rank; . is free"
        + (", x reserved" if site.machine.node.reserved else "")
    )


def _cores(left_over: bool, bound: bool, cores: str) -> str:
    if not bound:
        return "any"
    return f"{cores.partition(':')[0]} together" if left_over else cores


def _letters(site: Site) -> dict[str, str]:
    """A letter for each component: rather its own first, else one that is free."""
    letters: dict[str, str] = {}
    for component in site.components:
        own = [letter for letter in component.name.lower() if letter in _LETTERS]
        free = (one for one in [*own, *_LETTERS] if one not in {*letters.values(), "x"})
        letters[component.name] = next(free, "?")
    return letters


def _drawn(site: Site, group: NodeGroup, letters: dict[str, str]) -> Iterator[str]:
    """The cores of each NUMA domain as a row of letters, and what sits on the GPUs."""
    from dovetail.flow.numbers import ranges

    node = site.machine.node
    marks: dict[int, str] = dict.fromkeys(node.reserved, "x")
    gpus: list[str] = []
    for name, count in group.occupants:
        component = site.component(name)
        for slot, seat in enumerate(component.seats[:count]):
            letter = letters[name]
            for core in seat.cores or ():
                shown = letter.upper() if slot % 2 and not component.on_what_is_left else letter
                marks[core] = "*" if core in marks else shown
            gpus += [f"{gpu} {letter}{slot}" for gpu in seat.gpus]
    domains = [sorted(domain.cores) for domain in node.numa] or [sorted(node.cores)]
    for number, domain in enumerate(domains):
        row = "".join(marks.get(core, ".") for core in domain)
        yield f"NUMA {number}  {row}  {ranges(domain)}"
    if "*" in marks.values():
        yield "* is shared, in turns or at will"
    if gpus:
        yield f"GPUs    {', '.join(gpus)}"


def _print_launches(planned: JobPlan, number: int) -> None:
    job = planned.jobs[number]
    for line in job.lines:
        print()
        print(line.component)
        for name, text in line.environment.items():
            print(f"  {name}={shlex.quote(text)}")
        print(f"  {printable(shlex.join(line.argv))}")
    if job.script is not None:
        print()
        print(job.script.rstrip("\n"))


def _print_crossings(planned: JobPlan) -> None:
    for crossing in planned.placement.crossings:
        print()
        print(
            f"{crossing.purpose} {crossing.name} goes from {crossing.source} to "
            f"{crossing.target}: a gateway carries it, started on {crossing.source} with"
        )
        print(f"  dovetail gateway carry {crossing.purpose} {shlex.quote(crossing.url)} GATEWAY")
