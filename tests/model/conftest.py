"""A store for each test, and what the tests publish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dovetail as dv
from dovetail.model import CompiledModel
from dovetail.transport.contract import Store


@pytest.fixture
def store(shm_url: str) -> Iterator[Store]:
    with dv.open_store(f"{shm_url}?capacity=64MiB") as store:
        yield store


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this session's compiled models are kept: each is compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("model-cache")
        patch.setenv("DOVETAIL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def exported(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
