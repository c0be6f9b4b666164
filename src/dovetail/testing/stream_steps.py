"""What is put into a step is what comes out of it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dovetail as dv
from dovetail.testing.store_values import DTYPES, SHAPES, arbitrary, identical
from dovetail.testing.stream_fixtures import (
    SOON,
    StreamFixtures,
    open_and_read_all,
    write,
    write_all,
)
from dovetail.testing.values import unsealed


class StreamSteps(StreamFixtures):
    """One writer, one reader, one step after the other."""

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_every_dtype_and_shape_comes_out_bit_by_bit(
        self, stream: str, dtype: np.dtype[Any]
    ) -> None:
        arrays = {f"a{n}": arbitrary(shape, dtype) for n, shape in enumerate(SHAPES)}
        arrays["fortran"] = np.asfortranarray(arbitrary((4, 3, 2), dtype))
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            with out.step() as step:
                for name, array in arrays.items():
                    step[name] = array
            got = next(reader)
            assert set(got) == set(arrays)
            for name, array in arrays.items():
                assert identical(got[name], array), name

    def test_a_step_is_a_mapping_with_index_attributes_and_time(self, stream: str) -> None:
        before = time.time()
        attrs = {"t": 0.5, "names": ["a", None], "ü": {"deep": True}}
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            for index in range(2):
                with out.step(attrs=attrs) as step:
                    assert step.index == index
                    step["u"] = np.arange(3.0)
                    step.put("v", np.arange(2))
                got = next(reader)
                assert got.index == index
                assert dict(got.attrs) == attrs
                assert before - 1 <= got.time <= time.time() + 1
                assert len(got) == 2
                assert sorted(got) == ["u", "v"]
                assert "u" in got
                assert "w" not in got
                with pytest.raises(KeyError, match="w"):
                    got["w"]

    def test_a_step_is_also_a_dataset(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            with out.step(attrs={"t": 1}) as step:
                step["u"] = np.arange(3.0)
                step["k"] = np.asfortranarray(np.eye(3))
            dataset = next(reader).dataset()
            assert isinstance(dataset, dv.Dataset)
            assert identical(dataset["u"], np.arange(3.0))
            assert identical(dataset["k"], np.eye(3))
            assert dataset.attrs == {"t": 1}

    def test_a_step_of_no_arrays_is_a_step(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            with out.step(attrs={"only": "attributes"}):
                pass
            got = next(reader)
            assert len(got) == 0
            assert dict(got.attrs) == {"only": "attributes"}

    def test_room_in_a_step_is_filled_in_place(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            with out.step() as step:
                step["before"] = np.arange(3)
                u = step.empty("u", (4, 5), "f4")
                z = step.empty("z", (2,), "c16")
                b = step.empty("b", (3,), ml_dtypes.bfloat16)
                step["after"] = np.arange(100_000.0)
                u[:], z[:], b[:] = 2.5, [1j, 2], 3
            got = next(reader)
            assert identical(got["u"], np.full((4, 5), 2.5, "f4"))
            assert identical(got["z"], np.array([1j, 2], "c16"))
            assert identical(got["b"], np.full(3, 3, ml_dtypes.bfloat16))
            assert identical(got["before"], np.arange(3))
            assert identical(got["after"], np.arange(100_000.0))

    def test_room_in_a_step_is_read_only_once_the_step_ended(self, stream: str) -> None:
        with dv.open_stream(stream, "w", policy=dv.buffered(3)) as out:
            with out.step() as step:
                u = step.empty("u", (1000,), "f8")
                part = u[5:10]
                u[:] = 4
            with pytest.raises(ValueError, match="read-only"):
                u[0] = 9
            with dv.open_stream(stream, "r") as reader:
                for number in range(20):
                    next(reader).end()
                    write(out, number)
            assert (u == 4).all()
            assert (part == 4).all()

    def test_a_part_of_a_filled_array_harms_nobody_after_the_step_ended(self, stream: str) -> None:
        # NumPy cannot take back a view of a view: writing there must change nothing sent.
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            with out.step() as step:
                u = step.empty("u", (1000,), "f8")
                u[:] = 4
                part = u[5:10]
            with contextlib.suppress(ValueError):
                part[:] = 9
            assert (next(reader)["u"] == 4).all()
            for number in range(10):
                write(out, number)
                with contextlib.suppress(ValueError):
                    part[:] = 9
                assert unsealed(next(reader)) == number

    def test_what_was_got_cannot_be_written(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            write(out, 1)
            payload = next(reader)["payload"]
            with pytest.raises(ValueError, match="read-only"):
                payload[0] = 9

    def test_a_view_in_hand_never_changes(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            held = []
            for number in range(20):
                write(out, number, 5000)
                step = next(reader)
                if number % 5 == 0:
                    held.append((number, step["payload"], step["payload"][10:20]))
                assert unsealed(step) == number
        for number, payload, part in held:
            assert (payload == number).all()
            assert (part == number).all()
        with contextlib.suppress(dv.DovetailError):  # it ended and was read: it may be gone
            dv.destroy_stream(stream)
        for number, payload, _ in held:
            assert (payload == number).all()

    def test_a_step_left_by_an_exception_publishes_nothing(self, stream: str) -> None:
        with dv.open_stream(stream, "w", policy=dv.buffered(4)) as out:
            write(out, 1)
            with pytest.raises(ZeroDivisionError):
                with out.step(attrs={"number": 2}) as step:
                    step["payload"] = np.zeros(3)
                    raise ZeroDivisionError
            write(out, 3)
        assert open_and_read_all(stream) == [1, 3]

    def test_room_kept_after_an_exception_harms_no_later_step(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            kept = []
            with pytest.raises(ZeroDivisionError):
                with out.step() as step:
                    kept.append(step.empty("payload", (1000,), "i8"))
                    raise ZeroDivisionError
            for number in range(10):
                write(out, number)
                with contextlib.suppress(ValueError):  # read-only, as after publication: as good
                    kept[0][:] = -1
                assert unsealed(next(reader)) == number

    @pytest.mark.parametrize(
        "value",
        [np.array([object()]), [[1, 2], [3]], "text", np.zeros(2, np.longdouble)],
        ids=lambda value: repr(value)[:20],
    )
    def test_what_has_no_safetensors_form_is_refused(self, stream: str, value: Any) -> None:
        with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
            with out.step(attrs={"number": 1}) as step:
                with pytest.raises(dv.UnsupportedDataError):
                    step["u"] = value
                step["u"] = np.arange(3)
            with dv.open_stream(stream, "r") as reader:
                assert identical(next(reader)["u"], np.arange(3))

    def test_a_name_is_put_once_in_a_step(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            out.step() as step,
        ):
            step["u"] = np.arange(3)
            with pytest.raises((dv.DovetailError, KeyError, ValueError), match="u"):
                step["u"] = np.arange(3)

    def test_torch_gets_a_tensor_that_can_be_written_without_harm(self, stream: str) -> None:
        torch = pytest.importorskip("torch")
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            with out.step() as step:
                step["u"] = torch.arange(4, dtype=torch.float32)
                step["b"] = torch.ones(3, dtype=torch.bfloat16)
            got = next(reader)
            tensor = got.dataset().torch("u")
            tensor += 1
            assert np.array_equal(got["u"], np.arange(4, dtype="f4"))
            assert got.dataset().torch("b").dtype == torch.bfloat16

    def test_steps_of_every_size_follow_each_other(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            for number in range(100):
                write(out, number, (number * 7919) % 50_000)
                assert unsealed(next(reader)) == number

    def test_a_selection_of_a_plain_array_is_read(self, stream: str) -> None:
        array = np.arange(60.0).reshape(5, 12)
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            with out.step() as step:
                step["u"] = array
                step["f"] = np.asfortranarray(array)
            got = next(reader)
            for name in ("u", "f"):
                part = got.read(name, start=(1, 3), count=(2, 7))
                assert np.array_equal(part, array[1:3, 3:10])
                assert got.read(name, start=(5, 0), count=(0, 12)).shape == (0, 12)
            for start, count in [
                ((4, 0), (2, 1)),
                ((0, 0), (1, 13)),
                ((-1, 0), (1, 1)),
                ((0,), (1,)),
                ((0, 0), (-1, 1)),
            ]:
                with pytest.raises((ValueError, IndexError)):
                    got.read("u", start=start, count=count)

    def test_a_timeout_leaves_the_stream_as_it_was(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            for number in range(3):
                for timeout in (0, SOON):
                    with pytest.raises(dv.TransportTimeoutError) as caught:
                        reader.next_step(timeout=timeout)
                    assert isinstance(caught.value, TimeoutError)
                write(out, number)
                step = reader.next_step(timeout=0)
                assert step is not None
                assert unsealed(step) == number

    def test_statistics_count_what_each_end_did(self, stream: str) -> None:
        write_all(stream, dv.buffered(4), range(3), count=1000)
        with dv.open_stream(stream, "r") as reader:
            for step in reader:
                unsealed(step)
            statistics = reader.statistics()
        assert statistics.steps == 3
        assert statistics.bytes >= 3 * 8000
        assert statistics.seconds_in_calls >= statistics.seconds_waited >= 0
        assert statistics.steps_dropped == 0
        assert statistics.steps_redelivered == 0

    def test_the_writer_counts_too(self, stream: str) -> None:
        with dv.open_stream(stream, "w", policy=dv.buffered(4)) as out:
            for number in range(3):
                write(out, number)
            statistics = out.statistics()
        assert statistics.steps == 3
        assert statistics.bytes == 3 * (8000 + 24)
