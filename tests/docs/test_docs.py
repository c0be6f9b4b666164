"""Every code block of the README and the documentation does what the page says.

- A ``python`` block runs; the blocks of a page share their names. One with a ``title``, in whatever
  language, is the file of that name instead, and is written.
- A ``console`` block runs its ``$`` lines as one shell script. Each other line must be a line of
  what that prints, in any order; ``...`` stands for anything.
- Other blocks (``sh``, ``text``, ``toml`` …) are only shown.

Each page runs in an empty folder, with shared memory names of its own, and must leave none.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>python|console|sh|toml|yaml|cpp|fortran|c\b)"
    r'(?: title="(?P<title>[^"]+)")?[^\n]*\n'
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
PAGES = {
    str(page.relative_to(ROOT)): page
    for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    if re.search("```(python|console)", page.read_text(encoding="utf-8"))
}
NEEDS = {"gfortran": "$ gfortran", "hiredis": "$ cc stage.c"}
"""What a page needs that has such a line."""
_numbers = itertools.count()


@pytest.fixture
def prefix() -> Iterator[str]:
    """What names in shared memory begin with, so that two sessions on a machine do not meet."""
    prefix = f"docs-{os.getpid()}-{next(_numbers)}-"
    yield prefix
    left = list(Path("/dev/shm").glob(f"dovetail-*/{prefix}*"))
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    assert not left, f"the page does not clean up: {', '.join(path.name for path in left)}"


def parameter(page: str) -> object:
    """A page, with what it needs beyond Python and a compiler for C++."""
    text = PAGES[page].read_text(encoding="utf-8")
    needs = [name for name, said in NEEDS.items() if said in text]
    return pytest.param(page, marks=[pytest.mark.requires(name) for name in needs])


@pytest.mark.parametrize("page", [parameter(page) for page in PAGES])
def test_the_code_on_the_page_works(
    page: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    # Lines of programs that run side by side come whole.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    names: dict[str, object] = {"__name__": "page"}
    for block in BLOCK.finditer(text):
        # A bare shm:// in a workflow is a name of the run's own already.
        code = re.sub(r"shm://(?=\w)", f"shm://{prefix}", textwrap.dedent(block["code"]))
        if block["title"]:
            Path(block["title"]).write_text(code, encoding="utf-8")
        elif block["language"] == "python":
            line = text.count("\n", 0, block.start("code"))
            exec(compile("\n" * line + code, page, "exec"), names)
        elif block["language"] == "console":
            run_in_shell(code)


def run_in_shell(session: str) -> None:
    lines = [line.strip() for line in session.splitlines() if line.strip()]
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = shell.communicate(timeout=100)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.communicate()
    assert shell.returncode == 0, printed
    for line in lines:
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        assert line.startswith("$ ") or re.search(f"^ *{pattern} *$", printed, re.MULTILINE), (
            f"{line!r} was not printed by {commands}:\n{printed}"
        )
