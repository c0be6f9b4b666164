"""The process that looks after a run: ``python -m dovetail.flow.supervise DIRECTORY``.

It starts the components, watches them, and ends them all, whatever happens: on a failure, on the
word of whoever started it (``stop`` or ``kill``, a line each on standard input), or when that one
is gone. It leaves no process and nothing of the run in shared memory, and keeps ``run.json``.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from dovetail import _native
from dovetail.flow import inside, processes
from dovetail.flow.plan import Plan
from dovetail.flow.record import ComponentRecord, RunRecord, RunStatus
from dovetail.flow.segments import Segments
from dovetail.flow.supervised import Phase, Supervised

if TYPE_CHECKING:
    import psutil

STOP, KILL = b"stop\n", b"kill\n"
"""What whoever started the run may say."""

_TICK = 0.25
"""Seconds after which the processes are looked at again, and the record is written."""
_PATIENCE = 2.0
"""Seconds for which the others go on after a failure that another one must have caused, so that
whoever caused it can say why, and end by itself."""
_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """Sees one run through.

    Parameters
    ----------
    plan
        What to start.
    control
        A descriptor on which orders come; its end is an order to stop.
    """

    def __init__(self, plan: Plan, control: int) -> None:
        self._plan = plan
        self._directory = Path(plan.directory)
        self._control = control
        self._parent = os.getppid()
        self._began = time.time()
        self._segments = segments_of(plan, self._began)
        self._tree = _Tree(plan.directory, self._segments)
        self._components = [
            Supervised(planned, plan, self._tree.family) for planned in plan.components
        ]
        self._ending: RunStatus | None = None
        self._reason: str | None = None
        self._consequences: dict[str, float] = {}
        """When components failed because another one must have."""
        self._record = RunRecord(
            name=plan.name,
            status="running",
            reason=None,
            started=self._began,
            ended=None,
            dovetail=_native.__version__,
            host=plan.host,
            supervisor=os.getpid(),
            components={component.name: component.record for component in self._components},
            streams=plan.streams,
            stores=plan.stores,
            wiring=plan.wiring,
        )
        self._selector = selectors.DefaultSelector()
        self._awake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_TO_STOP):
            signal.signal(number, lambda *_: None)
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        """Start everything; return when all is over and gone."""
        processes.adopt_orphans()
        self._write()
        try:
            for component in self._components:
                component.start()
            self._write()
            # Only needed at the end, and best imported while there is nothing to do.
            from dovetail.flow import wiring  # noqa: F401

            while any(_is_open(component) for component in self._components):
                self._listen()
                self._step()
            if self._ending == "failed":
                self._reason = self._cause()
        except BaseException:
            traceback.print_exc()
            self._ending, self._reason = "failed", "the supervisor failed; see logs/supervisor.log"
        finally:
            grace = min(self._plan.grace, 2.0) if self._ending is None else 0.0
            left = [
                *processes.end_below(grace),
                *clear(self._plan),
                *self._segments.remove(),
            ]
            for problem in left:
                print(problem, file=sys.stderr)
            self._record.status = self._ending or "succeeded"
            self._record.reason = self._reason
            self._record.ended = time.time()
            self._write()

    def _listen(self) -> None:
        """Wait for orders, signals and ends of processes, or until something is due."""
        due = min(component.deadline for component in self._components)
        wait = min(max(due - time.monotonic(), 0.002), _TICK)
        if any(component.phase is Phase.SWEEPING for component in self._components):
            wait = min(wait, 0.01)
        for key, _ in self._selector.select(wait):
            if key.fd == self._awake:
                if {*os.read(self._awake, 4096)} & {*_TO_STOP}:
                    self._interrupt()
                continue
            orders = os.read(self._control, 4096)
            if not orders:
                self._selector.unregister(self._control)
            if KILL in orders:
                self._interrupt()
                for component in self._components:
                    component.kill()
            elif STOP in orders or not orders:
                self._interrupt()
        if os.getppid() != self._parent:
            self._interrupt()

    def _step(self) -> None:
        ended = processes.reap()
        for pid, status in ended:
            for component in self._components:
                if component.exited(pid, status):
                    break
        for component in self._components:
            component.advance()
        for component in self._components:
            if not component.failure or component.planned.may_fail or component.may_restart:
                continue
            if not self._awaits_its_cause(component):
                self._begin_to_end("failed", f"{component.name}: {component.failure}")
        for component in self._components:
            if component.over and _is_open(component):
                self._judge(component)
        if self._ending is None:
            self._end_services()
        else:
            self._end_servers()
        if self._tree.look(self._components) or ended:
            self._write()

    def _awaits_its_cause(self, component: Supervised) -> bool:
        """Whether a component failed because another one does, which has not ended yet."""
        if not _is_consequence(component.record):
            return False
        others = [
            one for one in self._components if one is not component and not one.planned.server
        ]
        if all(one.over for one in others):
            return False
        since = self._consequences.setdefault(component.name, time.monotonic())
        return time.monotonic() < since + _PATIENCE

    def _judge(self, component: Supervised) -> None:
        """Say how a component ended; start it again if that is due."""
        record = component.record
        if component.failure is None:
            stopped = record.started is None or (self._ending is not None and component.asked)
            record.status = "stopped" if stopped else "done"
        elif self._ending is None and component.may_restart:
            record.status = "restarting"
            self._write()
            component.start()
        else:
            record.reason = component.failure
            if record.restarts:
                times = "restart" if record.restarts == 1 else "restarts"
                record.reason += f", after {record.restarts} {times}"
            stopped = component.asked and (self._ending == "interrupted" or _is_consequence(record))
            record.status = "stopped" if stopped and not component.stuck else "failed"
            if component.stuck and self._ending == "interrupted":
                self._reason = f"{self._reason}; {component.name}: {record.reason}"

    def _cause(self) -> str | None:
        """Which failure ended the run: rather one that is no consequence of another."""
        failed = [
            component
            for component in self._components
            if component.record.status == "failed" and not component.planned.may_fail
        ]
        first = min(
            failed,
            key=lambda component: (_is_consequence(component.record), component.record.ended),
            default=None,
        )
        return self._reason if first is None else f"{first.name}: {first.record.reason}"

    def _end_services(self) -> None:
        """Ask services to end once the work is done, readers before those they read from."""
        if any(not (component.over or component.planned.service) for component in self._components):
            return
        living = [component for component in self._components if not component.over]
        if all(component.planned.server for component in living):
            self._end_servers()
            return
        living = [component for component in living if not component.planned.server]
        read = {name for component in living for name in component.planned.reads}
        last = [component for component in living if not read & {*component.planned.writes}]
        for component in last or living:
            component.ask_to_end()

    def _end_servers(self) -> None:
        """Ask the run's own servers to end, once nobody is left who may use them."""
        if all(component.over or component.planned.server for component in self._components):
            for component in self._components:
                component.ask_to_end()

    def _interrupt(self) -> None:
        self._begin_to_end("interrupted", "all components were asked to end")

    def _begin_to_end(self, status: RunStatus, reason: str) -> None:
        if self._ending is not None:
            return
        self._ending, self._reason = status, reason
        for component in self._components:
            if component.planned.server is None:
                component.ask_to_end()

    def _write(self) -> None:
        try:
            self._record.write(self._directory)
        except OSError as error:  # a full disk must not end the run
            print(f"run.json could not be written: {error}", file=sys.stderr)


class _Tree:
    """Which processes belong to which component, and what they use."""

    def __init__(self, directory: str, segments: Segments) -> None:
        self._directory = directory
        self._segments = segments
        self._owners: dict[tuple[int, float], str] = {}
        self._looked = 0.0
        self._used: dict[str, tuple[float, float]] = {}

    def family(self, name: str) -> list[psutil.Process]:
        """The living processes of a component, orphans of it included."""
        below = processes.descendants()
        known = [process for process in below if self._owners.get(_identity(process)) == name]
        variables = {inside.RUN: self._directory, inside.COMPONENT: name}
        return list({*known, *processes.of_environment(variables, below)})

    def look(self, components: list[Supervised]) -> bool:
        """See what the processes use, if it is time again; return whether it was."""
        import psutil

        now = time.monotonic()
        if now - self._looked < 2 * _TICK:
            return False
        self._looked = now
        roots = {pid: component for component in components for pid in component.roots}
        owners: dict[int, Supervised] = dict(roots)
        cpu = {component.name: 0.0 for component in components}
        memory = dict.fromkeys(cpu, 0)
        below = processes.descendants()
        self._segments.look(process.pid for process in below)
        for process in below:  # parents come before their children
            try:
                owner = owners.get(process.pid) or owners.get(process.ppid())
                if owner is None:
                    continue
                owners[process.pid] = owner
                self._owners[_identity(process)] = owner.name
                times = process.cpu_times()
                cpu[owner.name] += times.user + times.system
                memory[owner.name] += process.memory_info().rss
            except psutil.Error:
                continue
        there = {_identity(process) for process in below}
        self._owners = {who: name for who, name in self._owners.items() if who in there}
        for component in components:
            record, name = component.record, component.name
            then, before = self._used.get(name, (now, cpu[name]))
            self._used[name] = now, cpu[name]
            record.cpu_share = max(0.0, cpu[name] - before) / (now - then) if now > then else 0.0
            record.cpu_seconds = max(record.cpu_seconds, cpu[name])
            record.memory = memory[name]
            record.memory_peak = max(record.memory_peak, memory[name])
        return True


def clear(plan: Plan) -> list[str]:
    """Remove what a run made in shared memory, and what its servers leave.

    Returns
    -------
    list of str
        What could not be removed.
    """
    from dovetail.flow import wiring
    from dovetail.transport import serving

    for component in plan.components:
        if component.server is not None:
            serving.remove(component.server.leaves)
    return [
        problem
        for purpose, urls in (("stream", plan.streams), ("store", plan.stores))
        for url in urls.values()
        if wiring.in_shared_memory(url) and url not in plan.lent
        for problem in [wiring.remove(url, purpose)]
        if problem is not None
    ]


def segments_of(plan: Plan, since: float) -> Segments:
    """The shared memory of libraries that a run which began then may leave."""
    return Segments(since, any(component.mpi for component in plan.components))


def _is_open(component: Supervised) -> bool:
    """Whether how the component ended is still to be said; it may be over by then."""
    return not component.over or component.record.status in ("running", "pending")


def _is_consequence(record: ComponentRecord) -> bool:
    """Whether a component failed because another one had."""
    return any("PeerLostError" in line for line in record.last_lines)


def _identity(process: psutil.Process) -> tuple[int, float]:
    return process.pid, process.create_time()


def main() -> None:
    """Look after the run whose directory the command line names."""
    Supervisor(Plan.read(sys.argv[1]), sys.stdin.fileno()).run()


if __name__ == "__main__":
    main()
