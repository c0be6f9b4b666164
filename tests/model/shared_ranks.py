"""Ranks at work that share a model, and their server."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE = 100.0
"""Seconds that anything may take on a busy machine."""


class Rank:
    """A process that shares a model. :meth:`ask` says what it shall do, :meth:`told` what came."""

    def __init__(self, path: Path, **options: Any) -> None:
        environment = options.pop("environment", {})
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("shared_rank.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | environment,
        )
        self.ask("load", str(path), {"threads": 1, "timeout": PATIENCE} | options)

    def ask(self, *command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")

    def told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        assert ready, "the rank says nothing"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def answer(self) -> Any:
        told = self.told()
        assert "error" not in told, told
        assert not told["warnings"], told
        return told["answer"]

    def does(self, *command: Any) -> Any:
        self.ask(*command)
        return self.answer()

    def output(self) -> Any:
        """The first output of a run that was asked for."""
        return np.frombuffer(bytes.fromhex(self.answer()[0]), np.float32).reshape(-1, 4)

    def error(self) -> str:
        told = self.told()
        assert "error" in told, told
        return str(told["error"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Server:
    """The process that the ranks share. It is nobody's child."""

    def __init__(self, rank: Rank) -> None:
        self.number = rank.does("statistics")["process"]
        self._handle = os.pidfd_open(self.number)
        words = Path(f"/proc/{self.number}/cmdline").read_text().split("\0")
        self.place = Path(words[words.index("--place") + 1])

    def signal(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.ends()

    def ends(self) -> bool:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(PATIENCE * 1000))

    def close(self) -> None:
        os.close(self._handle)
