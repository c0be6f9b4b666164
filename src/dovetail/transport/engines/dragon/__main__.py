"""Run a server of ``dragon://`` in the foreground, until it is sent SIGTERM.

::

    python -m dovetail.transport.engines.dragon "dragon://name?nodes=2&memory=8GiB"
    python -m dovetail.transport.engines.dragon FOLDER [--background]

The second form finds its settings in the folder. Starts a Dragon runtime whose first process is
the keeper, and sees to it that nothing of it is left: when this process ends, or is killed, all
ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from dovetail.errors import DovetailError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.dragon import places, server
from dovetail.transport.engines.dragon.client import KeeperLostError, reach
from dovetail.transport.engines.dragon.index import block_of, pool_for
from dovetail.transport.url import parse

ARGUMENTS_VARIABLE = "DOVETAIL_DRAGON_ARGUMENTS"
"""More arguments for the command ``dragon``, such as ``-w ssh --hostlist a,b -t tcp``."""
_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_OF_DICTIONARY = "_dragon_native_python_process_main"
"""In the command line of its orchestrator and its managers."""
_LOOK_AFTER = 0.25
"""Seconds between two looks at the runtime."""
_BESIDES = 4 << 30
"""Bytes of shared memory that Dragon sets aside for itself; most are never touched."""


def main(folder: Path, background: bool) -> int:
    """Be the server of a folder, in a process behind this one if so asked."""
    settings = places.Settings.read(folder)
    # Not closed: who waits for the lock waits for the end of this process.
    lock = os.open(folder / "server.lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"a server of {folder} runs already", file=sys.stderr)
        return 0
    places.forget(folder)
    if background and _step_back(folder):
        return 0
    return _run(folder, settings)


def _step_back(folder: Path) -> bool:
    """Go on in a process behind this one, which holds what this one holds; true in this one."""
    if os.fork():
        return True
    os.setsid()
    silence = os.open(os.devnull, os.O_RDONLY)
    log = os.open(folder / server.LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for standard, descriptor in enumerate((silence, log, log)):
        os.dup2(descriptor, standard)
    return False


def _run(folder: Path, settings: places.Settings) -> int:
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_CHILD_SUBREAPER, 1)
    staging = max(1 << 30, 2 * block_of(settings.memory))
    asked_to_end = False

    def note(*_: object) -> None:
        nonlocal asked_to_end
        asked_to_end = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    with subprocess.Popen(
        _command(folder, settings, staging),
        cwd=folder,
        env=_environment(staging),
        stdin=subprocess.DEVNULL,
        # Safe: this process has one thread.
        preexec_fn=lambda: libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL),  # noqa: PLW1509
    ) as runtime:
        parts: dict[str, psutil.Process] = {}
        while True:
            try:
                status = runtime.wait(_LOOK_AFTER)
                break
            except subprocess.TimeoutExpired:
                pass
            if asked_to_end:
                status = _end(folder, settings, runtime)
                break
            parts = parts or _parts(folder)
            dead = [name for name, part in parts.items() if _is_dead(part)]
            if dead and places.Contact.read(folder) is not None:  # else it is ending in order
                print(f"{' and '.join(dead)} died: ending all of the runtime", file=sys.stderr)
                runtime.kill()
    _kill_descendants()
    places.forget(folder)
    return status


def _parts(folder: Path) -> dict[str, psutil.Process]:
    """The processes that the runtime cannot be without, once it is complete."""
    found: dict[str, psutil.Process] = {}
    if places.Contact.read(folder) is None:
        return found
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if _OF_DICTIONARY in command:
            found[f"process {process.pid} of the dictionary"] = process
    return found


def _is_dead(part: psutil.Process) -> bool:
    try:
        return bool(part.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _command(folder: Path, settings: places.Settings, staging: int) -> list[str]:
    dragon = str(Path(sys.executable).with_name("dragon"))
    keeper = [sys.executable, "-m", "dovetail.transport.engines.dragon.keeper", str(folder)]
    asked = shlex.split(os.environ.get(ARGUMENTS_VARIABLE, ""))
    if settings.nodes > 1:
        return [dragon, "-N", str(settings.nodes), *asked, *keeper]
    command = [dragon, "-s", *asked, *keeper]
    if not settings.isolated:
        return command
    size = staging + pool_for(settings.memory) * 2 + _BESIDES
    mount = f"mount -t tmpfs -o mode=1777,size={size} tmpfs /dev/shm"
    return [*server.isolation(), "sh", "-c", f'{mount} && exec "$@"', "sh", *command]


def _environment(staging: int) -> dict[str, str]:
    kept = dict(os.environ)
    if server.RUNTIME_VARIABLE in kept:  # of a runtime that this is not to be a part of
        kept = {name: text for name, text in kept.items() if not name.startswith("DRAGON_")}
    # Dragon would end all of it as soon as 98 % of the machine's memory is taken, by anybody.
    kept.setdefault("DRAGON_MEMORY_CRITICAL_PCT", "0")
    # Dragon calls its own commands by name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "DRAGON_DEFAULT_SEG_SZ": str(staging)}


def _end(folder: Path, settings: places.Settings, runtime: subprocess.Popen[bytes]) -> int:
    """Ask the keeper to end, which ends the runtime; else end it by force."""
    contact = places.Contact.read(folder)
    # By force only its part on this node would end.
    deadline = Deadline(server.SECONDS_TO_STOP * (0.5 if settings.nodes == 1 else 5))
    try:
        if contact is not None:
            with reach(contact, deadline) as connection:
                connection.ask({"do": "end"}, deadline)
            return runtime.wait(deadline.left())
    except (KeeperLostError, subprocess.TimeoutExpired):
        pass
    runtime.kill()
    return runtime.wait()


def _kill_descendants() -> None:
    """What Dragon has left behind: adopted by this process, since its own parents are gone."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
            child.wait(5)
        except psutil.Error:
            continue


def _folder_of(argument: str) -> Path:
    """The folder that is meant; for a URL, prepared as it asks."""
    if "://" not in argument:
        return Path(argument)
    url = parse(argument, "store")
    url.only("start", "store", *server.OPTIONS)
    folder = places.made(places.place_of(url).folder)
    server.described(url, folder).prepare()
    return folder


if __name__ == "__main__":
    try:
        where = _folder_of(sys.argv[1])
    except DovetailError as error:
        sys.exit(f"dovetail: {error}")
    sys.exit(main(where, "--background" in sys.argv[2:]))
