"""The plan of a run: every rank, its cores, what it runs and what it is wired to.

Made once from a workflow (:mod:`dovetail.flow.planning`), written to ``plan.json`` in the
directory of the run, and read there by the supervisor and by every rank. Nothing else passes
between them before they start.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from dovetail.flow import files
from dovetail.flow.launch import Launch

FILE = "plan.json"
LOGS = "logs"
RANKS = "ranks"
TRACE = "trace"
SERVERS = "servers"


@dataclass(frozen=True, slots=True)
class Placed:
    """A rank and where it runs."""

    rank: int
    cores: tuple[int, ...] | None
    """The cores that it is bound to; ``None`` if it may use any."""
    log: str
    """Its output, relative to the directory of the run. Restart k appends ``.k``."""
    environment: dict[str, str] = field(default_factory=dict)
    """What is set for this rank alone: its GPUs."""


@dataclass(frozen=True, slots=True)
class PlannedServer:
    """What a component is that serves a stream or a store of the run."""

    url: str
    """At which a store can be opened as soon as it is ready: so long the others wait."""
    serves: tuple[str, ...]
    """The URLs of the run's streams and stores that lie on it."""
    leaves: tuple[str, ...]
    """What is removed after its end."""


@dataclass(frozen=True, slots=True)
class PlannedComponent:
    """A component as it will be started."""

    name: str
    kind: Literal["function", "script", "command"]
    target: tuple[str, ...]
    """``module:function``, the script's path, or the words of the command."""
    arguments: dict[str, Any] | tuple[str, ...]
    mpi: bool
    service: bool
    restarts: int
    """How often it may be restarted."""
    may_fail: bool
    """The run goes on if it fails."""
    timeout: float | None
    """Seconds that an attempt may take."""
    reads: dict[str, str]
    """Streams that it reads: names to URLs."""
    writes: dict[str, str]
    stores: dict[str, str]
    environment: dict[str, str]
    """What is set for its ranks above the caller's environment, the names' URLs included."""
    placed: tuple[Placed, ...]
    """Its ranks, in order."""
    launches: tuple[Launch, ...]
    """The command lines that start them."""
    server: PlannedServer | None = None
    """If it is one of the run's own servers: it ends after all others."""

    @property
    def runs(self) -> str:
        """What it runs, in a word or a few."""
        return " ".join(self.target)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, where, and wired how. Make one with :meth:`dovetail.Workflow.plan`."""

    name: str
    directory: str
    """Of the run."""
    folder: str
    """In which the components run."""
    host: str
    cores: tuple[int, ...]
    """What this machine lets us use."""
    grace: float
    """Seconds between being asked to end and being killed."""
    components: tuple[PlannedComponent, ...]
    streams: dict[str, str]
    """Names to URLs."""
    stores: dict[str, str]
    lent: tuple[str, ...] = ()
    """URLs in shared memory at which something lay before: they are not removed."""

    @property
    def wiring(self) -> dict[str, Any]:
        """Who writes and reads each stream, and who uses each store."""
        return {
            "streams": {
                name: {
                    "writer": next((c.name for c in self.components if name in c.writes), None),
                    "readers": [c.name for c in self.components if name in c.reads],
                }
                for name in self.streams
            },
            "stores": {
                name: [c.name for c in self.components if name in c.stores] for name in self.stores
            },
        }

    def servers_of(self, component: PlannedComponent) -> list[PlannedServer]:
        """The servers of the run that a component uses."""
        used = {*component.reads.values(), *component.writes.values(), *component.stores.values()}
        servers = [other.server for other in self.components if other.server is not None]
        return [server for server in servers if not used.isdisjoint(server.serves)]

    def document(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)

    def write(self) -> None:
        """Write ``plan.json`` into the directory of the run, readable by its owner alone."""
        files.write(Path(self.directory, FILE), self.document())

    @classmethod
    def read(cls, directory: str | os.PathLike[str]) -> Self:
        """The plan of the run in a directory."""
        fields = json.loads(Path(directory, FILE).read_bytes())
        return cls(
            **fields
            | {
                "cores": tuple(fields["cores"]),
                "lent": tuple(fields["lent"]),
                "components": tuple(_component(entry) for entry in fields["components"]),
            }
        )

    def component(self, name: str) -> PlannedComponent:
        """The component of a name."""
        return next(component for component in self.components if component.name == name)


def _component(fields: dict[str, Any]) -> PlannedComponent:
    arguments, server = fields["arguments"], fields["server"]
    return PlannedComponent(
        **fields
        | {
            "target": tuple(fields["target"]),
            "arguments": arguments if isinstance(arguments, dict) else tuple(arguments),
            "server": None
            if server is None
            else PlannedServer(server["url"], tuple(server["serves"]), tuple(server["leaves"])),
            "placed": tuple(
                Placed(
                    entry["rank"],
                    None if entry["cores"] is None else tuple(entry["cores"]),
                    entry["log"],
                    entry["environment"],
                )
                for entry in fields["placed"]
            ),
            "launches": tuple(
                Launch(tuple(entry["argv"]), tuple(entry["ranks"]), entry["log"])
                for entry in fields["launches"]
            ),
        }
    )
