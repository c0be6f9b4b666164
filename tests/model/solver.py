"""A solver in C at work: a process that does what it is told, line by line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Solver:
    """The program at work."""

    def __init__(self, program: Path, folder: Path, **environment: str) -> None:
        self.folder = folder
        with (folder / "stderr").open("a") as complaints:
            self.process = subprocess.Popen(
                [program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                bufsize=1,
                env=os.environ | {"DOVETAIL_PYTHON": sys.executable} | environment,
            )

    def __call__(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        return self.process.stdout.readline().strip()

    def run(
        self,
        inputs: tuple[Any, ...],
        *,
        rows: int | None = None,
        column_major: bool = False,
        count: int = 3,
    ) -> tuple[str, bytes]:
        given, made = self.folder / "inputs", self.folder / "outputs"
        given.write_bytes(b"".join(one.tobytes() for one in inputs))
        batch = len(inputs[0])
        said = self(f"run {batch} {given} {made} {rows or batch} {int(column_major)} {count}")
        return said, made.read_bytes()

    def end(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(60)


def bytes_of(outputs: tuple[Any, ...]) -> bytes:
    return b"".join(one.tobytes() for one in outputs)
