"""``dovetail run``: run a workflow, with a line for each component while it runs.

JSON document (``--json``): ``run.json`` of the run as it was at its end, and ``directory``.

Exit status: 0; 1 if a component failed, with its last lines on standard error; 128 and the
number of the signal if the run was interrupted by one (130 for Ctrl-C).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from dovetail.cli.flow import Flow, Overrides, read, refuse, warn
from dovetail.cli.output import AsJson, print_json, printable, sentence
from dovetail.errors import InvalidWorkflowError, WorkflowFailedError

if TYPE_CHECKING:
    from dovetail.flow import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    flow: Flow,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The directory of the run.", metavar="DIR"),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run a workflow until its work is done, a component fails, or Ctrl-C.

    Ctrl-C asks all components to end; a second one kills them.
    """
    from dovetail.cli.progress import follow

    try:
        workflow = read(flow, overrides)
        warn(workflow.check())
        with _Orders() as orders:
            running = workflow.start(output)
            orders.attend(running)
            try:
                follow(running)
            except BaseException:  # nobody can be told any more, as in 'dovetail run … | head'
                running.stop()
                raise
    except InvalidWorkflowError as error:
        refuse(flow, error)
    failure = _failure(running)
    summary = _report(running.directory)
    document = running.document()
    if as_json:
        print_json({"directory": str(running.directory), **document})
    elif summary:
        print(summary)
    if failure is not None:
        for line in f"dovetail: {failure}".splitlines():
            print(printable(line.expandtabs()), file=sys.stderr)
    if document["status"] == "interrupted" and orders.signal is not None:
        raise typer.Exit(128 + orders.signal)
    raise typer.Exit(0 if failure is None else 1)


class _Orders:
    """Turns signals into orders to a run: the first to stop it, the next to kill it.

    While it is entered nothing is interrupted by an exception, so that no moment is a bad one.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first that came."""
        self._times = 0
        self._run: Run | None = None
        self._before: dict[signal.Signals, Any] = {}

    def attend(self, run: Run) -> None:
        """Pass orders on to this run; also those that have come already."""
        self._run = run
        if self._times:
            run.ask_to_stop()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        self._times += 1
        if self._run is None:
            return
        if self._times == 1:
            self._run.ask_to_stop()
        else:
            self._run.kill()

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _failure(run: Run) -> str | None:
    """Why the run did not succeed; with the last lines of the component that failed."""
    try:
        run.wait()
    except WorkflowFailedError as error:
        return str(error)
    return None


def _report(directory: Path) -> str:
    """Draw the report; return what it comes to. The run is over: what goes wrong is only said."""
    try:
        from dovetail import report

        written = report.write(directory)
        return f"{report.summary(directory).rstrip()}\nreport: {written}"
    except Exception as error:
        print(f"warning: no report could be drawn: {sentence(error)}", file=sys.stderr)
        return ""
