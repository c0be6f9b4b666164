"""Torch modules as followed models."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import dovetail as dv
from dovetail.transport.contract import Store

pytestmark = pytest.mark.requires("torch")


def network(value: float | None = None) -> Any:
    import torch

    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)
    )
    if value is not None:
        for parameter in net.parameters():
            torch.nn.init.constant_(parameter, value)
    return net


def test_a_module_answers_as_the_one_that_was_published_in_evaluation_mode(store: Store) -> None:
    import torch

    trained, x = network(), torch.randn(16, 4)
    trained(x)  # the running statistics travel, too
    dv.publish_model(store, "net", trained)
    model = dv.FollowedModel(store, "net", network())
    assert model.refresh()
    assert torch.equal(model(x), trained.eval()(x))
    assert not model(x).requires_grad


def test_gradients_with_respect_to_the_inputs_pass_through(store: Store) -> None:
    import torch

    dv.publish_model(store, "net", network(0.5))
    model = dv.FollowedModel(store, "net", network())
    model.refresh()
    x = torch.randn(3, 4, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None


def test_neither_the_template_nor_the_published_value_ever_changes(store: Store) -> None:
    import torch

    template = network(0.0)
    model = dv.FollowedModel(store, "net", template)
    for value in (1.0, 2.0, 3.0):
        dv.publish_model(store, "net", network(value))
        model.refresh()
        with torch.no_grad():
            model.model[0].weight += 1.0  # a caller's stray hand
    assert (template[0].weight == 0.0).all()
    assert template.training
    assert (store.get("models/net")["0.weight"] == 3.0).all()


def test_two_copies_take_turns_and_a_refusal_makes_no_third(store: Store) -> None:
    model = dv.FollowedModel(
        store, "net", network(), gate=lambda candidate, attrs: not attrs.get("bad")
    )
    seen = set()
    for value in range(12):
        bad = value % 3 == 2
        dv.publish_model(store, "net", network(value), {"bad": bad})
        if bad:
            with pytest.warns(RuntimeWarning, match="gate"):
                model.refresh()
        else:
            model.refresh()
        seen.add(id(model.model))
        assert (model.model[0].weight == value - bad).all()
    assert len(seen) == 2


def test_a_call_under_way_keeps_its_version_through_later_refreshes(store: Store) -> None:
    import torch

    entered, go_on = threading.Event(), threading.Event()

    class Slow(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((1000,), value))

        def forward(self, slowly: bool) -> Any:
            if slowly:
                entered.set()
                assert go_on.wait(60)
            return self.weight.clone()

    dv.publish_model(store, "net", Slow(1.0))
    model = dv.FollowedModel(store, "net", Slow(0.0))
    model.refresh()
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(model(True)))
    caller.start()
    assert entered.wait(60)
    for value in (2.0, 3.0, 4.0):
        dv.publish_model(store, "net", Slow(value))
        assert model.refresh()
        assert (model(False) == value).all()
    go_on.set()
    caller.join()
    assert (answers[0] == 1.0).all()


def test_a_module_of_another_shape_is_refused(store: Store) -> None:
    import torch

    model = dv.FollowedModel(store, "net", torch.nn.Linear(3, 1))
    dv.publish_model(store, "net", torch.nn.Linear(4, 1))
    with pytest.warns(RuntimeWarning, match=r"weight is float32\[1, 4\] and should be"):
        assert not model.refresh()
    dv.publish_model(store, "net", torch.nn.Linear(3, 1).double())
    with pytest.warns(RuntimeWarning, match="weight is float64"):
        assert not model.refresh()


def test_a_mapping_of_tensors_gives_tensors_for_functional_calls(store: Store) -> None:
    import torch

    net = torch.nn.Linear(3, 1)
    dv.publish_model(store, "net", net)
    model = dv.FollowedModel(
        store,
        "net",
        {name: torch.zeros_like(tensor) for name, tensor in net.state_dict().items()},
        apply=lambda weights, x: torch.func.functional_call(net, weights, (x,)),
    )
    model.refresh()
    x = torch.randn(2, 3)
    assert torch.equal(model(x), net(x))


def test_a_validation_gate_judges_a_module(store: Store) -> None:
    import torch

    x, target = torch.randn(32, 3), torch.randn(32, 1)
    gate = dv.ValidationGate(x, target, max_error=0.5)
    model = dv.FollowedModel(store, "net", torch.nn.Linear(3, 1), gate=gate)
    dv.publish_model(store, "net", torch.nn.Linear(3, 1))
    with pytest.warns(RuntimeWarning, match="validation error"):
        model.refresh()
    assert gate.last_error is not None
    assert gate.last_error > 0.5
