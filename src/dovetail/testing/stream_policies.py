"""Flow control: what a producer does when its readers are slower than itself."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.stream_fixtures import (
    SOON,
    StreamFixtures,
    every_policy,
    need,
    open_and_read_all,
    read_all,
    write,
    write_all,
)
from dovetail.testing.values import unsealed
from dovetail.transport.contract import Capabilities

LOSSLESS = [dv.lockstep(), dv.buffered(1), dv.buffered(4)]


class StreamPolicies(StreamFixtures):
    """The four policies, each with as many readers as it can have."""

    @every_policy
    def test_readers_learn_the_policy_from_the_stream(
        self, stream: str, capabilities: Capabilities, policy: dv.Policy
    ) -> None:
        need(capabilities, stream, policy)
        with dv.open_stream(stream, "w", policy=policy) as out:
            assert out.policy == policy
            with dv.open_stream(stream, "r") as reader:
                assert reader.policy == policy
            assert dv.describe_stream(stream).policy == policy

    @pytest.mark.parametrize("policy", LOSSLESS, ids=str)
    def test_every_reader_sees_every_step_in_order(
        self,
        stream: str,
        capabilities: Capabilities,
        thread: ThreadPoolExecutor,
        policy: dv.Policy,
    ) -> None:
        need(capabilities, stream, policy)
        with dv.open_stream(stream, "w", policy=policy) as out:
            readers = [dv.open_stream(stream, "r") for _ in range(3)]
            reading = [thread.submit(read_all, reader) for reader in readers]
            for number in range(50):
                write(out, number)
            out.close()
            for future in reading:
                assert future.result(PATIENCE) == list(range(50))
            for reader in readers:
                reader.close()

    @pytest.mark.parametrize("policy", LOSSLESS, ids=str)
    def test_nothing_is_discarded_while_there_is_no_reader(
        self,
        stream: str,
        capabilities: Capabilities,
        thread: ThreadPoolExecutor,
        policy: dv.Policy,
    ) -> None:
        need(capabilities, stream, policy)
        writing = thread.submit(write_all, stream, policy, range(20))
        assert open_and_read_all(stream) == list(range(20))
        writing.result(PATIENCE)

    def test_the_policy_is_buffered_when_none_is_named(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(2))
        with dv.open_stream(stream, "w") as out:
            assert out.policy == dv.buffered(2)

    def test_a_producer_waits_for_as_many_readers_as_it_wants(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.buffered(1))
        opening = thread.submit(dv.open_stream, stream, "w", policy=dv.buffered(1), readers=2)
        with dv.open_stream(stream, "r") as first:
            with pytest.raises(TimeoutError):
                opening.result(SOON)
            with dv.open_stream(stream, "r") as second, opening.result(PATIENCE) as out:
                write(out, 0)
                assert [unsealed(next(reader)) for reader in (first, second)] == [0, 0]

    def test_a_producer_waits_for_readers_until_its_deadline(self, stream: str) -> None:
        with pytest.raises(dv.TransportTimeoutError, match="0 of 1"):
            dv.open_stream(stream, "w", readers=1, timeout=SOON)
        with pytest.raises(dv.PeerLostError), dv.open_stream(stream, "r") as reader:
            next(reader)

    # --- lockstep ---------------------------------------------------------------------------

    def test_lockstep_ends_a_step_when_every_reader_has_ended_it(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.lockstep())
        ended: list[int] = []

        def produce() -> None:
            with dv.open_stream(stream, "w", policy=dv.lockstep()) as out:
                first_is_open.set_result(None)
                for number in range(20):
                    write(out, number)
                    ended.append(number)

        first_is_open: Future[None] = Future()
        producing = thread.submit(produce)
        first_is_open.result(PATIENCE)
        with (
            dv.open_stream(stream, "r") as left,
            dv.open_stream(stream, "r") as right,
        ):
            for number in range(20):
                for reader in (left, right):
                    step = reader.next_step()
                    assert step is not None
                    assert unsealed(step) == number
                    assert number not in ended
                    step.end()
            assert left.next_step() is None
            assert right.next_step() is None
        producing.result(PATIENCE)
        assert ended == list(range(20))

    def test_lockstep_without_a_reader_ends_at_the_deadline(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.lockstep())
        out = dv.open_stream(stream, "w", policy=dv.lockstep(), timeout=SOON)
        with pytest.raises(dv.TransportTimeoutError):
            write(out, 0)
        out.close()

    # --- buffered ---------------------------------------------------------------------------

    @pytest.mark.parametrize("window", [1, 2, 5])
    def test_buffered_holds_as_many_steps_as_it_says(
        self, stream: str, capabilities: Capabilities, window: int
    ) -> None:
        policy = dv.buffered(window)
        need(capabilities, stream, policy)
        with dv.open_stream(stream, "w", policy=policy, timeout=SOON) as out:
            for number in range(window):
                write(out, number)
            with pytest.raises(dv.TransportTimeoutError):
                write(out, window)
            with dv.open_stream(stream, "r") as reader:
                for number in range(3 * window):
                    step = reader.next_step()
                    assert step is not None
                    assert unsealed(step) == number
                    step.end()
                    write(out, number + window)

    def test_a_late_joiner_starts_at_the_oldest_step_held(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(3))
        with dv.open_stream(stream, "w", policy=dv.buffered(3)) as out:
            for number in range(3):
                write(out, number)
            with dv.open_stream(stream, "r") as early:
                next(early).end()
                write(out, 3)
                with dv.open_stream(stream, "r") as late:
                    assert unsealed(next(late)) == 1
                    assert unsealed(next(early)) == 1

    def test_one_slow_reader_holds_the_producer_back(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.buffered(2))
        with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
            with (
                dv.open_stream(stream, "r") as slow,
                dv.open_stream(stream, "r") as fast,
            ):
                write(out, 0)
                write(out, 1)
                assert unsealed(next(fast)) == 0
                assert unsealed(next(fast)) == 1
                next(slow)
                third = thread.submit(write, out, 2)
                with pytest.raises(dv.TransportTimeoutError):
                    fast.next_step(timeout=SOON)
                next(slow)
                third.result(PATIENCE)
                assert unsealed(next(fast)) == 2

    def test_a_step_can_be_filled_while_the_one_before_is_read(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(2))
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            write(out, 0)
            reading = next(reader)
            write(out, 1)
            assert unsealed(reading) == 0
            assert unsealed(next(reader)) == 1

    # --- latest -----------------------------------------------------------------------------

    def test_latest_never_waits_and_gives_the_newest(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.latest())
        with (
            dv.open_stream(stream, "w", policy=dv.latest(), timeout=SOON) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            for last in (10, 11, 40):
                for number in range(out.statistics().steps, last + 1):
                    write(out, number)
                step = next(reader)
                assert (unsealed(step), step.index) == (last, last)
            assert reader.statistics().steps_dropped == 41 - 3

    def test_latest_keeps_what_a_reader_holds(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.latest())
        with (
            dv.open_stream(stream, "w", policy=dv.latest()) as out,
            dv.open_stream(stream, "r") as reader,
        ):
            write(out, 0)
            step = next(reader)
            for number in range(1, 50):
                write(out, number)
                assert unsealed(step) == 0
            assert unsealed(next(reader)) == 49

    def test_latest_delivers_the_final_step_to_everyone(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.latest())
        with dv.open_stream(stream, "w", policy=dv.latest()) as out:
            readers = [dv.open_stream(stream, "r") for _ in range(3)]
            reading = [thread.submit(read_all, reader) for reader in readers]
            for number in range(300):
                write(out, number)
            out.close()
            for future in reading:
                seen = future.result(PATIENCE)
                assert seen[-1] == 299
                assert seen == sorted(set(seen))
            for reader in readers:
                reader.close()

    def test_latest_keeps_the_final_step_for_who_comes_late(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.latest())
        write_all(stream, dv.latest(), range(10))
        assert open_and_read_all(stream)[-1:] == [9]

    # --- work queue -------------------------------------------------------------------------

    def test_a_work_queue_deals_each_step_to_one_group(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.work_queue(3))
        with dv.open_stream(stream, "w", policy=dv.work_queue(3)) as out:
            readers = [dv.open_stream(stream, "r") for _ in range(3)]
            reading = [thread.submit(read_all, reader) for reader in readers]
            for number in range(200):
                write(out, number)
            out.close()
            shares = [future.result(PATIENCE) for future in reading]
            for reader in readers:
                reader.close()
        assert all(share == sorted(share) for share in shares)
        assert sorted(number for share in shares for number in share) == list(range(200))

    def test_a_work_queue_holds_as_many_steps_as_it_says(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.work_queue(3))
        with dv.open_stream(stream, "w", policy=dv.work_queue(3), timeout=SOON) as out:
            for number in range(3):
                write(out, number)
            with pytest.raises(dv.TransportTimeoutError):
                write(out, 3)
            with dv.open_stream(stream, "r") as reader:
                next(reader).end()
                write(out, 3)
                assert [unsealed(next(reader)) for _ in range(3)] == [1, 2, 3]

    def test_two_groups_of_a_work_queue_work_at_once(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.work_queue(2))
        with (
            dv.open_stream(stream, "w", policy=dv.work_queue(2)) as out,
            dv.open_stream(stream, "r") as left,
            dv.open_stream(stream, "r") as right,
        ):
            write(out, 0)
            write(out, 1)
            first, second = next(left), next(right)
            assert sorted([unsealed(first), unsealed(second)]) == [0, 1]

    def test_a_work_queue_is_read_to_the_end_after_the_writer_left(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.work_queue(5))
        write_all(stream, dv.work_queue(5), range(5))
        with (
            dv.open_stream(stream, "r") as left,
            dv.open_stream(stream, "r") as right,
        ):
            seen = [unsealed(next(left)), unsealed(next(right)), unsealed(next(left))]
            seen += [unsealed(next(right)), unsealed(next(left))]
            assert sorted(seen) == list(range(5))
            # Neither is at the end while the other may still die with a step in hand.
            ending = thread.submit(left.next_step)
            assert right.next_step() is None
            assert ending.result(PATIENCE) is None
