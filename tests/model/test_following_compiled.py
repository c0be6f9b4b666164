"""Weights of a compiled model are swapped while it runs."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from model.networks import Closure, eager, inputs_of

import dovetail as dv
from dovetail.model import CompiledModel
from dovetail.transport.contract import Store

pytestmark = [
    pytest.mark.requires("compiler"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:version .* is not taken:RuntimeWarning"),
]


def test_a_published_version_is_taken_whole(store: Store, one_thread: CompiledModel) -> None:
    model = dv.FollowedModel(store, "closure", one_thread)
    inputs = inputs_of(9)
    before = one_thread(*inputs)[0].tobytes()
    for seed in (1, 2, 3):
        net = Closure(seed)
        for weight in net.parameters():  # also the few of a last bias
            weight.data.uniform_(-1, 1)
        dv.publish_model(store, "closure", net)
        assert model.refresh()
        np.testing.assert_allclose(model(*inputs)[0], eager(net, inputs)[0], rtol=1e-5, atol=1e-5)
    assert one_thread(*inputs)[0].tobytes() == before  # what was loaded never changes


def test_each_weight_makes_a_difference(store: Store, one_thread: CompiledModel) -> None:
    """None of them is part of the code."""
    inputs = inputs_of(9)
    weights = {
        name: tensor.numpy().copy() for name, tensor in Closure(0).eval().state_dict().items()
    }
    model = one_thread.another()
    model.replace_weights(weights)
    before = [one.tobytes() for one in model(*inputs)]
    for name, weight in weights.items():
        if name.endswith("num_batches_tracked"):  # only training reads it
            continue
        other = weights | {name: weight + np.float32(0.5)}
        model.replace_weights(other)
        assert [one.tobytes() for one in model(*inputs)] != before, name


def test_a_gate_keeps_a_worse_version_out(store: Store, one_thread: CompiledModel) -> None:
    inputs = inputs_of(32)
    targets = one_thread(*inputs)[0]
    gate = dv.ValidationGate(inputs, targets, max_error=0.1)
    model = dv.FollowedModel(
        store, "closure", one_thread, gate=gate, apply=lambda net, *args: net(*args)[0]
    )
    dv.publish_model(store, "closure", Closure(0))
    assert model.refresh()
    in_force = model(*inputs).tobytes()
    dv.publish_model(store, "closure", Closure(5))
    assert not model.refresh()
    assert model.last_refusal is not None
    assert model.last_refusal.reason == "gate"
    assert model(*inputs).tobytes() == in_force


def test_weights_that_do_not_fit_are_refused(store: Store, one_thread: CompiledModel) -> None:
    import torch

    model = dv.FollowedModel(store, "closure", one_thread)
    dv.publish_model(store, "closure", torch.nn.Linear(3, 3))
    assert not model.refresh()
    assert model.last_refusal is not None
    assert model.last_refusal.reason == "layout"
    broken = Closure(1)
    broken.layers[0].weight.data[0, 0] = float("nan")
    dv.publish_model(store, "closure", broken)
    assert not model.refresh()
    assert model.last_refusal.reason == "non-finite"


def test_replacing_wrong_weights_names_them(one_thread: CompiledModel) -> None:
    model = one_thread.another()
    weights = {name: tensor.numpy() for name, tensor in Closure(1).state_dict().items()}
    for wrong, sentence in (
        ({"layers.0.bias": np.zeros(3, np.float32)}, r"layers.0.bias is float32 \(3,\) and should"),
        ({"layers.0.bias": np.zeros(32)}, "float64"),
        ({"other": np.zeros(3)}, "the weight other is unknown"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model.replace_weights(weights | wrong)
    del weights["mask"]
    with pytest.raises(ValueError, match="the weight mask is missing"):
        model.replace_weights(weights)
    inputs = inputs_of(2)
    assert model(*inputs)[0].tobytes() == one_thread(*inputs)[0].tobytes()


def test_no_call_sees_half_of_a_version(store: Store, one_thread: CompiledModel) -> None:
    """Each answer, while versions come, is that of one version."""
    model = dv.FollowedModel(store, "closure", one_thread, use_initial=True)
    inputs = inputs_of(64)
    nets = [Closure(seed) for seed in range(4)]
    known = {one_thread(*inputs)[0].tobytes()}
    for net in nets:
        one = one_thread.another()
        one.replace_weights({name: w.numpy() for name, w in net.state_dict().items()})
        known.add(one(*inputs)[0].tobytes())
    strange: list[int] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            strange.extend(1 for _ in range(10) if model(*inputs)[0].tobytes() not in known)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        for version in range(100):
            dv.publish_model(store, "closure", nets[version % 4])
            assert model.refresh()
    finally:
        done.set()
        for caller in callers:
            caller.join(60)
    assert not strange


def test_a_guard_gives_the_physics_where_the_model_says_nan(
    store: Store, one_thread: CompiledModel
) -> None:
    scale, shift = inputs_of(6)[1:]

    def apply(net: CompiledModel, x: np.ndarray) -> np.ndarray:
        first: np.ndarray = net(x, scale, shift)[0]
        return first

    model = dv.FollowedModel(store, "closure", one_thread, apply=apply, use_initial=True)
    guard = dv.Guard(model, fallback=lambda x: np.full((6, 4), 7, np.float32), per="sample")
    x = inputs_of(6)[0]
    assert not (guard(x) == 7).all(axis=1).any()
    x[2, 3] = np.nan
    outputs = guard(x)
    assert (outputs == 7).all(axis=1).tolist() == [False, False, True, False, False, False]
    assert guard.statistics().by_reason == {"non-finite output": 1}
