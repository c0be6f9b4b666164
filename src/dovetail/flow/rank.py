"""One rank of a component: ``python -m dovetail.flow.rank DIRECTORY COMPONENT [--rank N]``.

Finds out which rank it is, sends its output to a log of its own, binds itself to its cores, ties
its life to that of whoever started it, and then becomes the component: a function is called, a
Python script is run, anything else takes this process over.
"""

from __future__ import annotations

import importlib
import inspect
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from dovetail.flow import affinity, files, inside
from dovetail.flow.launch import RANK_VARIABLES
from dovetail.flow.plan import RANKS, Plan, PlannedComponent, PlannedServer
from dovetail.flow.processes import die_with_parent

ASKED_TO_END = 128 + signal.SIGTERM
"""The exit status of a component that SIGTERM asked to end."""

_SECONDS_FOR_A_SERVER = 60.0
"""How long a server of the run may take until it is ready."""
_SECONDS_TO_END = 2.0
"""How long threads and exit handlers of a rank that failed may keep it."""
_OURS = (__file__, runpy.__file__, importlib.__file__)


def main() -> None:
    """Become the rank that the command line names."""
    die_with_parent()
    directory, name, *given = sys.argv[1:]
    plan = Plan.read(directory)
    component = plan.component(name)
    rank = int(given[1]) if given else _mpi_rank()
    attempt = int(os.environ.get(inside.ATTEMPT, "0"))
    _into_log(Path(directory, files.of_attempt(component.placed[rank].log, attempt)))
    os.environ[inside.RANK] = str(rank)
    os.environ[inside.SIZE] = str(len(component.placed))
    os.environ.update(component.placed[rank].environment)
    affinity.bind(component.placed[rank].cores, Path(directory), name, rank, attempt)
    signal.signal(signal.SIGTERM, _end)
    note = Path(directory, RANKS, f"{name}.{rank}.{attempt}.json")
    started = {"pid": os.getpid(), "started": time.time()}
    if component.mpi:
        files.replace(note, started)
    work = _work(component, plan.folder)
    for server in plan.servers_of(component):
        _await(server)
    status = _status_of(work)
    if component.mpi:
        files.replace(note, started | {"ended": time.time(), "exit": status})
    _leave(status)


def _mpi_rank() -> int:
    for variable in RANK_VARIABLES:
        if variable in os.environ:
            return int(os.environ[variable])
    sys.exit(
        f"none of {', '.join(RANK_VARIABLES)} is set: mpiexec did not tell this process its rank"
    )


def _await(server: PlannedServer) -> None:
    """Wait until a server of the run is ready."""
    from dovetail.transport.registry import open_store

    open_store(server.url, timeout=_SECONDS_FOR_A_SERVER).close()


def _into_log(log: Path) -> None:
    descriptor = files.private(str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind: ``with`` blocks end. Once: what they do is not to be interrupted."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(ASKED_TO_END)


def _work(component: PlannedComponent, folder: str) -> Callable[[], object]:
    if component.kind == "function":
        module, _, path = component.target[0].partition(":")
        return lambda: _call(module, path, component.arguments, folder)
    if component.kind == "script" and component.target[0].endswith(".py"):
        return lambda: _run_script(Path(folder, component.target[0]), component.arguments)
    words = list(component.target)
    if component.kind == "script":
        words = [str(Path(folder, words[0])), *component.arguments]
    return lambda: _become(words)


def _call(module: str, path: str, arguments: Any, folder: str) -> object:
    sys.path.insert(0, folder)
    function: Any = importlib.import_module(module)
    for name in path.split("."):
        function = getattr(function, name)
    made = function(**arguments)
    if inspect.iscoroutine(made) or inspect.isgenerator(made):
        kind = type(made).__name__
        made.close()
        raise TypeError(
            f"{module}:{path} returned a {kind}, of which nothing has run: name a function that "
            f"does the work before it returns"
        )
    return made


def _run_script(path: Path, words: Any) -> object:
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path), *words]
    return runpy.run_path(str(path), run_name="__main__")


def _become(words: list[str]) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on
    try:
        os.execvp(words[0], words)
    except OSError as error:
        print(f"{words[0]} cannot be started: {error.strerror}", file=sys.stderr)
        raise SystemExit(127 if isinstance(error, FileNotFoundError) else 126) from None


def _status_of(work: Callable[[], object]) -> int:
    """Do the work; its exit status, as Python would have it. Errors go to the log."""
    try:
        work()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException as error:
        traceback.print_exception(type(error), error, _theirs(error.__traceback__))
        return 1
    return 0


def _theirs(frames: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in the component's own code."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file not in _OURS and not file.startswith("<frozen "):
            break
        frames = frames.tb_next
    return frames


def _leave(status: int) -> NoReturn:
    """Exit, even if threads of a component that failed would go on, or its MPI partners wait."""
    sys.stdout.flush()
    sys.stderr.flush()
    if status not in (0, ASKED_TO_END):
        mpi = sys.modules.get("mpi4py.MPI")
        if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
            mpi.COMM_WORLD.Abort(status)
        timer = threading.Timer(_SECONDS_TO_END, os._exit, [status])
        timer.daemon = True
        timer.start()
    sys.exit(status)


if __name__ == "__main__":
    main()
