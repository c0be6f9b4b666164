"""What a publisher promises: one value, one version, numbers that only rise."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import dovetail as dv
from dovetail.transport.contract import Store

WEIGHTS = {"layer.weight": np.ones((2, 3), np.float32), "layer.bias": np.zeros(2, np.float32)}


def test_a_model_is_one_value_that_any_reader_of_safetensors_can_open(store: Store) -> None:
    before = time.time()
    version = dv.publish_model(store, "closure", WEIGHTS, {"loss": 0.5, "step": 7})
    value = store.get("models/closure")
    assert version == 1
    assert value.attrs["dovetail.version"] == 1
    assert before <= value.attrs["dovetail.published"] <= time.time()
    assert (value.attrs["loss"], value.attrs["step"]) == (0.5, 7)
    assert store.keys() == ["models/closure"]
    assert store.path is not None
    (file,) = store.path.glob("*.safetensors")
    np.testing.assert_equal(load_file(file), WEIGHTS)


def test_versions_rise_through_restarts_of_the_publisher_and_deletions(shm_url: str) -> None:
    numbers = []
    for _ in range(3):
        with dv.open_store(shm_url) as store:
            numbers += [dv.publish_model(store, "closure", WEIGHTS) for _ in range(2)]
            numbers += [dv.publish_model(store, "closure", WEIGHTS)]
            store.delete("models/closure")
    assert numbers == list(range(1, 10))


def test_models_of_different_names_are_counted_apart(store: Store) -> None:
    assert [dv.publish_model(store, name, WEIGHTS) for name in ("a", "b", "a")] == [1, 1, 2]


def test_publishers_at_the_same_time_never_share_a_number(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda _: dv.publish_model(store, "m", WEIGHTS), range(200)))
    assert sorted(numbers) == list(range(1, 201))


def test_a_store_that_is_full_keeps_the_version_before(shm_url: str) -> None:
    with dv.open_store(f"{shm_url}?capacity=2MiB") as store:
        dv.publish_model(store, "closure", WEIGHTS)
        with pytest.raises(dv.StoreFullError):
            dv.publish_model(store, "closure", {"w": np.zeros(1 << 20)})
        assert store.get("models/closure").attrs["dovetail.version"] == 1
        assert dv.publish_model(store, "closure", WEIGHTS) > 1


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (object(), dv.UnsupportedDataError, "is no model"),
        ({}, dv.UnsupportedDataError, "no weights"),
        ({"w": object()}, dv.UnsupportedDataError, "the weight 'w'"),
        ({3: np.ones(1)}, dv.UnsupportedDataError, "a weight has a name, not 3"),
        ({"dovetail.x": np.ones(1)}, ValueError, "reserved"),
    ],
)
def test_what_is_no_model_is_refused(
    store: Store, model: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        dv.publish_model(store, "closure", model)
    assert store.keys() == []


def test_attributes_that_are_ours_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"dovetail\.version"):
        dv.publish_model(store, "closure", WEIGHTS, {"dovetail.version": 3})


@pytest.mark.requires("torch")
def test_a_torch_module_is_published_whole_with_every_dtype_of_its_state(store: Store) -> None:
    import torch

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last),
        torch.nn.BatchNorm2d(4),
        torch.nn.Linear(2, 2, dtype=torch.bfloat16),
    )
    dv.publish_model(store, "net", net)
    value = store.get("models/net")
    for name, tensor in net.state_dict().items():
        assert torch.equal(value.torch(name), tensor), name
    assert value["1.num_batches_tracked"].shape == ()


@pytest.mark.requires("torch")
def test_wrappers_of_torch_do_not_show_in_the_names(store: Store, tmp_path: Path) -> None:
    import torch

    net = torch.nn.Linear(2, 2)

    class Wrapper(torch.nn.Module):
        """As DistributedDataParallel and torch.compile name their content."""

        def __init__(self, name: str, inner: torch.nn.Module) -> None:
            super().__init__()
            self.add_module(name, inner)

    dv.publish_model(store, "net", Wrapper("module", Wrapper("_orig_mod", net)))
    assert sorted(store.get("models/net")) == ["bias", "weight"]
    followed = dv.FollowedModel(store, "net", torch.compile(torch.nn.Linear(2, 2), backend="eager"))
    assert followed.refresh()
    assert torch.equal(followed.model.state_dict()["_orig_mod.weight"], net.weight)


def test_names_of_attributes_that_are_no_text_are_as_in_any_value(store: Store) -> None:
    dv.publish_model(store, "closure", WEIGHTS, {3: "epochs"})  # type: ignore[dict-item]
    assert store.get("models/closure").attrs["3"] == "epochs"
