"""A solver in Fortran calls the same models: the same bits, the same swap, the same guard."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from clients import building
from model.networks import Closure, inputs_of

import dovetail as dv
from dovetail import native
from dovetail.model import CompiledModel
from dovetail.transport.contract import Store

SOURCE = Path(__file__).parents[1] / "fortran" / "models.f90"

pytestmark = [
    pytest.mark.requires("compiler"),
    pytest.mark.requires("gfortran"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fortran-solver")
    pkgconfig = os.fspath(native.pkgconfig_directory())
    sources = building.run(
        building.tool("pkg-config"), "--variable=fortran", "dovetail", PKG_CONFIG_PATH=pkgconfig
    ).split()
    building.run(
        "gfortran", "-O1", "-g", "-J", folder, "-o", folder / "models", *sources, SOURCE,
        *building.flags(),
    )  # fmt: skip
    return folder / "models"


@pytest.mark.parametrize(("batch", "shared"), [(1, 0), (5, 0), (5, 1), (5, 2)])
def test_fortran_and_python_give_the_same_bits(
    batch: int, shared: int, program: Path, exported: Path, one_thread: CompiledModel, store: Store,
    tmp_path: Path,
) -> None:  # fmt: skip
    inputs = inputs_of(batch)
    (tmp_path / "inputs").write_bytes(b"".join(one.tobytes() for one in inputs))
    dv.publish_model(store, "closure", Closure(1))
    said = building.run(
        program, exported, tmp_path, store.url, batch, DOVETAIL_PYTHON=sys.executable,
        MODEL_SHARED=str(shared),
    )  # fmt: skip
    assert said == "done\n"
    assert (tmp_path / "outputs").read_bytes() == b"".join(
        one.tobytes() for one in one_thread(*inputs)
    )
    python = dv.FollowedModel(store, "closure", one_thread)
    python.refresh()
    assert (tmp_path / "followed").read_bytes() == b"".join(
        one.tobytes() for one in python(*inputs)
    )
