"""Who looks on takes nothing and holds nobody back; what an option may be."""

from __future__ import annotations

from pathlib import Path

import pytest

import dovetail as dv
from dovetail.testing import stream_roles as roles
from dovetail.testing.children import PATIENCE, ChildServer, wait_until
from dovetail.testing.store_fixtures import with_options
from dovetail.testing.stream_fixtures import (
    SOON,
    StreamFixtures,
    need,
    open_and_read_all,
    write,
)
from dovetail.testing.values import unsealed
from dovetail.transport.contract import Capabilities


class StreamOnlookers(StreamFixtures):
    """Description, tail, capacity."""

    def test_a_stream_is_described_without_taking_part(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(3))
        with dv.open_stream(stream, "w", policy=dv.buffered(3)) as out:
            for number in range(2):
                write(out, number)
            seen = dv.describe_stream(stream)
            assert (seen.state, seen.epoch, seen.ranks) == ("open", 1, 1)
            assert (seen.steps_complete, seen.steps_held) == (2, 2)
            assert seen.groups == ()
            assert 0 < seen.bytes_held <= seen.capacity
            with dv.open_stream(stream, "r", group="trainer") as reader:
                next(reader).end()
                (group,) = dv.describe_stream(stream).groups
                assert (group.ranks, group.state, group.steps_ended) == (1, "live", 1)
                assert "trainer" in group.name
        assert dv.describe_stream(stream).state == "ended"

    def test_a_failed_stream_is_described_as_such(self, stream: str) -> None:
        with pytest.raises(ZeroDivisionError):
            with dv.open_stream(stream, "w", policy=dv.buffered(3)):
                raise ZeroDivisionError
        assert dv.describe_stream(stream).state == "failed"

    def test_a_stream_whose_writer_was_killed_is_described_as_lost(
        self, stream: str, children: ChildServer, tmp_path: Path
    ) -> None:
        child = children.start(
            roles.produce,
            url=stream,
            policy=["buffered", 2],
            ledger=str(tmp_path / "ledger"),
            sizes=[100],
        )
        assert child.receive() == "ready"
        child.kill()
        wait_until(lambda: dv.describe_stream(stream).state == "lost", "the loss to be seen")

    def test_a_stream_that_is_not_there_is_not_described(self, stream: str) -> None:
        with pytest.raises((dv.DovetailError, FileNotFoundError)):
            dv.describe_stream(stream)

    def test_tail_takes_nothing_and_holds_nobody_back(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(3))
        with dv.open_stream(stream, "w", policy=dv.buffered(3)) as out:
            write(out, 0)
            onlooker = dv.tail_stream(stream, timeout=PATIENCE)
            assert unsealed(next(onlooker)) == 0
            with dv.open_stream(stream, "r") as reader:
                for number in range(1, 20):
                    write(out, number)
                    assert unsealed(next(reader)) == number - 1
            assert dv.describe_stream(stream).groups == () or all(
                group.state != "live" for group in dv.describe_stream(stream).groups
            )

    def test_tail_sees_steps_as_they_come_and_ends_with_the_stream(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        need(capabilities, stream, dv.buffered(3))
        with dv.open_stream(stream, "w", policy=dv.buffered(3)) as out:
            write(out, 0)
            onlooker = dv.tail_stream(stream, timeout=PATIENCE)
            assert unsealed(next(onlooker)) == 0
            for number in range(1, 3):
                write(out, number)
                assert unsealed(next(onlooker)) == number
        assert list(onlooker) == []
        assert open_and_read_all(stream) == [0, 1, 2]

    def test_tail_ends_at_its_deadline(self, stream: str) -> None:
        with (
            dv.open_stream(stream, "w", policy=dv.buffered(3)),
            pytest.raises(dv.TransportTimeoutError),
        ):
            next(iter(dv.tail_stream(stream, timeout=SOON)))

    def test_an_unknown_option_is_refused_with_the_nearest_name(self, stream: str) -> None:
        with pytest.raises(dv.InvalidURLError, match="capacity"):
            dv.open_stream(with_options(stream, capasity="1MiB"), "w", timeout=SOON)

    def test_a_step_that_does_not_fit_is_refused_and_the_stream_goes_on(self, stream: str) -> None:
        small = with_options(stream, capacity="1MiB")
        with dv.open_stream(small, "w", policy=dv.buffered(2)) as out:
            write(out, 0)
            with pytest.raises(dv.StoreFullError):
                write(out, 1, count=1 << 20)
            write(out, 2)
        assert open_and_read_all(stream) == [0, 2]
