"""The other process of a benchmark: started, told what to do, stopped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from dovetail.bench.cores import pinned

Control: TypeAlias = "Connection[Any, Any]"
"""Tells the partner what to do next; nothing of what is measured goes through it."""

SECONDS_TO_START = 60.0


@contextmanager
def partner(
    work: Callable[..., None], *arguments: Any, core: int | None = None
) -> Iterator[Control]:
    """A process that runs ``work(control, *arguments)``, while the ``with`` block lasts.

    It stays on `core`, if that is given. `work` says ``control.send("ready")`` once it can be
    measured, and ends when ``control`` gives ``None`` or is closed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, core, work, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
        ours.send(None)
        process.join(10)
    finally:
        ours.close()
        if process.is_alive():
            process.join(1)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def expect(control: Control, message: str) -> None:
    """Wait until the partner says `message`.

    Raises
    ------
    RuntimeError
        If it says something else, ends, or keeps silent.
    """
    try:
        if not control.poll(SECONDS_TO_START):
            raise RuntimeError(f"the other process of the benchmark did not say {message!r}")
        said = control.recv()
    except EOFError:
        raise RuntimeError("the other process of the benchmark ended early") from None
    if said != message:
        raise RuntimeError(f"the other process of the benchmark failed: {said}")


def _run(
    control: Control, core: int | None, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    try:
        with pinned(core):
            work(control, *arguments)
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:
        control.send(f"{type(error).__name__}: {error}")
