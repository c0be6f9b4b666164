"""A compiled model says what the module says, and refuses what it cannot take."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
import pytest
from model.networks import Closure, eager, inputs_of, tensors_of

import dovetail as dv
from dovetail.model import CompiledModel

pytestmark = [pytest.mark.requires("compiler"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("threads", ["one_thread", "two_threads"])
def test_outputs_are_those_of_the_module_within_rounding(
    batch: int, threads: str, request: pytest.FixtureRequest
) -> None:
    model: CompiledModel = request.getfixturevalue(threads)
    inputs = inputs_of(batch, seed=batch)
    first, second = model(*inputs)
    wanted = eager(Closure(0), inputs)
    np.testing.assert_allclose(first, wanted[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(second.astype(np.float32), wanted[1], rtol=1e-2)  # bfloat16
    assert second.dtype.name == "bfloat16"


def test_outputs_go_into_the_callers_arrays_with_the_same_bits(one_thread: CompiledModel) -> None:
    inputs = inputs_of(5)
    wanted = one_thread(*inputs)
    out = np.full((5, 4), np.nan, np.float32), np.zeros(5, wanted[1].dtype)
    assert one_thread.run(*inputs, out=out) is out
    assert out[0].tobytes() == wanted[0].tobytes()
    assert out[1].tobytes() == wanted[1].tobytes()


def test_a_call_gives_the_same_bits_each_time(one_thread: CompiledModel) -> None:
    inputs = inputs_of(129)
    once = one_thread(*inputs)[0].tobytes()
    assert all(one_thread(*inputs)[0].tobytes() == once for _ in range(20))


def test_tensors_are_answered_with_tensors_of_the_same_bits(one_thread: CompiledModel) -> None:
    import torch

    inputs = inputs_of(3)
    first, second = one_thread(*tensors_of(inputs))
    assert isinstance(first, torch.Tensor)
    assert second.dtype == torch.bfloat16
    assert first.numpy().tobytes() == one_thread(*inputs)[0].tobytes()
    out = torch.empty(3, 4), torch.empty(3, dtype=torch.bfloat16)
    one_thread.run(*tensors_of(inputs), out=out)
    assert torch.equal(out[0], first)


def test_inputs_may_be_read_only_and_are_not_changed(one_thread: CompiledModel) -> None:
    inputs = inputs_of(4)
    before = [one.tobytes() for one in inputs]
    for one in inputs:
        one.flags.writeable = False
    one_thread(*inputs)
    assert [one.tobytes() for one in inputs] == before


def test_outputs_outlive_the_model(exported: Any) -> None:
    model = dv.load_model(exported, device="cpu", threads=1)
    first, _ = model(*inputs_of(4))
    before = first.copy()
    model.close()
    del model
    np.testing.assert_array_equal(first, before)


def test_a_closed_model_is_refused(one_thread: CompiledModel) -> None:
    model = one_thread.another()
    model.close()
    with pytest.raises(dv.TransportClosedError, match="load it again"):
        model(*inputs_of(1))


def test_it_says_what_it_takes_and_gives(one_thread: CompiledModel) -> None:
    assert list(one_thread.inputs) == ["x", "scale", "shift"]
    assert one_thread.inputs["x"].shape == ("batch", 8)
    assert one_thread.inputs["scale"].dtype.name == "bfloat16"
    assert [spec.shape for spec in one_thread.outputs.values()] == [("batch", 4), ("batch",)]
    assert set(one_thread.weights) == set(Closure(0).state_dict())
    assert one_thread.boundless == {"mask"}
    assert "x: float32[batch, 8]" in repr(one_thread)


def _bad_inputs() -> dict[str, tuple[tuple[Any, ...], str]]:
    x, scale, shift = inputs_of(4)
    strided = np.zeros((4, 16), np.float32)[:, ::2]
    return {
        "one missing": ((x, scale), "takes 3 inputs and was given 2: it takes x: float32"),
        "one too many": ((x, scale, shift, x), "takes 3 inputs and was given 4"),
        "a wrong extent": ((x[:, :7].copy(), scale, shift), r"input x is float32 \(4, 7\), and"),
        "a wrong rank": ((x[0], scale, shift), r"input x is float32 \(8,\), and should be"),
        "a wrong dtype": ((x.astype("f8"), scale, shift), r"float64 \(4, 8\), and should be float"),
        "another batch": ((x, scale[:3], shift), "input scale .*: batch is 4 in the inputs before"),
        "an empty batch": ((x[:0], scale[:0], shift[:0]), "batch must be at least 1"),
        "gaps": ((strided, scale, shift), r"input x has gaps.*numpy.ascontiguousarray"),
        "another order": ((np.asfortranarray(x), scale, shift), "another order than row-major"),
        "another byte order": ((x.astype(">f4"), scale, shift), "input x has elements of a kind"),
    }


@pytest.mark.parametrize("fault", _bad_inputs())
def test_wrong_inputs_are_named(fault: str, one_thread: CompiledModel) -> None:
    inputs, sentence = _bad_inputs()[fault]
    with pytest.raises(ValueError, match=sentence):
        one_thread(*inputs)
    one_thread(*inputs_of(1))  # and harm nothing


def test_what_is_no_array_is_refused(one_thread: CompiledModel) -> None:
    _, scale, shift = inputs_of(1)
    with pytest.raises(TypeError, match="NumPy arrays or torch tensors.*not with list"):
        one_thread([[1.0] * 8], scale, shift)


def test_wrong_room_for_outputs_is_named_and_untouched(one_thread: CompiledModel) -> None:
    inputs = inputs_of(4)
    second = one_thread(*inputs)[1]
    for room, sentence in (
        (np.zeros((5, 4), np.float32), r"output output0 is float32 \(5, 4\)"),
        (np.zeros((4, 4)), r"output output0 is float64 \(4, 4\), and should be float32"),
        (np.zeros((4, 8), np.float32)[:, ::2], "output output0 has gaps"),
    ):
        with pytest.raises(ValueError, match=sentence):
            one_thread.run(*inputs, out=(room, second.copy()))
        assert not room.any()
    with pytest.raises(ValueError, match="gives 2 outputs, and there is room for 1"):
        one_thread.run(*inputs, out=np.zeros((4, 4), np.float32))
    fixed = np.zeros((4, 4), np.float32)
    fixed.flags.writeable = False
    with pytest.raises(TypeError, match="writable"):
        one_thread.run(*inputs, out=(fixed, second))


@pytest.mark.parametrize("threads", ["one_thread", "two_threads"])
def test_the_solvers_own_number_of_threads_stays(
    threads: str, request: pytest.FixtureRequest
) -> None:
    import torch

    model: CompiledModel = request.getfixturevalue(threads)
    openmp = ctypes.CDLL("libgomp.so.1")
    before, torch_before = openmp.omp_get_max_threads(), torch.get_num_threads()
    openmp.omp_set_num_threads(7)
    try:
        model(*inputs_of(2000))
        assert openmp.omp_get_max_threads() == 7
        assert torch.get_num_threads() in (7, torch_before)
    finally:
        torch.set_num_threads(torch_before)
        openmp.omp_set_num_threads(before)


def test_calls_from_several_threads_give_each_its_own(one_thread: CompiledModel) -> None:
    inputs = {seed: inputs_of(16 + seed, seed) for seed in range(4)}
    wanted = {seed: one_thread(*inputs[seed])[0].tobytes() for seed in inputs}
    wrong: list[int] = []

    def call(seed: int) -> None:
        wrong.extend(
            seed for _ in range(200) if one_thread(*inputs[seed])[0].tobytes() != wanted[seed]
        )

    callers = [threading.Thread(target=call, args=(seed,)) for seed in inputs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not wrong


def test_the_choice_of_threads_is_kept_for_the_next_process(
    exported: Any, two_threads: CompiledModel, model_cache: Any
) -> None:
    two_threads(*inputs_of(3000))
    (kept,) = model_cache.glob("models/*/threads-2")
    chosen = dict(map(int, line.split()) for line in kept.read_text().splitlines())
    assert chosen[14] in (1, 2)  # 3000 × 10 elements
    kept.write_text("14 999\n-3 1\nrubbish")
    dv.load_model(exported, device="cpu", threads=2)(*inputs_of(3000))
    assert "14 1" in kept.read_text() or "14 2" in kept.read_text()
