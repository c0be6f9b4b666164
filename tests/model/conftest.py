"""A store for each test, and what the tests publish."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from model.shared_ranks import Rank
from model.solver import Solver

import dovetail as dv
from dovetail import native
from dovetail.model import CompiledModel
from dovetail.transport.contract import Store


@pytest.fixture
def store(shm_url: str) -> Iterator[Store]:
    with dv.open_store(f"{shm_url}?capacity=64MiB") as store:
        yield store


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """Where this session's compiled models are kept: each is compiled once."""
    return Path(os.environ["DOVETAIL_CACHE"])


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported :class:`networks.Closure` with seed 0."""
    from model.networks import Closure, inputs_of, tensors_of

    path = tmp_path_factory.mktemp("exported") / "closure.pt2"
    return dv.export_model(Closure(0), tensors_of(inputs_of(1)), path)


@pytest.fixture(scope="session")
def one_thread(exported: Path) -> CompiledModel:
    """It, loaded, with code for one thread."""
    model = dv.load_model(exported, device="cpu", threads=1)
    assert isinstance(model, CompiledModel)
    return model


@pytest.fixture(scope="session")
def two_threads(exported: Path) -> CompiledModel:
    """It, loaded, with code for several threads."""
    model = dv.load_model(exported, device="cpu", threads=2)
    assert isinstance(model, CompiledModel)
    return model


@pytest.fixture
def ranks(exported: Path, one_thread: CompiledModel) -> Iterator[Callable[..., list[Rank]]]:
    """So many ranks, which have loaded the model."""
    started: list[Rank] = []

    def start(count: int, **options: object) -> list[Rank]:
        new = [Rank(exported, **options) for _ in range(count)]
        started.extend(new)
        for rank in new:
            rank.answer()
        return new

    yield start
    for rank in started:
        rank.end()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The solver, built as anybody's: no header and no library of torch."""
    built = tmp_path_factory.mktemp("solver") / "solver"
    subprocess.run(
        ["gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fopenmp",
         f"-I{native.include_directory()}", Path(__file__).with_name("solver.c"), "-o", built,
         f"-L{native.library_directory()}", f"-Wl,-rpath,{native.library_directory()}",
         "-ldovetail"],
        check=True,
        timeout=100,
    )  # fmt: skip
    return built


@pytest.fixture
def started(program: Path, tmp_path: Path) -> Iterator[Callable[..., Solver]]:
    solvers: list[Solver] = []

    def start(**environment: str) -> Solver:
        solvers.append(Solver(program, tmp_path, **environment))
        return solvers[-1]

    yield start
    for solver in solvers:
        assert solver.end() == 0
