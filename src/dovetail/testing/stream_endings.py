"""How a stream ends, and for whom: end, loss, stop, expulsion, a second writer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing import stream_roles as roles
from dovetail.testing.children import PATIENCE, ChildServer
from dovetail.testing.store_roles import Ledger
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


class StreamEndings(StreamFixtures):
    """A crash never looks like a clean end, and nobody waits for the dead."""

    @every_policy
    def test_the_loop_ends_at_the_end_of_the_stream(
        self,
        stream: str,
        capabilities: Capabilities,
        thread: ThreadPoolExecutor,
        policy: dv.Policy,
    ) -> None:
        need(capabilities, stream, policy)
        writing = thread.submit(write_all, stream, policy, range(10))
        with dv.open_stream(stream, "r") as reader:
            seen = read_all(reader)
            assert seen[-1] == 9
            assert reader.next_step() is None
            with pytest.raises(StopIteration):
                next(reader)
        writing.result(PATIENCE)

    def test_a_stream_of_no_steps_ends(self, stream: str) -> None:
        write_all(stream, dv.buffered(2), [])
        assert open_and_read_all(stream) == []

    def test_steps_are_held_after_the_writer_left(self, stream: str) -> None:
        write_all(stream, dv.buffered(4), range(4))
        assert open_and_read_all(stream) == [0, 1, 2, 3]

    def test_a_writer_that_left_by_an_exception_is_a_lost_peer(self, stream: str) -> None:
        with pytest.raises(ZeroDivisionError):
            with dv.open_stream(stream, "w", policy=dv.buffered(4)) as out:
                write(out, 0)
                write(out, 1)
                raise ZeroDivisionError
        with dv.open_stream(stream, "r") as reader:
            assert unsealed(next(reader)) == 0
            assert unsealed(next(reader)) == 1
            with pytest.raises(dv.PeerLostError) as caught:
                next(reader)
            assert isinstance(caught.value, ConnectionResetError)

    def test_a_writer_that_left_a_step_by_an_exception_is_a_lost_peer(self, stream: str) -> None:
        with pytest.raises(ZeroDivisionError):
            with dv.open_stream(stream, "w", policy=dv.buffered(4)) as out:
                write(out, 0)
                with out.step() as step:
                    step["payload"] = np.zeros(3)
                    raise ZeroDivisionError
        with dv.open_stream(stream, "r") as reader:
            assert unsealed(next(reader)) == 0
            with pytest.raises(dv.PeerLostError):
                next(reader)

    def test_a_waiting_reader_hears_that_the_writer_left_by_an_exception(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            with dv.open_stream(stream, "w", policy=dv.buffered(4)):
                reader = dv.open_stream(stream, "r")
                waiting = thread.submit(reader.next_step, None)
                raise ZeroDivisionError
        with pytest.raises(dv.PeerLostError):
            waiting.result(PATIENCE)
        reader.close()

    def test_one_failed_rank_fails_the_stream(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        opening = [
            thread.submit(dv.open_stream, stream, "w", policy=dv.buffered(4), rank=rank, size=2)
            for rank in range(2)
        ]
        left, right = (future.result(PATIENCE) for future in opening)
        write(left, 0)
        with right.step():
            pass
        with pytest.raises(ZeroDivisionError), right:
            raise ZeroDivisionError
        left.close()
        with dv.open_stream(stream, "r") as reader:
            assert unsealed(next(reader)) == 0
            with pytest.raises(dv.PeerLostError):
                next(reader)

    @every_policy
    def test_a_killed_writer_is_a_lost_peer(
        self,
        stream: str,
        capabilities: Capabilities,
        children: ChildServer,
        tmp_path: Path,
        policy: dv.Policy,
    ) -> None:
        need(capabilities, stream, policy)
        ledger = Ledger(str(tmp_path / "ledger"), 8)
        child = children.start(
            roles.produce,
            url=stream,
            policy=[policy.kind, policy.window],
            ledger=str(tmp_path / "ledger"),
            sizes=[1000, 10],
        )
        assert child.receive() == "ready"
        with dv.open_stream(stream, "r") as reader:
            seen = []
            for step in reader:
                seen.append(unsealed(step))
                if len(seen) == 5:
                    break
            child.kill()
            with pytest.raises(dv.PeerLostError):
                seen += read_all(reader)
                raise AssertionError("a crash looked like a clean end")
        if policy.kind != "latest":
            assert seen[:5] == list(range(5))
        assert ledger.slots[roles.PRODUCER] >= 4

    def test_a_killed_reader_holds_nobody_back(
        self, stream: str, capabilities: Capabilities, children: ChildServer
    ) -> None:
        need(capabilities, stream, dv.buffered(3))
        with dv.open_stream(stream, "w", policy=dv.buffered(3)) as out:
            with dv.open_stream(stream, "r") as reader:
                child = children.start(roles.take_and_hold, url=stream)
                assert child.receive() == "ready"
                write(out, 0)
                assert child.receive() == 0
                child.kill()
                for number in range(1, 10):
                    write(out, number)
                    assert unsealed(next(reader)) == number - 1

    def test_a_hung_reader_is_expelled_after_the_deadline_and_told(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(3))
        with dv.open_stream(stream, "w", policy=dv.buffered(3), timeout=4 * SOON) as out:
            with (
                dv.open_stream(stream, "r") as hung,
                dv.open_stream(stream, "r") as healthy,
            ):
                write(out, 0)
                inhand = next(hung)
                for number in range(1, 8):
                    write(out, number)
                    assert unsealed(next(healthy)) == number - 1
                with pytest.raises(dv.ReaderExpelledError) as caught:
                    next(hung)
                assert isinstance(caught.value, ConnectionAbortedError)
                assert unsealed(inhand) == 0
                states = {group.state for group in dv.describe_stream(stream).groups}
                assert "expelled" in states

    def test_an_expelled_reader_can_come_back(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(2))
        with dv.open_stream(stream, "w", policy=dv.buffered(2), timeout=4 * SOON) as out:
            with (
                dv.open_stream(stream, "r") as hung,
                dv.open_stream(stream, "r") as healthy,
            ):
                write(out, 0)
                next(hung)
                for number in range(1, 5):
                    step = next(healthy)
                    assert unsealed(step) == number - 1
                    step.end()
                    write(out, number)
                with pytest.raises(dv.ReaderExpelledError):
                    next(hung)
                with dv.open_stream(stream, "r") as again:
                    assert unsealed(next(again)) == 4

    def test_stop_tells_the_producer_to_end(self, stream: str, capabilities: Capabilities) -> None:
        need(capabilities, stream, dv.buffered(4))
        with dv.open_stream(stream, "w", policy=dv.buffered(4)) as out:
            with dv.open_stream(stream, "r") as reader:
                write(out, 0)
                before = out.stopped
                assert unsealed(next(reader)) == 0
                reader.stop()
            assert (before, out.stopped) == (False, True)
            with pytest.raises(dv.StreamStoppedError):
                write(out, 1)

    def test_stop_frees_a_producer_that_waits(
        self, stream: str, capabilities: Capabilities, thread: ThreadPoolExecutor
    ) -> None:
        need(capabilities, stream, dv.buffered(1))
        out = dv.open_stream(stream, "w", policy=dv.buffered(1))
        with dv.open_stream(stream, "r") as reader:
            write(out, 0)

            def until_stopped() -> None:
                for number in range(1, 10):
                    write(out, number)

            writing = thread.submit(until_stopped)
            assert unsealed(next(reader)) == 0
            reader.stop()
        with pytest.raises(dv.StreamStoppedError):
            writing.result(PATIENCE)
        out.close()

    def test_a_reader_that_leaves_holds_nobody_back(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(3))
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(3)) as out,
            dv.open_stream(stream, "r") as stays,
        ):
            leaves = dv.open_stream(stream, "r")
            write(out, 0)
            inhand = next(leaves)
            leaves.close()
            leaves.close()
            for number in range(1, 10):
                write(out, number)
                assert unsealed(next(stays)) == number - 1
            assert unsealed(inhand) == 0

    def test_a_second_writer_is_refused(self, stream: str) -> None:
        with dv.open_stream(stream, "w", policy=dv.buffered(2)) as out:
            with pytest.raises(dv.StreamBusyError) as caught:
                dv.open_stream(stream, "w", policy=dv.buffered(2), timeout=SOON)
            assert isinstance(caught.value, FileExistsError)
            write(out, 0)
        assert open_and_read_all(stream) == [0]

    def test_a_writer_does_not_overwrite_steps_that_nobody_has_read(self, stream: str) -> None:
        write_all(stream, dv.buffered(2), range(2))
        with pytest.raises(dv.StreamBusyError):
            dv.open_stream(stream, "w", policy=dv.buffered(2), timeout=SOON)
        assert open_and_read_all(stream) == [0, 1]

    def test_a_stream_that_was_read_to_the_end_is_written_again(self, stream: str) -> None:
        for _ in range(3):
            write_all(stream, dv.buffered(2), range(2))
            assert open_and_read_all(stream) == [0, 1]

    def test_a_restarted_writer_opens_a_new_epoch(
        self,
        stream: str,
        capabilities: Capabilities,
        children: ChildServer,
        tmp_path: Path,
    ) -> None:
        need(capabilities, stream, dv.buffered(2))
        child = children.start(
            roles.produce,
            url=stream,
            policy=["buffered", 2],
            ledger=str(tmp_path / "ledger"),
            sizes=[100],
        )
        assert child.receive() == "ready"
        with dv.open_stream(stream, "r") as reader:
            assert unsealed(next(reader)) == 0
            child.kill()
            with pytest.raises(dv.PeerLostError):
                read_all(reader)
            before = dv.describe_stream(stream).epoch
            write_all(stream, dv.buffered(2), [7])
            assert dv.describe_stream(stream).epoch == before + 1
            with pytest.raises(dv.PeerLostError):
                next(reader)
        assert open_and_read_all(stream) == [7]

    def test_a_reader_waits_for_the_stream_to_come_into_being(
        self, stream: str, thread: ThreadPoolExecutor
    ) -> None:
        reading = thread.submit(open_and_read_all, stream)
        write_all(stream, dv.buffered(2), range(2))
        assert reading.result(PATIENCE) == [0, 1]

    def test_a_reader_of_a_stream_that_never_comes_ends_at_its_deadline(self, stream: str) -> None:
        with pytest.raises(dv.TransportTimeoutError):
            with dv.open_stream(stream, "r", timeout=SOON) as reader:
                next(reader)

    def test_a_reader_of_a_silent_stream_ends_at_its_deadline(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(2)),
            dv.open_stream(stream, "r", timeout=SOON) as reader,
            pytest.raises(dv.TransportTimeoutError),
        ):
            next(reader)

    def test_a_closed_end_says_so(self, stream: str) -> None:
        out = dv.open_stream(stream, "w", policy=dv.buffered(2))
        write(out, 0)
        reader = dv.open_stream(stream, "r")
        step = next(reader)
        reader.close()
        out.close()
        out.close()
        with pytest.raises(dv.TransportClosedError):
            write(out, 1)
        with pytest.raises(dv.TransportClosedError):
            next(reader)
        with pytest.raises(dv.TransportClosedError):
            reader.next_step()
        assert unsealed(step) == 0
