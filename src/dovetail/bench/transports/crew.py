"""The processes of a scene: started together, told what to play, stopped.

They are forked from a warm process, launched by ``mpiexec``, or started inside a Dragon runtime:
whatever they are, they are told the same way (:mod:`dovetail.bench.transports.worker`).
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeAlias

from dovetail.bench.measure import OperationFailedError
from dovetail.bench.transports.hosts import Host
from dovetail.bench.transports.seats import Layout, Seat, seats_of
from dovetail.bench.transports.worker import Line, work

Launcher: TypeAlias = Callable[[int], AbstractContextManager[list[Line]]]
"""Starts so many processes; they end with the ``with`` block."""

SECONDS_TO_START = 90.0
SECONDS_TO_PLAY = 60.0
SECONDS_TO_LEAVE = 5.0
_WARM = ["numpy", "dovetail.transport.engines.local", "dovetail.bench.transports.worker"]
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Crew:
    """Processes in their seats.

    After a failure it is of no use any more, and says why at every further call.
    """

    def __init__(self, lines: Sequence[Line], seats: Sequence[Seat]) -> None:
        self._lines = dict(zip(seats, lines, strict=True))
        self._playing: dict[str, list[Seat]] = {}
        self._failure: str | None = None

    def take_seats(self, hosts: Sequence[Host] = ()) -> None:
        """Say to each who it is: producers on one half of the cores, consumers on the other.

        Where there is one side only, it has them all.
        """
        both = any(seat.side == "consumer" for seat in self._lines)
        halves = _halves() if both else (None, None)
        for seat, line in self._lines.items():
            second = seat.side == "consumer"
            host = hosts[second].pid if hosts else None
            line.tell(do="sit", seat=seat, cores=halves[second], host=host)
        self._answers(self._lines, "seated", SECONDS_TO_START)

    @contextmanager
    def scene(self, part: str, arguments: Mapping[str, Any]) -> Iterator[dict[str, Action]]:
        """Every process opens its part; gives what can be played.

        Raises
        ------
        OperationFailedError
        """
        for line in self._lines.values():
            self._tell(line, do="open", part=part, arguments=dict(arguments))
        offered = self._answers(self._lines, "opened", SECONDS_TO_START)
        self._playing = {}
        for seat, names in offered.items():
            for name in names:
                self._playing.setdefault(name, []).append(seat)
        yield {name: Action(self, name) for name in self._playing}
        if self._failure is None:
            for line in self._lines.values():
                self._tell(line, do="close")
            self._answers(self._lines, "closed", SECONDS_TO_START)

    def play(self, operation: str, count: int) -> float:
        """Have an operation played so many times; gives the seconds it took.

        They run from the first start of a producer (of a consumer, if no producer plays) to the
        last end of all.

        Raises
        ------
        OperationFailedError
        """
        seats = self._playing[operation]
        starting = [seat for seat in seats if seat.side == "producer"] or seats
        waiting = [seat for seat in seats if seat not in starting]
        order = {"do": "play", "operation": operation, "count": count}
        for seat in waiting:
            self._tell(self._lines[seat], **order, announce=True)
        self._answers(waiting, "ready", SECONDS_TO_PLAY)
        for seat in starting:
            self._tell(self._lines[seat], **order, announce=False)
        took = self._answers(seats, "took", SECONDS_TO_PLAY)
        return float(max(took[seat][1] for seat in seats) - min(took[s][0] for s in starting))

    def leave(self) -> None:
        """Let all processes go."""
        for line in self._lines.values():
            with suppress(OSError):
                line.tell(do="leave")

    def _tell(self, line: Line, **order: Any) -> None:
        if self._failure is not None:
            raise OperationFailedError(self._failure)
        try:
            line.tell(**order)
        except OSError:
            self._fail("a process ended early")

    def _answers(
        self, seats: Sequence[Seat] | Mapping[Seat, Line], key: str, patience: float
    ) -> dict[Seat, Any]:
        by_connection = {self._lines[seat].connection: seat for seat in seats}
        answers: dict[Seat, Any] = {}
        deadline = time.monotonic() + patience
        while by_connection:
            ready = wait(list(by_connection), max(0.0, deadline - time.monotonic()))
            if not ready:
                late = ", ".join(f"{seat.side} {seat.rank}" for seat in by_connection.values())
                self._fail(f"no answer ({key}) from {late} within {patience:g} s")
            for connection in ready:
                assert isinstance(connection, Connection)
                seat = by_connection.pop(connection)
                try:
                    answer = self._lines[seat].hear()
                except (EOFError, OSError):
                    self._fail(f"{seat.side} {seat.rank} ended early")
                if "failed" in answer:
                    self._fail(f"{seat.side} {seat.rank}: {answer['failed']}")
                answers[seat] = answer[key]
        return answers

    def _fail(self, why: str) -> Any:
        self._failure = why
        raise OperationFailedError(why)


class Action:
    """An operation of a crew, to be measured."""

    def __init__(self, crew: Crew, name: str) -> None:
        self._crew = crew
        self._name = name

    def __call__(self, count: int) -> float:
        return self._crew.play(self._name, count)


@contextmanager
def crew(launcher: Launcher, layout: Layout, hosts: Sequence[Host] = ()) -> Iterator[Crew]:
    """Processes in the seats of a layout, producers on the first host and consumers on the other.

    Raises
    ------
    OperationFailedError
        If they do not start.
    """
    seats = seats_of(layout)
    with launcher(len(seats)) as lines:
        members = Crew(lines, seats)
        members.take_seats(hosts)
        try:
            yield members
        finally:
            members.leave()


def _halves() -> tuple[list[int], list[int]] | tuple[None, None]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None, None
    return cores[: len(cores) // 2], cores[len(cores) // 2 :]


# --- launchers ---------------------------------------------------------------------------------


@contextmanager
def forked(count: int) -> Iterator[list[Line]]:
    """Processes forked from a warm one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_WARM)
    processes: list[Any] = []
    with ExitStack() as stack:
        stack.callback(_end, processes)
        lines = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            stack.callback(ours.close)
            lines.append(Line(ours))
        yield lines


def _work(connection: Connection[Any, Any]) -> None:
    work(Line(connection))


def _end(processes: Sequence[Any]) -> None:
    """Wait for processes that were told to leave; kill those that do not."""
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def launched(command: Callable[[int, str], list[str]]) -> Launcher:
    """Processes that a command starts, and that come to a socket.

    Parameters
    ----------
    command
        Makes the command from the number of processes and the path of the socket.
    """

    @contextmanager
    def launcher(count: int) -> Iterator[list[Line]]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(_short_folder()))
            address = str(folder / "crew")
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(address)
            listener.listen(count)
            log = stack.enter_context(open(folder / "log", "w+b"))
            process = subprocess.Popen(
                command(count, address),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **_ONE_THREAD},
            )
            stack.callback(_stop, process)
            lines = _come(listener, count, process, folder / "log")
            for line in lines:
                stack.callback(line.connection.close)
            yield lines

    return launcher


def _short_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dovetail-bench-")


def _come(
    listener: socket.socket, count: int, process: subprocess.Popen[bytes], log: Path
) -> list[Line]:
    """The lines to the processes, in the order of their ranks."""
    listener.settimeout(0.2)
    by_rank: dict[int, Line] = {}
    deadline = time.monotonic() + SECONDS_TO_START
    while len(by_rank) < count:
        try:
            connected, _ = listener.accept()
        except TimeoutError:
            if process.poll() is None and time.monotonic() < deadline:
                continue
            how = "in time" if process.poll() is None else "and ended"
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise OperationFailedError(
                f"the processes did not come {how}: {' / '.join(last) or 'no word of why'}"
            ) from None
        connected.setblocking(True)
        line = Line(Connection(connected.detach()))
        by_rank[line.hear()["rank"]] = line
    return [by_rank[rank] for rank in range(count)]


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(SECONDS_TO_LEAVE)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def mpiexec() -> str | None:
    """The ``mpiexec`` beside this interpreter, else the one of the machine."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("mpiexec")


def _mpi_command(count: int, address: str) -> list[str]:
    program = mpiexec()
    assert program is not None
    worker = [sys.executable, "-m", "dovetail.bench.transports.worker", address]
    return [program, "-n", str(count), *worker]


under_mpi = launched(_mpi_command)
"""Processes of one MPI job."""
