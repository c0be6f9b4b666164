"""``import dovetail`` is light: it brings in neither torch nor MPI nor the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch", "mpi4py", "typer", "click", "rich", "redis", "adios2", "dragon", "pydantic",
    "psutil", "yaml",
    "hypothesis", "pytest", "asyncio", "multiprocessing", "importlib.metadata",
)  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60
    )
    return set(child.stdout.split())


def test_importing_dovetail_loads_nothing_heavy() -> None:
    assert loaded_by("import dovetail").isdisjoint(HEAVY)


def test_every_public_name_can_be_had() -> None:
    assert "dovetail" in loaded_by("from dovetail import *")


def test_using_a_store_needs_no_torch(shm_url: str) -> None:
    use = f"import dovetail; s = dovetail.open_store({shm_url!r}); s.put('a', 1); s.get('a')"
    assert loaded_by(use).isdisjoint({"torch", "mpi4py", "typer"})


def test_the_public_names_are_listed_and_documented() -> None:
    dovetail = pytest.importorskip("dovetail")
    undocumented = [name for name in dovetail.__all__ if not getattr(dovetail, name).__doc__]
    assert not undocumented
    assert set(dovetail.__all__) <= set(dir(dovetail))
