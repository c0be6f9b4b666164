"""One process of a crew: it opens its part of a scene and plays operations when it is told to.

Orders and answers are JSON objects. An order has a key ``do``:

=========  =====================================================  ==============================
``do``     with                                                   answered by
=========  =====================================================  ==============================
``sit``    ``seat``, ``cores``, ``host``: who it is, and where    ``{"seated": true}``
``open``   ``part`` (``module:function``), ``arguments``          ``{"opened": [operations]}``
``play``   ``operation``, ``count``; ``announce``: say first      ``{"took": [start, end]}``
           that it is ready                                       (monotonic seconds)
``close``  nothing                                                ``{"closed": true}``
``leave``  nothing                                                nothing: it ends
=========  =====================================================  ==============================

An order that fails is answered by ``{"failed": why}``.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from dovetail.bench.transports.hosts import enter
from dovetail.bench.transports.seats import Layout, Seat

Action: TypeAlias = Callable[[int], object]
"""Plays an operation so many times."""
Actions: TypeAlias = Mapping[str, Action]
Opened: TypeAlias = AbstractContextManager[Actions]
Part: TypeAlias = Callable[..., Opened]
"""Called with the seat and the arguments of a scene; entered, the process can play."""

_RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
_SET_PARENT_DEATH_SIGNAL = 1


class Line:
    """JSON messages over a connection."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.connection = connection

    def tell(self, **message: Any) -> None:
        """Send a message."""
        self.connection.send_bytes(json.dumps(message).encode())

    def hear(self) -> dict[str, Any]:
        """The next message. Raises EOFError if the other side has gone."""
        message: dict[str, Any] = json.loads(self.connection.recv_bytes())
        return message


def work(line: Line) -> None:
    """Do what is ordered until told to leave, or until nobody is there to tell."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    gc.disable()
    worker = Worker()
    with ExitStack() as unless_failed:
        unless_failed.callback(worker.close)
        while True:
            try:
                order = line.hear()
            except (EOFError, OSError):
                return
            if order["do"] == "leave":
                return
            try:
                answer = worker.obey(order, line)
            except KeyboardInterrupt:
                return
            except Exception as error:
                unless_failed.pop_all()  # what does not work may also not close
                line.tell(failed=f"{type(error).__name__}: {error}")
                return
            line.tell(**answer)


class Worker:
    """What one process of a crew is, and has open."""

    def __init__(self) -> None:
        self._seat: Seat | None = None
        self._scene = ExitStack()
        self._actions: Actions = {}

    def obey(self, order: dict[str, Any], line: Line) -> dict[str, Any]:
        """Follow an order; gives the answer."""
        match order["do"]:
            case "sit":
                if order["host"]:
                    enter(order["host"])
                if order["cores"]:
                    os.sched_setaffinity(0, order["cores"])
                side, rank, layout = order["seat"]
                self._seat = Seat(side, rank, Layout(*layout))
                return {"seated": True}
            case "open":
                part = _part(order["part"])
                self._scene = ExitStack()
                self._actions = self._scene.enter_context(part(self._seat, **order["arguments"]))
                return {"opened": sorted(self._actions)}
            case "play":
                action = self._actions[order["operation"]]
                if order["announce"]:
                    line.tell(ready=True)
                started = time.perf_counter()
                action(order["count"])
                return {"took": [started, time.perf_counter()]}
            case "close":
                self.close()
                gc.collect()
                return {"closed": True}
        raise ValueError(f"no order {order['do']!r}")

    def close(self) -> None:
        """Leave the scene."""
        self._actions = {}
        self._scene.close()


def _part(name: str) -> Part:
    module, _, function = name.partition(":")
    part: Part = getattr(importlib.import_module(module), function)
    return part


def main(address: str, rank: int | None = None) -> None:
    """Take a seat in the crew that waits at a socket."""
    if rank is None:
        rank = next(int(os.environ[name]) for name in _RANK_VARIABLES if name in os.environ)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        connected.connect(address)
        # Not multiprocessing's Client, which Dragon puts another in place of.
        connection: Connection[Any, Any] = Connection(connected.detach())
    with connection:
        line = Line(connection)
        line.tell(rank=rank)
        work(line)


if __name__ == "__main__":
    main(sys.argv[1])
