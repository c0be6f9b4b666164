"""The script for the scheduler: one that a person can read, change, and submit by hand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dovetail.errors import InvalidWorkflowError
from dovetail.flow.machines.profile import Machine
from dovetail.flow.numbers import ranges
from dovetail.flow.placement.lines import (
    HOSTS,
    SELECT_GPUS,
    LaunchLine,
    hosts_file,
    needs_select_gpus,
    on_each_node,
    select_gpus,
)
from dovetail.flow.placement.result import Site
from dovetail.transport.url import near_match

_NO_ACCOUNT = "ACCOUNT"


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of the scheduler besides nodes."""

    name: str
    directory: str
    """Of the run."""
    folder: str
    """Of the workflow: there the components run."""
    dovetail: str = "dovetail"
    """The command."""
    hours: float = 1.0
    queue: str | None = None
    account: str | None = None


def queue_for(machine: Machine, nodes: int, job: Job) -> str | None:
    """The queue that was named, or the first that takes the job; None where there are none.

    Raises
    ------
    InvalidWorkflowError
        If there is none that takes it, with the limits.
    """
    queues = machine.scheduler.queues
    known = {queue.name: queue for queue in queues}
    if job.queue is not None and queues and job.queue not in known:
        raise InvalidWorkflowError(
            f"{machine.name} has no queue {job.queue!r}{near_match(job.queue, known)}; there are "
            f"{', '.join(known)}"
        )
    candidates = [known[job.queue]] if job.queue in known else queues
    for queue in candidates:
        least, most = queue.nodes
        if least <= nodes <= most and (queue.hours is None or job.hours <= queue.hours):
            return queue.name
    if not candidates:
        return job.queue
    limits = "; ".join(
        f"{queue.name} takes {queue.nodes[0]}–{queue.nodes[1]} nodes"
        + ("" if queue.hours is None else f" for up to {queue.hours:g} h")
        for queue in candidates
    )
    raise InvalidWorkflowError(
        f"no queue of {machine.name} takes {nodes} node{'s' if nodes != 1 else ''} for "
        f"{job.hours:g} h: {limits}"
    )


def script(site: Site, lines: Sequence[LaunchLine], job: Job) -> str:
    """The script that runs the launch lines inside a job.

    Raises
    ------
    InvalidWorkflowError
        If no queue takes the job.
    """
    parts = [
        ["#!/bin/bash", *_directives(site, job)],
        [
            "set -u",
            f"run={shlex.quote(job.directory)}",
            f"cd {shlex.quote(job.folder)} || exit 1",
        ],
        site.machine.setup and ["# Modules", *site.machine.setup],
        ["# The nodes of the job, and those of each component", *_node_split(site)],
        ["# Before anything starts", *_preflight(site, lines)],
        ["# What dead processes left in the memory of the nodes goes", *_cleaning(site, job)],
        needs_select_gpus(site) and _gpu_selection(),
        _END,
        *(["# " + _about(site, line), *_start(line, job)] for line in lines),
        [*_LAST, *_cleaning(site, job), "exit $status"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _directives(site: Site, job: Job) -> Iterator[str]:
    machine = site.machine
    queue, hours = queue_for(machine, site.node_count, job), _clock(job.hours)
    account = job.account or (_NO_ACCOUNT if machine.scheduler.account else None)
    if machine.scheduler.kind == "pbs":
        yield f"#PBS -N {job.name[:15]}"
        yield f"#PBS -l select={site.node_count}"
        yield f"#PBS -l walltime={hours}"
        yield from (f"#PBS {words}" for words in machine.scheduler.resources)
        yield from (f"#PBS -q {queue}" for _ in [0] if queue)
        yield from (f"#PBS -A {account}" for _ in [0] if account)
    elif machine.scheduler.kind == "slurm":
        yield f"#SBATCH --job-name={job.name}"
        yield f"#SBATCH --nodes={site.node_count}"
        yield f"#SBATCH --time={hours}"
        yield "#SBATCH --exclusive"
        yield from (f"#SBATCH {words}" for words in machine.scheduler.resources)
        yield from (f"#SBATCH --partition={queue}" for _ in [0] if queue)
        yield from (f"#SBATCH --account={account}" for _ in [0] if account)


def _node_split(site: Site) -> Iterator[str]:
    everyone = f'"$run/{HOSTS}/all"'
    yield f'mkdir -p "$run/{HOSTS}"'
    if site.hosts:
        yield f"printf '%s\\n' {shlex.join(site.hosts)} > {everyone}"
    elif site.machine.scheduler.kind == "pbs":
        yield f"awk '!seen[$0]++' \"$PBS_NODEFILE\" > {everyone}"
    elif site.machine.scheduler.kind == "slurm":
        yield f'scontrol show hostnames "$SLURM_JOB_NODELIST" > {everyone}'
    else:
        yield f"hostname > {everyone}"
    for component in site.components:
        lines = ranges(node + 1 for node in component.nodes)
        picked = "".join(f"{part.replace('-', ',')}p;" for part in lines.split(","))
        own = hosts_file("$run", component.name)
        yield f"sed -n '{picked.rstrip(';')}' {everyone} > \"{own}\""


def _preflight(site: Site, lines: Sequence[LaunchLine]) -> Iterator[str]:
    yield f'nodes=$(wc -l < "$run/{HOSTS}/all")'
    yield f'if [ "$nodes" -lt {site.node_count} ]; then'
    yield f'  echo "the job has $nodes nodes, and the plan needs {site.node_count}" >&2'
    yield "  exit 1"
    yield "fi"
    for program in dict.fromkeys(line.argv[0] for line in lines):
        name = shlex.quote(program)
        missing = shlex.quote(f"there is no {program} on the PATH: load its module")
        yield f"command -v {name} > /dev/null || {{ echo {missing} >&2; exit 1; }}"


def _cleaning(site: Site, job: Job) -> Iterator[str]:
    words = on_each_node(site, (job.dovetail, "clean"), job.directory)
    yield " ".join(_quoted(word, job) for word in words)


def _gpu_selection() -> list[str]:
    return [
        "# Shows each rank its GPUs",
        f"cat > \"$run/{SELECT_GPUS}\" <<'END_OF_{SELECT_GPUS.partition('.')[0].upper()}'",
        select_gpus().rstrip("\n"),
        f"END_OF_{SELECT_GPUS.partition('.')[0].upper()}",
        f'chmod +x "$run/{SELECT_GPUS}"',
    ]


def _about(site: Site, line: LaunchLine) -> str:
    placed = site.component(line.component)
    nodes = ranges(node + 1 for node in placed.nodes)
    count = len(placed.nodes)
    return (
        f"{line.component}: {placed.process_count} rank{'s' if placed.process_count != 1 else ''}, "
        f"{placed.processes_per_node} a node, on node{'s' if count != 1 else ''} {nodes} of the job"
    )


def _start(line: LaunchLine, job: Job) -> Iterator[str]:
    yield "("
    yield from (f"  export {name}={shlex.quote(text)}" for name, text in line.environment.items())
    yield f"  exec {' '.join(_quoted(word, job) for word in line.argv)}"
    yield ") &"
    yield 'services="$services $!"' if line.service else 'work="$work $!"'


def _quoted(word: str, job: Job) -> str:
    """A word for the shell, with the directory of the run as ``$run``."""
    rest = word.removeprefix(f"{job.directory}/")
    if rest != word and shlex.quote(rest) == rest:
        return f'"$run/{rest}"'
    return '"$run"' if word == job.directory else shlex.quote(word)


_END = """\
work= services=
end() {
  trap - TERM INT
  for pid in $work $services; do kill "$pid" 2> /dev/null; done
  wait
}
trap 'end; exit 143' TERM INT""".splitlines()
_LAST = """\
# The work is done when all components but the services have ended; one that fails ends it all
status=0
left=$work
while [ -n "$left" ]; do
  still=
  for pid in $left; do
    if kill -0 "$pid" 2> /dev/null; then
      still="$still $pid"
    else
      wait "$pid" || { status=$?; echo "process $pid failed with status $status" >&2; break 2; }
    fi
  done
  left=$still
  [ -z "$left" ] || sleep 1
done
end""".splitlines()


def _clock(hours: float) -> str:
    seconds = round(hours * 3600)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
