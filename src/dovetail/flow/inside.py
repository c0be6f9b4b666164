"""What a component can ask about itself while it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dovetail.errors import OutsideRunError

RUN = "DOVETAIL_RUN"
COMPONENT = "DOVETAIL_COMPONENT"
RANK = "DOVETAIL_RANK"
SIZE = "DOVETAIL_SIZE"
ATTEMPT = "DOVETAIL_ATTEMPT"


@dataclass(frozen=True, slots=True)
class ThisComponent:
    """Which part of which run this process is. Get it with :func:`dovetail.this_component`."""

    name: str
    """The component's name in the workflow."""
    rank: int
    """This process among the ranks of the component, 0-based."""
    size: int
    """How many ranks the component has."""
    attempt: int
    """How often the component was restarted in this run: 0 at first."""
    run: Path
    """The directory of the run."""

    @property
    def checkpoints(self) -> Path:
        """The folder in which this component keeps its checkpoints; made on first use.

        All ranks and all attempts of the component share it.
        """
        folder = self.run / "checkpoints" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def this_component() -> ThisComponent:
    """Which component this process is, and in which run.

    Raises
    ------
    OutsideRunError
        If this process was not started by a workflow.
    """
    try:
        return ThisComponent(
            name=os.environ[COMPONENT],
            rank=int(os.environ[RANK]),
            size=int(os.environ[SIZE]),
            attempt=int(os.environ[ATTEMPT]),
            run=Path(os.environ[RUN]),
        )
    except (KeyError, ValueError):
        raise OutsideRunError(
            "this process is not a component of a running workflow: start it with "
            "'dovetail run FLOW', or set DOVETAIL_RUN, DOVETAIL_COMPONENT, DOVETAIL_RANK, "
            "DOVETAIL_SIZE and DOVETAIL_ATTEMPT to try it alone"
        ) from None
