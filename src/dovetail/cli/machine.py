"""``dovetail machine``: the profiles of machines.

JSON documents (``--json``):

======  ========================================================================================
list    ``[{name, file, description, problem}]``
show    the profile, with the keys of a YAML file
check   ``{machine, fits, findings: [{subject, outcome, detail}]}``
schema  the JSON schema of a profile, for editors (always JSON)
======  ========================================================================================
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dovetail.cli.output import AsJson, print_json, print_table
from dovetail.errors import InvalidMachineError

if TYPE_CHECKING:
    from dovetail.flow.machines import Machine

app = typer.Typer(
    help="Profiles of machines: node shape, launcher, scheduler.", no_args_is_help=True
)
Name = Annotated[
    str, typer.Argument(metavar="MACHINE", help="A name from 'machine list', or a YAML file.")
]


@app.command("list", epilog="Example: dovetail machine list")
def list_machines(as_json: AsJson = False) -> None:
    """List the profiles that are found, and from where."""
    from dovetail.flow.machines.catalogue import all_machines

    rows = []
    for name, file, machine in all_machines():
        wrong = isinstance(machine, InvalidMachineError)
        rows.append(
            {
                "name": name,
                "file": None if file is None else str(file),
                "description": ""
                if isinstance(machine, InvalidMachineError)
                else machine.description,
                "problem": str(machine) if wrong else None,
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(
        ["MACHINE", "", "FILE"],
        [(row["name"], row["problem"] or row["description"], row["file"] or "-") for row in rows],
    )


@app.command("show", epilog="Example: dovetail machine show aurora")
def show(name: Name, as_json: AsJson = False) -> None:
    """Show a machine: its nodes, and what is near what."""
    from dovetail.flow.machines import find_machine

    machine = find_machine(name)
    if as_json:
        print_json(machine.document())
        return
    _print(machine)


@app.command("check", epilog="Example: dovetail machine check local")
def check(name: Name, as_json: AsJson = False) -> None:
    """Compare a profile with the machine that this is; exit status 1 if something differs."""
    from dovetail.flow.machines import checking, find_machine

    machine = find_machine(name)
    findings = checking.check(machine)
    fits = all(finding.outcome != "differs" for finding in findings)
    if as_json:
        print_json(
            {
                "machine": machine.name,
                "fits": fits,
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        print_table(
            ["", "SUBJECT", "DETAIL"],
            [(finding.outcome, finding.subject, finding.detail) for finding in findings],
        )
    raise typer.Exit(0 if fits else 1)


@app.command("schema", epilog="Example: dovetail machine schema > machine.schema.json")
def schema() -> None:
    """Print the JSON schema of a profile, by which editors complete and check one."""
    from dovetail.flow.machines import Machine

    print_json(Machine.model_json_schema())


def _print(machine: Machine) -> None:
    from dovetail.flow.numbers import ranges
    from dovetail.quantities import in_bytes

    node, launcher = machine.node, machine.launcher
    print(f"{machine.name}: {machine.description}")
    print()
    threads = (
        f", {node.threads_per_core} hardware threads each" if node.threads_per_core > 1 else ""
    )
    rows = [
        ("nodes", machine.most_nodes if machine.most_nodes is not None else "as the job has"),
        ("cores", f"{len(node.cores)} ({ranges(node.cores)}){threads}"),
    ]
    if node.reserved:
        rows.append(("reserved", ranges(node.reserved)))
    if node.quota is not None:
        rows.append(("quota", f"the time of {node.quota:g} cores"))
    if node.memory is not None:
        rows.append(("memory", in_bytes(node.memory)))
    rows += [
        (
            f"NUMA {number}",
            ranges(domain.cores) + (f", {in_bytes(domain.memory)}" if domain.memory else ""),
        )
        for number, domain in enumerate(node.numa)
    ]
    rows += [
        (f"GPU {device.name}", f"near {ranges(device.cores) or 'nobody knows what'}")
        for device in node.devices
    ]
    rows += [
        (f"NIC {nic.name}", f"near {ranges(nic.cores) or 'nobody knows what'}") for nic in node.nics
    ]
    rows += [(f"list {name}", ",".join(map(str, cores))) for name, cores in node.core_lists.items()]
    if node.gpus is not None:
        rows.append(("GPUs are", f"{node.gpus.kind}, selected by {node.gpus.variable}"))
    rows.append(("launcher", " ".join([launcher.kind, *launcher.options])))
    rows.append(("scheduler", machine.scheduler.kind))
    for queue in machine.scheduler.queues:
        limit = "" if queue.hours is None else f", up to {queue.hours:g} h"
        rows.append((f"queue {queue.name}", f"{queue.nodes[0]}–{queue.nodes[1]} nodes{limit}"))
    paths = machine.paths
    for what, path in (("memory", paths.memory), ("disk", paths.disk), ("scratch", paths.scratch)):
        if path is not None:
            rows.append((f"{what} path", path))
    rows += [("environment", f"{name}={text}") for name, text in machine.environment.items()]
    rows += [
        ("environment", f"{name}={text}") for name, text in machine.process_environment.items()
    ]
    print_table(["WHAT", "IS"], rows)
