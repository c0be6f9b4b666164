"""The real command, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [str(Path(sys.executable).with_name("dovetail"))]
if not Path(COMMAND[0]).exists():
    COMMAND = [sys.executable, "-c", "from dovetail.cli import main; main()"]


class Dovetail:
    """Runs ``dovetail`` and looks at what came of it."""

    command = COMMAND

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self.command, *map(str, arguments)],
            input=stdin,
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
            timeout=60,
        )

    def output(self, *arguments: str | Path, stdin: bytes = b"") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def json(self, *arguments: str | Path, stdin: bytes = b"") -> Any:
        return json.loads(self.output(*arguments, "--json", stdin=stdin))

    def error(self, *arguments: str | Path, status: int = 1) -> str:
        """The sentence on standard error."""
        done = self(*arguments)
        text = done.stderr.decode()
        assert done.returncode == status, text
        assert "Traceback" not in text
        return text


@pytest.fixture
def dovetail() -> Dovetail:
    return Dovetail()
