"""M writer ranks to N reader ranks: global arrays, blocks, groups."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.store_values import identical
from dovetail.testing.stream_fixtures import (
    SOON,
    StreamFixtures,
    need,
    read_all,
    write,
)
from dovetail.testing.values import unsealed
from dovetail.transport.contract import Capabilities, ReadStep, StreamWriter, WriteStep

SHAPE = (12, 10)
FIELD = np.arange(120.0).reshape(SHAPE)
TILINGS = {
    "rows": [((0, 0), (5, 10)), ((5, 0), (3, 10)), ((8, 0), (4, 10))],
    "columns": [((0, 0), (12, 1)), ((0, 1), (12, 6)), ((0, 7), (12, 3))],
    "tiles": [((0, 0), (6, 5)), ((0, 5), (6, 5)), ((6, 0), (6, 10))],
    "one empty": [((0, 0), (12, 10)), ((12, 0), (0, 10)), ((0, 0), (0, 0))],
}


class StreamGroups(StreamFixtures):
    """Ranks in threads of one process: what a rank sees does not depend on where it runs."""

    def write_ranks(
        self,
        stream: str,
        thread: ThreadPoolExecutor,
        fill: Callable[[int, WriteStep], None],
        size: int = 3,
        steps: int = 1,
        attrs: Callable[[int], dict[str, Any]] = lambda rank: {},
    ) -> None:
        """Write steps as `size` ranks, each filled by ``fill(rank, step)``."""
        everyone = threading.Barrier(size)

        def produce(rank: int) -> None:
            with dv.open_stream(
                stream, "w", policy=dv.buffered(max(steps, 1)), rank=rank, size=size
            ) as out:
                everyone.wait(PATIENCE)
                for _ in range(steps):
                    with out.step(attrs=attrs(rank)) as step:
                        fill(rank, step)

        for future in [thread.submit(produce, rank) for rank in range(size)]:
            future.result(PATIENCE)

    def one_step(self, stream: str) -> ReadStep:
        """The only step of the stream."""
        with dv.open_stream(stream, "r") as reader:
            return next(reader)

    @pytest.mark.parametrize("tiling", TILINGS.values(), ids=TILINGS.keys())
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_blocks_of_ranks_make_one_global_array(
        self,
        stream: str,
        thread: ThreadPoolExecutor,
        tiling: list[tuple[tuple[int, int], tuple[int, int]]],
        order: Any,
    ) -> None:
        def fill(rank: int, step: WriteStep) -> None:
            start, count = tiling[rank]
            block = np.array(_cut(FIELD, start, count), order=order)
            step.put("u", block, shape=SHAPE, start=start)
            step.put("z", block * 1j, shape=SHAPE, start=start)

        self.write_ranks(stream, thread, fill)
        with dv.open_stream(stream, "r") as reader:
            step = next(reader)
            assert identical(np.ascontiguousarray(step["u"]), FIELD)
            assert identical(np.ascontiguousarray(step["z"]), FIELD * 1j)
            for start, count in [((0, 0), SHAPE), ((4, 3), (5, 5)), ((11, 9), (1, 1))]:
                part = step.read("u", start=start, count=count)
                assert np.array_equal(part, _cut(FIELD, start, count))

    def test_one_rank_may_give_several_blocks_of_its_own_names(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        def fill(rank: int, step: WriteStep) -> None:
            room = step.empty("u", (4, 10), "f8", shape=SHAPE, start=(4 * rank, 0))
            room[:] = FIELD[4 * rank : 4 * rank + 4]
            if rank == 1:
                step["only one"] = np.arange(3)

        self.write_ranks(stream, thread, fill)
        step = self.one_step(stream)
        assert identical(step["u"], FIELD)
        assert identical(step["only one"], np.arange(3))

    def test_arrays_without_a_place_are_joined_in_rank_order(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        def fill(rank: int, step: WriteStep) -> None:
            step["particles"] = np.full((rank, 3), rank, "f4")
            step["fortran"] = np.asfortranarray(np.full((2, 3), rank))

        self.write_ranks(stream, thread, fill, size=4)
        step = self.one_step(stream)
        expected = np.repeat(np.arange(4), np.arange(4))[:, None] * np.ones((1, 3))
        assert identical(step["particles"], expected.astype("f4"))
        assert np.array_equal(step["fortran"], np.repeat(np.arange(4), 2)[:, None] * np.ones(3))
        part = step.read("particles", start=(2, 1), count=(3, 2))
        assert np.array_equal(part, expected[2:5, 1:3])

    @pytest.mark.parametrize(
        "blocks",
        [
            [((0, 0), (4, 10)), ((4, 0), (4, 10)), ((9, 0), (3, 10))],
            [((0, 0), (6, 10)), ((5, 0), (3, 10)), ((8, 0), (4, 10))],
            [((0, 0), (12, 10)), ((0, 0), (12, 10)), ((0, 0), (12, 10))],
            # As many cells as the whole has, yet one is missing and one is written twice.
            [((0, 0), (6, 10)), ((6, 0), (5, 10)), ((0, 0), (1, 10))],
            [((0, 0), (4, 10)), ((4, 0), (4, 10)), ((8, 0), (4, 11))],
        ],
        ids=["gap", "overlap", "thrice", "gap-and-overlap", "outside"],
    )
    def test_blocks_that_do_not_tile_the_array_are_an_error(
        self,
        stream: str,
        thread: ThreadPoolExecutor,
        blocks: list[tuple[tuple[int, int], tuple[int, int]]],
    ) -> None:
        def fill(rank: int, step: WriteStep) -> None:
            start, count = blocks[rank]
            step.put("u", np.zeros(count), shape=SHAPE, start=start)

        with pytest.raises(dv.CoverageError, match="u"):
            self.write_ranks(stream, thread, fill)
            self.one_step(stream)["u"]

    def test_ranks_that_disagree_about_an_array_are_told(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        def shape(rank: int, step: WriteStep) -> None:
            step.put("u", np.zeros((4, 10)), shape=(12, 10 + rank), start=(4 * rank, 0))

        with pytest.raises(dv.CoverageError, match="u"):
            self.write_ranks(stream, thread, shape)
            self.one_step(stream)["u"]

    def test_ranks_that_disagree_about_a_dtype_are_told(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        def dtype(rank: int, step: WriteStep) -> None:
            step.put("u", np.zeros((4, 10), f"f{4 + 4 * (rank == 1)}"), SHAPE, (4 * rank, 0))

        with pytest.raises(dv.DovetailError, match="u"):
            self.write_ranks(stream, thread, dtype)
            self.one_step(stream)["u"]

    def test_shape_and_start_go_together(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            out.step() as step,
        ):
            for wrong in ({"shape": (4,)}, {"start": (0,)}, {"shape": (4, 4), "start": (0, 0)}):
                with pytest.raises((ValueError, TypeError)):
                    step.put("u", np.zeros(4), **wrong)
            step["fine"] = np.arange(3)

    def test_of_several_attributes_those_of_the_lowest_rank_win(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        self.write_ranks(
            stream,
            thread,
            lambda rank, step: step.put("u", np.zeros(1)),
            attrs=lambda rank: {"rank": rank} if rank else {},
        )
        assert self.one_step(stream).attrs["rank"] == 1

    def test_a_step_is_complete_when_every_rank_has_ended_it(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        left, right = self.open_ranks(stream, thread, 2)
        with dv.open_stream(stream, "r") as reader:
            write(left, 0)
            with pytest.raises(dv.TransportTimeoutError):
                reader.next_step(timeout=SOON)
            with right.step() as step:
                pass
            assert step.index == 0
            assert unsealed(next(reader)) == 0
            left.close()
            with pytest.raises(dv.TransportTimeoutError):
                reader.next_step(timeout=SOON)
            right.close()
            assert reader.next_step() is None

    def test_every_rank_counts_the_same_steps(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        steps = 30

        def fill(rank: int, step: WriteStep) -> None:
            step["index"] = np.array([step.index])

        self.write_ranks(stream, thread, fill, size=3, steps=steps)
        with dv.open_stream(stream, "r") as reader:
            for number, step in enumerate(reader):
                assert step.index == number
                assert step["index"].tolist() == [number] * 3
            assert number == steps - 1

    def test_a_rank_that_comes_after_another_has_failed_hears_of_it(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        opening = [
            thread.submit(dv.open_stream, stream, "w", policy=dv.buffered(4), rank=rank, size=3)
            for rank in range(2)
        ]
        first, second = (future.result(PATIENCE) for future in opening)
        with pytest.raises(ZeroDivisionError), second:
            raise ZeroDivisionError
        with pytest.raises(dv.PeerLostError):
            write(dv.open_stream(stream, "w", rank=2, size=3, timeout=4 * SOON), 0)
        first.close()

    def test_a_group_of_readers_sees_the_same_steps(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.buffered(2))
        with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
            readers = self.open_group(stream, thread, "a", 3)
            reading = [thread.submit(read_all, reader) for reader in readers]
            for number in range(40):
                write(out, number)
            out.close()
            for future in reading:
                assert future.result(PATIENCE) == list(range(40))
            for reader in readers:
                reader.close()

    def test_groups_of_long_names_that_differ_in_the_last_letter_are_two(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.buffered(2))
        with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
            try:
                left = self.open_group(stream, thread, "x" * 200 + "a", 2)
            except (dv.DovetailError, ValueError):  # refused is as good
                return
            right = self.open_group(stream, thread, "x" * 200 + "b", 2)
            write(out, 0)
            assert [unsealed(next(reader)) for reader in (*left, *right)] == [0] * 4
            for reader in (*left, *right):
                reader.close()

    def test_a_step_is_held_until_every_rank_of_a_group_has_ended_it(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.buffered(1))
        with dv.open_stream(stream, "w", policy=dv.buffered(1)) as out:
            left, right = self.open_group(stream, thread, "a", 2)
            write(out, 0)
            next(left).end()
            following = thread.submit(write, out, 1)
            with pytest.raises(dv.TransportTimeoutError):
                left.next_step(timeout=SOON)
            next(right).end()
            following.result(PATIENCE)
            assert unsealed(next(left)) == 1
            left.close()
            right.close()

    def test_the_ranks_of_a_group_share_what_latest_gives_them(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.latest())
        with dv.open_stream(stream, "w", policy=dv.latest()) as out:
            readers = self.open_group(stream, thread, "a", 3)
            reading = [thread.submit(read_all, reader) for reader in readers]
            for number in range(300):
                write(out, number, 100)
            out.close()
            seen = [future.result(PATIENCE) for future in reading]
            for reader in readers:
                reader.close()
        assert seen[0] == seen[1] == seen[2]
        assert seen[0][-1] == 299

    def test_the_ranks_of_a_group_share_what_a_work_queue_gives_them(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.work_queue(3))
        with dv.open_stream(stream, "w", policy=dv.work_queue(3)) as out:
            readers = [
                *self.open_group(stream, thread, "a", 2),
                *self.open_group(stream, thread, "b", 2),
            ]
            reading = [thread.submit(read_all, reader) for reader in readers]
            for number in range(60):
                write(out, number)
            out.close()
            seen = [future.result(PATIENCE) for future in reading]
            for reader in readers:
                reader.close()
        assert seen[0] == seen[1]
        assert seen[2] == seen[3]
        assert sorted(seen[0] + seen[2]) == list(range(60))

    @pytest.mark.parametrize(("rank", "size"), [(-1, 1), (1, 1), (2, 2), (0, 0), (0, -1)])
    def test_a_rank_outside_its_group_is_refused(self, stream: str, rank: int, size: int) -> None:
        for mode in ("w", "r"):
            with pytest.raises(ValueError, match=r"rank|size"):
                dv.open_stream(stream, mode, rank=rank, size=size, timeout=SOON)

    def test_a_mode_that_is_neither_is_refused(self, stream: str) -> None:
        with pytest.raises(ValueError, match="mode"):
            dv.open_stream(stream, "a", timeout=SOON)  # type: ignore[call-overload]

    def open_ranks(self, stream: str, thread: ThreadPoolExecutor, size: int) -> list[StreamWriter]:
        """All writer ranks, opened at once."""
        opening = [
            thread.submit(dv.open_stream, stream, "w", policy=dv.buffered(4), rank=rank, size=size)
            for rank in range(size)
        ]
        return [future.result(PATIENCE) for future in opening]

    def open_group(
        self, stream: str, thread: ThreadPoolExecutor, group: str, size: int
    ) -> list[Any]:
        """All ranks of a reader group, opened at once."""
        opening = [
            thread.submit(dv.open_stream, stream, "r", rank=rank, size=size, group=group)
            for rank in range(size)
        ]
        return [future.result(PATIENCE) for future in opening]


def _cut(field: NDArray[Any], start: tuple[int, int], count: tuple[int, int]) -> NDArray[Any]:
    return field[tuple(slice(first, first + n) for first, n in itertools.zip_longest(start, count))]
