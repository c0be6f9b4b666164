"""What the child processes of the workflow faults do."""

from __future__ import annotations

import os
import sys

from dovetail.testing.children import Channel

WARM = [
    "dovetail.cli.app",
    "dovetail.cli.progress",
    "dovetail.flow.running",
    "dovetail.flow.source",
    "dovetail.flow.checks",
    "dovetail.report",
    "dovetail.report.page",
    "dovetail.report.text",
    "psutil",
    "yaml",
]
"""What the command imports before it starts a run: fresh interpreters differ only in that."""


def command(channel: Channel, arguments: list[str], folder: str, output: str) -> None:
    """The command ``dovetail``; sends its exit status."""
    os.chdir(folder)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["dovetail", *arguments]
    from dovetail.cli import main

    channel.send("ready")
    try:
        main()
    except SystemExit as end:
        channel.send(end.code or 0)
