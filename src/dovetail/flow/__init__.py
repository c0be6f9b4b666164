"""Workflows: components, the streams and stores between them, and how they are run.

- :mod:`dovetail.flow.schema`: what a workflow is, as a user writes it, in Python or in YAML.
- :mod:`dovetail.flow.checks`: what is wrong with one, found before anything starts.
- :mod:`dovetail.flow.plan`: every rank, its cores and its wiring.
- :mod:`dovetail.flow.launch`: the command lines that start the ranks, plain or under ``mpiexec``.
- :mod:`dovetail.flow.rank`: what a rank does before the component's own code.
- :mod:`dovetail.flow.supervise`: the process that starts, watches and ends them all.
- :mod:`dovetail.flow.running`: a handle on a run.
- :mod:`dovetail.flow.inside`, :mod:`dovetail.flow.exhibits`: what a component can ask and show.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail.flow.exhibits import exhibit
    from dovetail.flow.inside import ThisComponent, this_component
    from dovetail.flow.plan import Plan
    from dovetail.flow.running import Run
    from dovetail.flow.schema import Component, Workflow
    from dovetail.flow.source import read_flow

_HOMES = {
    "Component": "schema",
    "Plan": "plan",
    "Run": "running",
    "ThisComponent": "inside",
    "Workflow": "schema",
    "exhibit": "exhibits",
    "read_flow": "source",
    "this_component": "inside",
}

__all__ = [
    "Component",
    "Plan",
    "Run",
    "ThisComponent",
    "Workflow",
    "exhibit",
    "read_flow",
    "this_component",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: a rank needs neither pydantic nor YAML."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dovetail.flow' has no attribute {name!r}")
    value = getattr(import_module(f"dovetail.flow.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
