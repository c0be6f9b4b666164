"""One component under supervision, over all its attempts.

::

    IDLE → RUNNING → ENDING → SWEEPING → OVER
                        (asked, or a rank failed)   (what its ranks left behind goes, too)

An attempt that was not disturbed goes from RUNNING to OVER. Nothing here waits: whoever calls
:meth:`Supervised.advance` often enough sees it through.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dovetail.flow import files, inside, processes, record
from dovetail.flow.launch import RANK_VARIABLES, Launch
from dovetail.flow.plan import RANKS, Plan, PlannedComponent
from dovetail.flow.record import ComponentRecord, RankRecord

if TYPE_CHECKING:
    import psutil

_ASKED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
"""How a component ends that was asked to."""
_ASKED_MPI = (*_ASKED, int(signal.SIGTERM))
"""mpiexec says 15 for a rank that SIGTERM killed."""
_SWEEP = 2.0
"""Seconds that what a component left behind has to end, at most."""
_UNTIL_GIVEN_UP = 30.0
"""Seconds after which a process that was killed and is still there is left behind, and named."""


class Phase(Enum):
    """Where a component is in an attempt."""

    IDLE = auto()
    RUNNING = auto()
    ENDING = auto()
    SWEEPING = auto()
    OVER = auto()


class Supervised:
    """A component, its processes and its record.

    Parameters
    ----------
    planned
        What to start.
    plan
        Of the run.
    family
        Gives the living processes that belong to the component.
    """

    def __init__(
        self, planned: PlannedComponent, plan: Plan, family: Callable[[str], list[psutil.Process]]
    ) -> None:
        self.planned = planned
        self.phase = Phase.IDLE
        self.failure: str | None = None
        """Why the attempt failed."""
        self.asked = False
        """It was asked to end; its failure is its own nonetheless."""
        self.stuck = False
        """Something of it is still there, although it was killed."""
        self.record = ComponentRecord(planned.service, len(planned.placed))
        self._plan = plan
        self._directory = Path(plan.directory)
        self._family = family
        self._launched: dict[int, Launch] = {}
        self._running: set[int] = set()
        self._ranks: dict[int, RankRecord] = {}
        self._deadline = float("inf")
        self._killed = False
        self._hurried = False
        """Killed on order, not because its grace was over."""

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def over(self) -> bool:
        return self.phase is Phase.OVER

    @property
    def may_restart(self) -> bool:
        """Whether a failure of this attempt may be followed by another one."""
        return self.record.restarts < self.planned.restarts

    @property
    def roots(self) -> set[int]:
        """The processes that its launch lines became and that still run."""
        return self._running

    @property
    def deadline(self) -> float:
        """When :meth:`advance` has something to do at the latest, on the monotonic clock."""
        return self._deadline

    def start(self) -> None:
        """Start all ranks: the first attempt, or the next."""
        if self.record.attempts or self.failure:
            self.record.restarts += 1
        self.failure, self.asked, self._killed = None, False, False
        self._launched, self._running, self._ranks = {}, set(), {}
        self._last = float("inf")
        self.record.status, self.record.reason = "running", None
        self.record.ended = self.record.exit = None
        self.record.last_lines, self.record.log = [], None
        now = time.time()
        self.record.started = self.record.started or now
        self.phase = Phase.RUNNING
        limit = self.planned.timeout
        self._deadline = float("inf") if limit is None else time.monotonic() + limit
        for launch in self.planned.launches:
            try:
                pid = self._spawn(launch)
            except (OSError, ValueError) as error:
                self._fail(f"cannot be started: {error}", None)
                return
            self._launched[pid] = launch
            self._running.add(pid)
            if not self.planned.mpi:
                self._note(launch.ranks[0], pid, now)

    def exited(self, pid: int, status: int) -> bool:
        """Take note that a process has ended; return whether it was one of these."""
        if pid not in self._running:
            return False
        self._running.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        launch = self._launched[pid]
        if self.planned.mpi:
            self._read_notes()
        else:
            rank = self._ranks[launch.ranks[0]]
            rank.ended, rank.exit = time.time(), code
        if self.phase is Phase.RUNNING and code != 0:
            self._fail(self._account(launch, code), launch)
        elif self.phase is Phase.ENDING and not (self.failure or self._killed or self._bowed(code)):
            when = " when it was asked to end" if self.planned.service else ""
            self._fail(f"{self._account(launch, code)}{when}", launch)
        if not self._running:
            if self.phase is Phase.RUNNING:
                self._over()
            else:
                self._sweep()
        return True

    def ask_to_end(self) -> None:
        """SIGTERM to its ranks; SIGKILL once the grace is over."""
        if self.phase is Phase.IDLE:
            self._over()
        elif self.phase is Phase.RUNNING:
            self.asked = True
            self._end(self._plan.grace)

    def kill(self) -> None:
        """SIGKILL to whatever it has, now."""
        if self.phase is Phase.RUNNING:
            self.asked = True
            self._end(0.0)
        if self.phase in (Phase.ENDING, Phase.SWEEPING):
            self._hurried = True
            self._deadline = 0.0
            self.advance()

    def advance(self) -> None:
        """Do what is due."""
        if self.planned.mpi and self.phase is Phase.RUNNING:
            self._read_notes()
        if self.phase in (Phase.ENDING, Phase.SWEEPING) and time.monotonic() >= self._last:
            self._give_up()
        elif self.phase is Phase.SWEEPING:
            left = self._family(self.name)
            if not left:
                self._over()
            elif time.monotonic() >= self._deadline:
                processes.send(signal.SIGKILL, left)
        elif time.monotonic() < self._deadline:
            return
        elif self.phase is Phase.RUNNING:
            self._fail(f"hung: still running after its timeout of {self.planned.timeout:g} s", None)
        elif self.phase is Phase.ENDING:
            self._kill_ranks()

    def _spawn(self, launch: Launch) -> int:
        attempt = self.record.restarts
        log = self._directory / files.of_attempt(launch.log, attempt)
        parent = os.getpid()
        with open(log, "ab", opener=files.private) as output:
            process = subprocess.Popen(
                launch.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._plan.folder,
                env=self._environment(attempt),
                start_new_session=True,
                # Safe: the supervisor has one thread.
                preexec_fn=lambda: processes.die_with(parent),  # noqa: PLW1509
            )
        process.returncode = 0  # its end is seen by processes.reap(), not here
        return process.pid

    def _environment(self, attempt: int) -> dict[str, str]:
        inherited = dict(os.environ)
        if self.planned.mpi:  # those of a job in which we run would be taken for its ranks' own
            for variable in RANK_VARIABLES:
                inherited.pop(variable, None)
        return {
            **inherited,
            **self.planned.environment,
            inside.RUN: self._plan.directory,
            inside.COMPONENT: self.name,
            inside.ATTEMPT: str(attempt),
        }

    def _note(self, rank: int, pid: int, started: float) -> None:
        self._ranks[rank] = RankRecord(self.record.restarts, rank, pid, started)
        self.record.attempts.append(self._ranks[rank])
        self.record.pids.append(pid)

    def _read_notes(self) -> None:
        """What the ranks of an MPI job say of themselves: mpiexec does not."""
        for rank in range(len(self.planned.placed)):
            known = self._ranks.get(rank)
            if known is not None and known.exit is not None:
                continue
            note = self._directory / RANKS / f"{self.name}.{rank}.{self.record.restarts}.json"
            try:
                said: dict[str, Any] = json.loads(note.read_bytes())
            except (OSError, ValueError):
                continue
            if known is None:
                self._note(rank, said["pid"], said["started"])
            self._ranks[rank].ended = said.get("ended")
            self._ranks[rank].exit = said.get("exit")

    def _bowed(self, code: int) -> bool:
        """Whether this is how a component ends that was asked to."""
        return code in (_ASKED_MPI if self.planned.mpi else _ASKED)

    def _account(self, launch: Launch, code: int) -> str:
        """How a process ended, and which rank it was."""
        ranks = [self._ranks[rank] for rank in launch.ranks if rank in self._ranks]
        failed = [rank for rank in ranks if rank.exit not in (None, 0)]
        first = min(failed, key=lambda rank: rank.ended or 0.0, default=None)
        size = len(self.planned.placed)
        who = f"rank {first.rank} of {size} " if first is not None and size > 1 else ""
        code = first.exit if first is not None and first.exit is not None else code
        self._blame(first.rank if first is not None else None, launch)
        self.record.exit = code
        if code < 0:
            return f"{who}was killed by {_signal_name(-code)}"
        return f"{who}exited with status {code}"

    def _blame(self, rank: int | None, launch: Launch | None) -> None:
        """Keep the last lines of the log that says why."""
        logs = [self.planned.placed[rank].log] if rank is not None else []
        logs += [launch.log] if launch is not None else []
        logs += [placed.log for placed in self.planned.placed]
        logs = [files.of_attempt(log, self.record.restarts) for log in logs]
        for log in logs:
            lines = record.tail(self._directory / log)
            if lines:
                self.record.log, self.record.last_lines = log, lines
                return
        self.record.log = logs[0]

    def _fail(self, reason: str, launch: Launch | None) -> None:
        self.failure = reason
        if launch is None:
            self._blame(None, None)
        if self.phase is Phase.RUNNING:
            self._end(self._plan.grace)

    def _end(self, grace: float) -> None:
        self.phase = Phase.ENDING
        self._deadline = time.monotonic() + grace
        if not self._running:
            self._sweep()
            return
        ranks = [rank.pid for rank in self._ranks.values() if rank.pid and rank.exit is None]
        if self.planned.mpi:  # of an executable nobody said whether it has ended
            living = {process.pid for process in self._family(self.name)}
            ranks = [pid for pid in ranks if pid in living]
        for pid in ranks or self._running:
            _signal(pid, signal.SIGTERM)

    def _kill_ranks(self) -> None:
        if not self._killed:
            self._last = time.monotonic() + _UNTIL_GIVEN_UP
        self._killed = True
        self._deadline = time.monotonic() + 0.1
        processes.send(signal.SIGKILL, self._family(self.name))
        for pid in self._running:
            _signal(pid, signal.SIGKILL)

    def _sweep(self) -> None:
        self.phase = Phase.SWEEPING
        self._deadline = time.monotonic() + (0.0 if self._killed else min(_SWEEP, self._plan.grace))
        self._last = self._deadline + _UNTIL_GIVEN_UP
        processes.send(signal.SIGTERM, self._family(self.name))
        self.advance()

    def _give_up(self) -> None:
        """Leave what does not even end when it is killed, and say so."""
        left = sorted({*self._running, *(process.pid for process in self._family(self.name))})
        self._running = set()
        if left:
            self.stuck = True
            first = f"{self.failure}; then " if self.failure else ""
            self.failure = (
                f"{first}{processes.in_words(left)} did not end within {_UNTIL_GIVEN_UP:g} s of "
                f"being killed: stuck in the kernel, or frozen. Look at what it waits for (a "
                f"device, a network file system?)"
            )
            self._blame(None, None)
        self._over()

    def _over(self) -> None:
        self.phase = Phase.OVER
        self._deadline = float("inf")
        self.record.ended = time.time()
        if self.record.exit is None and self.record.started is not None and not self.failure:
            self.record.exit = 0
        if self._killed and self.asked and not self.failure:
            self.record.exit = -signal.SIGKILL
            self.record.reason = (
                "was killed before it had ended"
                if self._hurried
                else f"did not end within {self._plan.grace:g} s of being asked to, and was killed"
            )


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
