"""``dovetail report``: what a run looked like, drawn from its directory.

JSON document (``--json``): ``{directory, report, name, status, reason, started, seconds, host,
dovetail, events, components, streams, stores, starvation, stalls, published, followed, guarded,
exhibits, warnings, troubles}``. The lists hold what the tables of the page show; bytes and seconds
are summed over ranks.
"""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from dovetail.cli.output import AsJson, print_json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")],
    show: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Summarize a run, and draw its page, report.html, anew.

    Only the directory of the run is read. A run that goes on can be looked at as well.
    """
    from dovetail import report

    account = report.account_of(run)
    if not as_json:
        print(report.summary(account), flush=True)  # also where the page cannot be written
    written = report.write(account)
    if as_json:
        print_json({"report": str(written), **account.document()})
    else:
        print(f"\nreport: {written}")
    if show:
        webbrowser.open(written.as_uri())
