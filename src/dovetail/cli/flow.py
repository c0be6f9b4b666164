"""``dovetail validate`` and ``dovetail plan``: a workflow, before anything starts.

JSON documents (``--json``):

========  ======================================================================================
validate  ``{flow, valid, problems, warnings}``
plan      the plan, as ``plan.json`` in the directory of a run holds it:
          ``{name, directory, folder, host, cores, grace, lent, streams, stores, components:
          [{name, kind, target, arguments, mpi, service, restarts, may_fail, timeout, reads,
          writes, stores, environment, placed: [{rank, cores, log, environment}],
          launches: [{argv, ranks, log}]}]}``; ``streams``, ``stores``, ``reads`` and ``writes``
          map names to URLs
plan      with ``--machine``: ``{directory, workflow, sites: [{machine, node_count, hosts,
          components: [{name, process_count, node_count, processes_per_node, nodes, shares_with,
          seats: [{cores, gpus}]}], nodes: [{nodes, occupants}], launches: [{component, argv,
          environment}], script}], crossings: [{purpose, name, url, source, target}], warnings}``;
          the seats of a component are the same on each of its nodes
========  ======================================================================================
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dovetail.cli.output import AsJson, print_json, print_table, printable
from dovetail.errors import DovetailError, InvalidWorkflowError

if TYPE_CHECKING:
    from dovetail.flow import Plan, Workflow

Flow = Annotated[
    Path, typer.Argument(metavar="FLOW", help="A Python or YAML file, or a folder with flow.py.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change an argument of a component.", metavar="COMPONENT.ARG=VALUE"),
]


def validate(flow: Flow, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a workflow without running it: everything that is wrong, at once."""
    try:
        warnings = read(flow, overrides).check()
    except InvalidWorkflowError as error:
        if as_json:
            print_json(
                {
                    "flow": str(flow),
                    "valid": False,
                    "problems": list(error.problems),
                    "warnings": [],
                }
            )
            raise typer.Exit(1) from None
        refuse(flow, error)
    if as_json:
        print_json({"flow": str(flow), "valid": True, "problems": [], "warnings": warnings})
        return
    warn(warnings)
    print(f"{flow} is valid")


def plan(
    flow: Flow,
    overrides: Overrides = None,
    launches: Annotated[
        bool, typer.Option("--launch", help="Also print the command lines.")
    ] = False,
    machine: Annotated[
        str | None,
        typer.Option("--machine", help="Plan for this machine: a name, or a file."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Nodes of the job.", metavar="N")
    ] = None,
    hosts: Annotated[
        str, typer.Option("--hosts", help="Their names, if they are known.", metavar="A,B,…")
    ] = "",
    time: Annotated[
        str, typer.Option("--time", help="Wall time of the job.", metavar="H:MM[:SS]")
    ] = "1:00",
    queue: Annotated[str | None, typer.Option("--queue", help="Of the scheduler.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Of the scheduler.")] = None,
    script: Annotated[
        Path | None,
        typer.Option("--script", help="Write the scheduler's script here.", metavar="FILE"),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Draw the placement here.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every rank, its cores and its wiring, without running anything."""
    given = (nodes, queue, account, script, svg, hosts or None)
    if machine is not None or any(one is not None for one in given):
        from dovetail.cli import placement

        request = placement.Request(
            machine or "local", nodes, tuple(filter(None, hosts.split(","))), time, queue, account
        )
        placement.plan(flow, overrides, request, launches, script, svg, as_json)
        return
    try:
        workflow = read(flow, overrides)
        warnings = workflow.check()
        planned = workflow.plan()
    except InvalidWorkflowError as error:
        refuse(flow, error)
    if as_json:
        print_json(planned.document())
        return
    warn(warnings)
    _print(planned)
    if launches:
        _print_launches(planned)


def read(flow: Path, overrides: list[str] | None) -> Workflow:
    """The workflow in a file; an error of that file's own code ends the command."""
    from dovetail.flow import read_flow

    try:
        return read_flow(flow, overrides or ())
    except (DovetailError, OSError):
        raise
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != str(_file(flow)):
            frames = frames.tb_next
        traceback.print_exception(type(error), error, frames)
        print(f"dovetail: {flow} could not be read", file=sys.stderr)
        raise typer.Exit(1) from None


def refuse(flow: Path, error: InvalidWorkflowError) -> None:
    """Say all that is wrong with a workflow, and end the command."""
    count = len(error.problems)
    print(
        f"dovetail: {flow} has {count} problem{'s' if count != 1 else ''}; nothing was started",
        file=sys.stderr,
    )
    for problem in error.problems:
        print(f"  - {printable(problem)}", file=sys.stderr)
    raise typer.Exit(1)


def warn(warnings: list[str]) -> None:
    """Say what need not be wrong."""
    for warning in warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)


def _file(flow: Path) -> Path:
    return (flow / "flow.py" if flow.is_dir() else flow).absolute()


def _print(plan: Plan) -> None:
    from dovetail.flow.numbers import ranges

    ranks = sum(len(component.placed) for component in plan.components)
    print(
        f"{plan.name}: {len(plan.components)} components, {ranks} ranks, on {len(plan.cores)} "
        f"cores ({ranges(plan.cores)}) of {plan.host}"
    )
    print()
    print_table(
        ["COMPONENT", "RANK>", "CORES", "RUNS", "READS", "WRITES", "STORES", "ON FAILURE"],
        [
            (
                component.name if placed.rank == 0 else "",
                placed.rank,
                "any" if placed.cores is None else ranges(placed.cores),
                *(
                    (
                        f"{component.runs}{' (MPI)' if component.mpi else ''}",
                        ", ".join(component.reads) or "-",
                        ", ".join(component.writes) or "-",
                        ", ".join(component.stores) or "-",
                        _consequence(component.may_fail, component.restarts, component.service),
                    )
                    if placed.rank == 0
                    else ("", "", "", "", "")
                ),
            )
            for component in plan.components
            for placed in component.placed
        ],
    )
    wiring = plan.wiring
    if plan.streams:
        print()
        print_table(
            ["STREAM", "FROM", "TO", "URL"],
            [
                (
                    name,
                    wiring["streams"][name]["writer"],
                    ", ".join(wiring["streams"][name]["readers"]) or "-",
                    url,
                )
                for name, url in plan.streams.items()
            ],
        )
    if plan.stores:
        print()
        print_table(
            ["STORE", "USED BY", "URL"],
            [
                (name, ", ".join(wiring["stores"][name]) or "-", url)
                for name, url in plan.stores.items()
            ],
        )


def _consequence(may_fail: bool, restarts: int, service: bool) -> str:
    consequence = "ignore" if may_fail else f"restart({restarts})" if restarts else "fail"
    return f"{consequence}, service" if service else consequence


def _print_launches(plan: Plan) -> None:
    import shlex

    for component in plan.components:
        print()
        print(component.name)
        for name, text in component.environment.items():
            print(f"  {name}={shlex.quote(text)}")
        for launch in component.launches:
            print(f"  {shlex.join(launch.argv)}")
