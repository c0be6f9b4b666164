"""A handle on a run: what a notebook, a script or the command line holds of it.

The run itself is looked after by a process of its own (:mod:`dovetail.flow.supervise`). The two
watch one another: if the process that holds the handle ends, in whatever way, the run is stopped;
if the supervisor is killed, the handle cleans up after it.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from dovetail.errors import WorkflowFailedError
from dovetail.flow import inside, planning, processes, record, wiring
from dovetail.flow.plan import LOGS, RANKS, TRACE, Plan
from dovetail.flow.record import RunStatus
from dovetail.flow.schema import Workflow
from dovetail.flow.supervise import KILL, STOP, clear, segments_of

RUNS = "runs"
_LOG = f"{LOGS}/supervisor.log"
_living: set[Run] = set()
"""Runs that go on although nobody may hold their handle."""


class Run:
    """A run of a workflow. Get one with :meth:`dovetail.Workflow.start`.

    It ends with the process that started it, at the latest.
    """

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], control: socket.socket):
        self.directory = directory
        """Plan, logs, trace, checkpoints, ``run.json``."""
        self._began = time.time()
        self._process = process
        self._control = control
        _living.add(self)

    @property
    def status(self) -> RunStatus:
        """``running``, ``succeeded``, ``failed`` or ``interrupted``."""
        if self._gone(0):
            status: RunStatus = self._finished()["status"]
            return status
        return "running"

    def document(self) -> dict[str, Any]:
        """``run.json`` as it is now."""
        return self._finished() if self._gone(0) else record.read(self.directory)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until all components have ended.

        Parameters
        ----------
        timeout
            Seconds; the run goes on if they pass. ``None`` waits for ever.

        Raises
        ------
        WorkflowFailedError
            If a component failed, with its last lines; or if the run was interrupted.
        TimeoutError
            If the run has not ended in time.
        """
        if not self._gone(timeout):
            raise TimeoutError(f"the run in {self.directory} has not ended within {timeout} s")
        document = self._finished()
        if document["status"] != "succeeded":
            raise WorkflowFailedError(account(document, self.directory))
        return self

    def ask_to_stop(self) -> None:
        """Have all components asked to end, and return at once."""
        self._say(STOP)

    def kill(self) -> None:
        """Have all components killed, and return at once."""
        self._say(KILL)

    def stop(self) -> None:
        """End the run: components are asked to end, and killed once their grace is over.

        Returns when nothing is left of them. Harmless after the end.
        """
        self.ask_to_stop()
        self._gone(None)
        self._finished()

    def ended(self, timeout: float) -> bool:
        """Whether the run has ended, waiting for that up to `timeout` seconds."""
        return self._gone(timeout)

    def _say(self, order: bytes) -> None:
        try:
            self._control.send(order, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            pass  # it has ended

    def _gone(self, timeout: float | None) -> bool:
        if self._process.returncode is not None:
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            descriptor = os.pidfd_open(self._process.pid)
        except ProcessLookupError:  # another thread, or a caller that ignores SIGCHLD, reaped it
            self._process.wait()
            return True
        try:
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1e3
            if not poller.poll(left):
                return False
        finally:
            os.close(descriptor)
        self._process.wait()
        return True

    def _finished(self) -> dict[str, Any]:
        """``run.json`` at its end, written here if the supervisor could not."""
        self._control.close()
        _living.discard(self)
        try:
            document = record.read(self.directory)
        except FileNotFoundError:
            document = {"status": "running", "components": {}}
        if document["status"] == "running":
            document = self._clean_up(document)
        return document

    def _clean_up(self, document: dict[str, Any]) -> dict[str, Any]:
        """Do what the supervisor would have done, had it not been killed."""
        plan, ours = Plan.read(self.directory), {inside.RUN: str(self.directory)}
        segments = segments_of(plan, document.get("started", self._began))
        segments.look(process.pid for process in processes.everywhere(ours))
        processes.kill_everywhere(ours)
        clear(plan)
        segments.remove()
        code = self._process.returncode
        lines = record.tail(self.directory / _LOG)
        how = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
        document |= {
            "status": "failed",
            "reason": "\n".join([f"the supervisor of the run {how}", *lines]),
            "ended": time.time(),
        }
        for component in document["components"].values():
            if component["status"] in ("running", "pending", "restarting"):
                component |= {"status": "stopped", "ended": document["ended"]}
        record.replace(self.directory, document)
        return document

    def __repr__(self) -> str:
        return f"<Run {self.directory.name}: {self.status}>"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(component['status'])}</td>"
            f"<td>{escape(component['reason'] or '')}</td></tr>"
            for name, component in self.document()["components"].items()
        )
        return (
            f"<b>{escape(self.directory.name)}</b>: {self.status}<table><tr><th>component</th>"
            f"<th>status</th><th></th></tr>{rows}</table>"
        )


def start(flow: Workflow, output: str | os.PathLike[str] | None = None) -> Run:
    """Check a workflow, make its directory, and start its supervisor."""
    flow.check()
    directory = _make_directory(flow.name, output)
    servers = wiring.servers(flow.streams, flow.stores, directory)
    label = wiring.label_of(directory, secrets.token_hex(3))
    plan = planning.make(flow, directory, label, servers)
    for folder in (LOGS, RANKS, TRACE, "checkpoints", "exhibits"):
        (directory / folder).mkdir(mode=0o700)
    for server in servers.values():
        server.description.prepare()
    plan.write()
    record.write_flow(directory, flow.document())
    ours, theirs = socket.socketpair()
    with theirs, open(directory / _LOG, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dovetail.flow.supervise", str(directory)],
            stdin=theirs.fileno(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    run = Run(directory, process, ours)
    while not (directory / record.FILE).exists() and not run.ended(0.002):
        pass
    return run


def account(document: dict[str, Any], directory: Path) -> str:
    """Why a run did not succeed: the reason, and the last lines of those that failed."""
    verb = "failed" if document["status"] == "failed" else "was interrupted"
    said = [f"the run {verb}: {document['reason']}"]
    failed = [
        (name, component)
        for name, component in document["components"].items()
        if component["status"] == "failed"
    ]
    failed.sort(key=lambda pair: not document["reason"].startswith(f"{pair[0]}: "))
    for name, component in failed:
        if component["log"] is not None:
            said.append(f"{name}: the last lines of {directory / component['log']}")
            said += [f"  {line}" for line in component["last_lines"] or ["(it printed nothing)"]]
    return "\n".join(said)


def _make_directory(name: str, output: str | os.PathLike[str] | None) -> Path:
    if output is not None:
        directory = Path(output).absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise FileExistsError(
                f"{directory} is not empty: a run needs a directory of its own; name another, "
                f"or remove it"
            )
        return directory
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    parent = Path(RUNS).absolute()
    parent.mkdir(parents=True, exist_ok=True)
    count = 1
    while True:
        directory = parent / f"{name}-{stamp}{'' if count == 1 else f'-{count}'}"
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            count += 1
            continue
        return directory
