"""A solver in C++ calls the same models, through the header that stands on the library for C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model.networks import Closure, inputs_of

import dovetail as dv
from dovetail import native
from dovetail.model import CompiledModel
from dovetail.transport.contract import Store

pytestmark = [pytest.mark.requires("compiler"), pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The solver, built as anybody's."""
    built = tmp_path_factory.mktemp("solver") / "solver"
    subprocess.run(
        ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror",
         f"-I{native.include_directory()}", Path(__file__).with_name("solver.cpp"), "-o", built,
         f"-L{native.library_directory()}", f"-Wl,-rpath,{native.library_directory()}",
         "-ldovetail"],
        check=True,
        timeout=100,
    )  # fmt: skip
    return built


def run(program: Path, folder: Path, model: Path, *follow: str) -> tuple[list[str], bytes]:
    """All that it says, and the outputs of its first call with a batch of 5."""
    given, made = folder / "inputs", folder / "outputs"
    given.write_bytes(b"".join(one.tobytes() for one in inputs_of(5)))
    done = subprocess.run(
        [program, model, "5", given, made, *follow],
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
        env=os.environ | {"DOVETAIL_PYTHON": sys.executable},
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines, done.stderr)
    return lines, made.read_bytes()


@pytest.mark.parametrize("shared", [False, True])
def test_it_gives_the_same_bits_as_python(
    shared: bool, program: Path, tmp_path: Path, exported: Path, one_thread: CompiledModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if shared:
        monkeypatch.setenv("MODEL_SHARED", "1")
    lines, made = run(program, tmp_path, exported)
    assert made == b"".join(one.tobytes() for one in one_thread(*inputs_of(5)))
    assert lines[:3] == [
        "inputs x:float32,-1,8 scale:bfloat16,-1,1 shift:int64,-1",
        "outputs output0:float32,-1,4 output1:bfloat16,-1",
        "ran 1",
    ]
    assert lines[3] == "refused: an array for a model has no gaps: copy it"
    assert lines[4].startswith("refused: the model takes 3 inputs and was given 1")
    assert lines[5:] == ["ran 0", "calls 2 fallbacks 1"]


def test_its_weights_follow_what_is_published(
    program: Path, tmp_path: Path, exported: Path, store: Store, one_thread: CompiledModel
) -> None:
    other = Closure(1).eval()
    dv.publish_model(store, "closure", other)
    followed = dv.FollowedModel(store, "closure", one_thread)
    assert followed.refresh()
    expected = b"".join(np.asarray(one).tobytes() for one in followed(*inputs_of(5)))
    lines, made = run(program, tmp_path, exported, store.url, "closure")
    assert lines[2] == "taken 1 0"
    assert made == expected
    assert made != b"".join(one.tobytes() for one in one_thread(*inputs_of(5)))


def test_what_cannot_be_loaded_is_an_exception(program: Path, tmp_path: Path) -> None:
    (tmp_path / "no.pt2").write_bytes(b"no model")
    with pytest.raises(AssertionError, match="corrupt: "):
        run(program, tmp_path, tmp_path / "no.pt2")
