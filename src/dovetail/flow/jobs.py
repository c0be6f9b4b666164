"""A placement with all that starts it: launch lines, environment, and the scheduler's script."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dovetail.flow import inside, launch, planning, wiring
from dovetail.flow.placement.lines import LaunchLine, launch_line
from dovetail.flow.placement.result import Placement, Site
from dovetail.flow.placement.script import Job, script
from dovetail.flow.schema import Workflow


@dataclass(frozen=True, slots=True)
class SiteJob:
    """What is submitted on one machine."""

    site: Site
    lines: tuple[LaunchLine, ...]
    script: str | None
    """None where there is no scheduler."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What would be submitted, on each machine of a placement."""

    placement: Placement
    jobs: tuple[SiteJob, ...]
    directory: str

    def document(self) -> dict[str, Any]:
        """The plan as JSON values."""
        document = self.placement.document()
        for entry, job in zip(document["sites"], self.jobs, strict=True):
            entry["launches"] = [
                {
                    "component": line.component,
                    "argv": list(line.argv),
                    "environment": line.environment,
                }
                for line in job.lines
            ]
            entry["script"] = job.script
        return {"directory": self.directory, **document}


def job_plan(
    flow: Workflow,
    placement: Placement,
    *,
    directory: Path | None = None,
    hours: float = 1.0,
    queue: str | None = None,
    account: str | None = None,
) -> JobPlan:
    """What would be submitted.

    Parameters
    ----------
    directory
        Of the run; by default ``runs/<name>-TIME``, where ``TIME`` stands for the name's end.
    hours
        Wall time of the job.
    queue, account
        Of the scheduler; the queue is by default the first that takes the job.

    Raises
    ------
    InvalidWorkflowError
        If no queue takes the job.
    """
    folder = directory or Path("runs", f"{flow.name}-TIME").absolute()
    return JobPlan(
        placement,
        tuple(_job(flow, site, folder, hours, queue, account) for site in placement.sites),
        str(folder),
    )


def _job(
    flow: Workflow,
    site: Site,
    directory: Path,
    hours: float,
    queue: str | None,
    account: str | None,
) -> SiteJob:
    there = str(directory)
    lines = tuple(
        _line(flow, site, placed.name, number, directory)
        for number, placed in enumerate(site.components)
    )
    if site.machine.scheduler.kind == "none":
        return SiteJob(site, lines, None)
    command = str(Path(sys.executable).with_name("dovetail"))
    job = Job(flow.name, there, str(flow.folder), command, hours, queue, account)
    return SiteJob(site, lines, script(site, lines, job))


def _line(flow: Workflow, site: Site, name: str, number: int, directory: Path) -> LaunchLine:
    there, component = str(directory), flow.components[name]
    servers = wiring.servers(flow.streams, flow.stores, directory)
    streams = wiring.locate(flow.streams, "stream", there, directory.name, servers)
    stores = wiring.locate(flow.stores, "store", there, directory.name, servers)
    line = launch_line(site, name, number, launch.runner(there, name), there)
    environment = {
        **line.environment,
        inside.RUN: there,
        inside.COMPONENT: name,
        inside.ATTEMPT: "0",
        **planning.environment_of(component, site.component(name), there, streams, stores),
    }
    return replace(line, environment=environment, service=component.service)
