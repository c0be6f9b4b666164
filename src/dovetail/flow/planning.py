"""From a workflow to its plan."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dovetail.flow import launch, wiring
from dovetail.flow.machines import Machine, find_machine
from dovetail.flow.placement import planner
from dovetail.flow.placement.result import PlacedComponent, Seat
from dovetail.flow.plan import TRACE, Placed, Plan, PlannedComponent, PlannedServer
from dovetail.flow.schema import Component, Workflow
from dovetail.flow.wiring import RunServer
from dovetail.transport.url import variable_of

_THREADS = "OMP_NUM_THREADS"


def make(flow: Workflow, directory: Path, label: str, servers: Mapping[str, RunServer]) -> Plan:
    """The plan of a run.

    Parameters
    ----------
    flow
        A workflow that passed its checks.
    directory
        Of the run; it need not exist.
    label
        What the names in shared memory of this run begin with.
    servers
        Of the run, by the URLs that ask for them.
    """
    there = str(directory)
    machine = find_machine("local")
    site = planner.place(flow, machine).site
    streams = wiring.locate(flow.streams, "stream", there, label, servers)
    stores = wiring.locate(flow.stores, "store", there, label, servers)
    lent = [
        url
        for purpose, urls in (("stream", streams), ("store", stores))
        for url in urls.values()
        if wiring.in_shared_memory(url) and wiring.exists(url, purpose)
    ]
    return Plan(
        name=flow.name,
        directory=there,
        folder=str(flow.folder),
        host=socket.gethostname(),
        cores=tuple(sorted(machine.node.cores)),
        grace=flow.grace,
        components=(
            *(
                _server(server, _served(flow, text, streams, stores), there)
                for text, server in servers.items()
            ),
            *(
                _planned(component, site.component(component.name), machine, there, streams, stores)
                for component in flow.components.values()
            ),
        ),
        streams=streams,
        stores=stores,
        lent=tuple(lent),
    )


def preview(flow: Workflow) -> Plan:
    """The plan of a run that has no directory yet: ``TIME`` stands for its name's end."""
    directory = Path("runs", f"{flow.name}-TIME").absolute()
    servers = wiring.servers(flow.streams, flow.stores, directory)
    return make(flow, directory, f"{flow.name}-TIME", servers)


def environment_of(
    component: Component,
    placed: PlacedComponent,
    directory: str,
    streams: Mapping[str, str],
    stores: Mapping[str, str],
) -> dict[str, str]:
    """What is set for all ranks of a component, above the environment of whoever starts them."""
    opened = [*component.reads, *component.writes]
    environment = {
        "DOVETAIL_TRACE": f"{directory}/{TRACE}",
        **{variable_of(name, "stream"): streams[name] for name in opened},
        **{variable_of(name, "store"): stores[name] for name in component.stores},
    }
    cores = placed.seats[0].cores
    if cores is not None and not placed.on_what_is_left and _THREADS not in os.environ:
        environment[_THREADS] = str(len(cores))
    filled: dict[str, str] = _filled(component.environment, directory)
    return environment | filled


def of_seat(machine: Machine, seat: Seat) -> dict[str, str]:
    """What shows a rank the GPUs of its seat."""
    gpus = machine.node.gpus
    if gpus is None or not seat.gpus:
        return {}
    selectors = {device.name: device.selector for device in gpus.devices}
    shown = ",".join(selectors[name] for name in seat.gpus)
    return {**gpus.environment, gpus.variable: shown}


def _planned(
    component: Component,
    where: PlacedComponent,
    machine: Machine,
    directory: str,
    streams: dict[str, str],
    stores: dict[str, str],
) -> PlannedComponent:
    name, count = component.name, where.process_count
    reads = {stream: streams[stream] for stream in component.reads}
    writes = {stream: streams[stream] for stream in component.writes}
    used = {store: stores[store] for store in component.stores}
    seats = [where.seat_of(rank)[1] for rank in range(count)]
    kind, target = _target(component)
    return PlannedComponent(
        name=name,
        kind=kind,
        target=tuple(_filled(target, directory)),
        arguments=_filled(_arguments(component), directory),
        mpi=component.mpi,
        service=component.service,
        restarts=component.restarts,
        may_fail=component.on_failure == "ignore",
        timeout=component.timeout,
        reads=reads,
        writes=writes,
        stores=used,
        environment=environment_of(component, where, directory, streams, stores),
        placed=tuple(
            Placed(rank, seat.cores, f"logs/{name}.{rank}.log", of_seat(machine, seat))
            for rank, seat in enumerate(seats)
        ),
        launches=(launch.mpi if component.mpi else launch.plain)(directory, name, count),
    )


def _served(
    flow: Workflow, text: str, streams: Mapping[str, str], stores: Mapping[str, str]
) -> tuple[str, ...]:
    """The URLs of what is served by the server that one URL of the workflow asks for."""
    return (
        *(streams[name] for name, url in flow.streams.items() if url == text),
        *(stores[name] for name, url in flow.stores.items() if url == text),
    )


def _server(server: RunServer, serves: tuple[str, ...], directory: str) -> PlannedComponent:
    """A server of the run as a component; no component of a user can have such a name."""
    described = server.description
    component = f"{server.name}.server"
    return PlannedComponent(
        name=component,
        kind="command",
        target=described.command,
        arguments=(),
        mpi=False,
        service=True,
        restarts=0,
        may_fail=False,
        timeout=None,
        reads={},
        writes={},
        stores={},
        environment=dict(described.environment),
        placed=(Placed(0, None, f"logs/{component}.0.log"),),
        launches=launch.plain(directory, component, 1),
        server=PlannedServer(described.url, serves, tuple(map(str, described.leaves))),
    )


def _target(component: Component) -> tuple[Literal["function", "script", "command"], list[str]]:
    if component.function is not None:
        return "function", [component.function]
    if component.script is not None:
        return "script", [component.script]
    return "command", component.command or []


def _arguments(component: Component) -> dict[str, Any] | list[str]:
    """What is passed: of a script always words."""
    if component.script is None or not isinstance(component.arguments, dict):
        return component.arguments
    words = []
    for name, value in component.arguments.items():
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += [str(item) for item in (value if isinstance(value, list) else [value])]
    return words


def _filled(value: Any, directory: str) -> Any:
    """`value` with the directory of the run in place of ``{run}``, however deep."""
    if isinstance(value, str):
        return value.replace("{run}", directory)
    if isinstance(value, list | tuple):
        return [_filled(item, directory) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, directory) for key, item in value.items()}
    return value
