"""The launch lines of a placement: for each component the words that start its ranks.

What a launcher cannot say it is not asked: Open MPI binds by files of ranks, so it is told to
leave cores alone, and each rank binds itself, as it does on one machine; GPUs are selected by
``select_gpus.sh``, which is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from dovetail.flow.machines.profile import Machine
from dovetail.flow.numbers import ranges
from dovetail.flow.placement.result import PlacedComponent, Seat, Site

SELECT_GPUS = "select_gpus.sh"
HOSTS = "hosts"
"""The folder of the run in which each component finds the names of its nodes."""
_PROGRAMS = {"hydra": "mpiexec", "openmpi": "mpiexec", "pals": "mpiexec", "srun": "srun"}
_LOCAL_RANKS = {
    "hydra": "MPI_LOCALRANKID",
    "openmpi": "OMPI_COMM_WORLD_LOCAL_RANK",
    "pals": "PALS_LOCAL_RANKID",
    "srun": "SLURM_LOCALID",
}


@dataclass(frozen=True, slots=True)
class LaunchLine:
    """How the ranks of a component are started, all of them at once."""

    component: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    """What is set for it, above the environment of the job."""
    service: bool = False
    """It does not end by itself."""


def launch_line(
    site: Site, name: str, number: int, program: Sequence[str], directory: str
) -> LaunchLine:
    """The launch line of a component.

    Parameters
    ----------
    number
        Of the line among those of the job, from 0 on.
    program
        What each rank runs.
    directory
        Of the run: there are the files that the line names.
    """
    machine, placed = site.machine, site.component(name)
    environment = {
        key: text.replace("{number}", str(number))
        for key, text in {
            **machine.environment,
            **machine.process_environment,
            **_of_gpus(machine, placed),
        }.items()
    }
    if machine.launcher.kind == "processes":
        return LaunchLine(name, tuple(program), environment)
    start = [machine.launcher.program or _PROGRAMS[machine.launcher.kind]]
    words = _WORDS[machine.launcher.kind](site, placed, directory)
    return LaunchLine(
        name,
        (
            *start,
            *words,
            *machine.launcher.options,
            *_selecting(machine, placed, directory),
            *program,
        ),
        environment,
    )


def on_each_node(site: Site, program: Sequence[str], directory: str) -> tuple[str, ...]:
    """The words that run a program once on each node of the job."""
    kind = site.machine.launcher.kind
    if kind == "processes":
        return tuple(program)
    once = PlacedComponent("all", site.node_count, 1, tuple(range(site.node_count)), (Seat(None),))
    start = site.machine.launcher.program or _PROGRAMS[kind]
    return (start, *_WORDS[kind](site, once, directory), *site.machine.launcher.options, *program)


def bind_list(seats: Sequence[Seat]) -> str:
    """Cores of the ranks of a node, in their order, as PALS writes them: ``1-8:9-16``."""
    return ":".join(_in_given_order(seat.cores or ()) for seat in seats)


def select_gpus() -> str:
    """The script that shows each rank its GPUs."""
    return files(__package__).joinpath(SELECT_GPUS).read_text("utf-8")


def needs_select_gpus(site: Site) -> bool:
    """Whether one of its launch lines names the script."""
    return any(seat.gpus for component in site.components for seat in component.seats)


def hosts_file(directory: str, component: str) -> str:
    """Where the names of a component's nodes are."""
    return f"{directory}/{HOSTS}/{component}"


def _pals(site: Site, placed: PlacedComponent, directory: str) -> list[str]:
    bind = f"--cpu-bind=list:{bind_list(placed.seats)}" if _binds(placed) else "--cpu-bind=none"
    return [
        *("-n", str(placed.process_count), "--ppn", str(placed.processes_per_node)),
        *_hosts(site, placed, "--hosts", "--hostfile", directory),
        bind,
    ]


def _hydra(site: Site, placed: PlacedComponent, directory: str) -> list[str]:
    blocks = ["+".join(map(str, seat.cores or ())) for seat in placed.seats]
    bind = ["-bind-to", f"user:{','.join(blocks)}"] if _binds(placed) else ["-bind-to", "none"]
    return [
        *("-n", str(placed.process_count), "-ppn", str(placed.processes_per_node)),
        *_hosts(site, placed, "-hosts", "-f", directory),
        *bind,
    ]


def _openmpi(site: Site, placed: PlacedComponent, directory: str) -> list[str]:
    each = placed.processes_per_node
    names = [f"{site.hosts[node]}:{each}" for node in placed.nodes] if site.hosts else []
    where = ["--host", ",".join(names)] if names else ["--hostfile", _file(directory, placed)]
    return [
        *("-n", str(placed.process_count), "--map-by", f"ppr:{each}:node"),
        *where,
        *("--bind-to", "none", "--oversubscribe"),
    ]


def _srun(site: Site, placed: PlacedComponent, directory: str) -> list[str]:
    masks = [hex(sum(1 << core for core in seat.cores or ())) for seat in placed.seats]
    bind = f"--cpu-bind=mask_cpu:{','.join(masks)}" if _binds(placed) else "--cpu-bind=none"
    # Block distribution evens ranks out; planes fill each node before the next.
    layout = f"plane={placed.processes_per_node}" if placed.uneven else "block"
    names = [site.hosts[node] for node in placed.nodes] if site.hosts else []
    where = ",".join(names) if names else _file(directory, placed)
    return [
        f"--nodes={len(placed.nodes)}",
        f"--ntasks={placed.process_count}",
        f"--ntasks-per-node={placed.processes_per_node}",
        f"--distribution={layout}",
        f"--nodelist={where}",
        "--overlap",
        bind,
    ]


_WORDS = {"pals": _pals, "hydra": _hydra, "openmpi": _openmpi, "srun": _srun}


def _hosts(
    site: Site, placed: PlacedComponent, listed: str, in_file: str, directory: str
) -> list[str]:
    if site.hosts:
        return [listed, ",".join(site.hosts[node] for node in placed.nodes)]
    return [in_file, _file(directory, placed)]


def _file(directory: str, placed: PlacedComponent) -> str:
    return hosts_file(directory, placed.name)


def _binds(placed: PlacedComponent) -> bool:
    return all(seat.cores is not None for seat in placed.seats)


def _in_given_order(cores: Sequence[int]) -> str:
    """``1-8``; what does not go up is written in the order that was asked for."""
    return ranges(cores) if list(cores) == sorted(cores) else ",".join(map(str, cores))


def _of_gpus(machine: Machine, placed: PlacedComponent) -> dict[str, str]:
    """What selectors of GPUs need to mean what the profile says."""
    gpus = machine.node.gpus
    return {} if gpus is None or not placed.seats[0].gpus else gpus.environment


def _selecting(machine: Machine, placed: PlacedComponent, directory: str) -> list[str]:
    """The words that go before a program whose ranks have GPUs of their own."""
    gpus = machine.node.gpus
    if gpus is None or not placed.seats[0].gpus:
        return []
    selectors = {device.name: device.selector for device in gpus.devices}
    seats = ":".join(",".join(selectors[name] for name in seat.gpus) for seat in placed.seats)
    launcher = machine.launcher
    local_rank = launcher.local_rank or _LOCAL_RANKS[launcher.kind]
    return [f"{directory}/{SELECT_GPUS}", local_rank, gpus.variable, seats]
