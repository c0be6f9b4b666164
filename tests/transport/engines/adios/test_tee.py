"""A stream is recorded while it flows, and the recording is opened as a stream."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.stream_fixtures import SOON, open_and_read_all, read_all, write
from dovetail.testing.values import unsealed

pytestmark = pytest.mark.requires("adios2")


@pytest.fixture
def recording(tmp_path: Path) -> str:
    return f"bp5://{tmp_path}/tee.bp"


@pytest.fixture(params=["shm", "file", "bp5"])
def stream(request: pytest.FixtureRequest, shm_url: str, tmp_path: Path) -> str:
    return shm_url if request.param == "shm" else f"{request.param}://{tmp_path}/stream"


@pytest.mark.parametrize("policy", [dv.lockstep(), dv.buffered(2), dv.latest()], ids=str)
def test_a_recording_has_every_step_whatever_the_readers_got(
    stream: str, recording: str, policy: dv.Policy
) -> None:
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(open_and_read_all, stream)
        with dv.open_stream(stream, "w", policy=policy, tee=recording) as out:
            assert out.policy == policy
            for number in range(20):
                write(out, number)
        seen = reading.result(PATIENCE)
    assert seen[-1] == 19
    assert open_and_read_all(recording) == list(range(20))


def test_what_is_filled_in_place_is_recorded(shm_url: str, recording: str) -> None:
    with dv.open_stream(shm_url, "w", policy=dv.buffered(4), tee=recording) as out:
        with out.step(attrs={"t": 0.5}) as step:
            room = step.empty("u", (4, 5), "f4", shape=(4, 5), start=(0, 0))
            room[:] = 3
            step["v"] = np.arange(3)
        with pytest.raises(ValueError, match="read-only"):
            room[:] = 4
        for url in (shm_url, recording):
            with dv.open_stream(url, "r") as reader:
                got = next(reader)
                assert (got["u"] == 3).all()
                assert got["u"].shape == (4, 5)
                assert got["v"].tolist() == [0, 1, 2]
                assert dict(got.attrs) == {"t": 0.5}


def test_a_step_left_by_an_exception_is_in_neither(shm_url: str, recording: str) -> None:
    with dv.open_stream(shm_url, "w", policy=dv.buffered(4), tee=recording) as out:
        with pytest.raises(ZeroDivisionError), out.step() as step:
            step["payload"] = np.zeros(3)
            step.empty("room", (3,), "f8")
            raise ZeroDivisionError
        write(out, 1)
    assert open_and_read_all(shm_url) == open_and_read_all(recording) == [1]


def test_a_stream_left_by_an_exception_fails_both(shm_url: str, recording: str) -> None:
    with pytest.raises(ZeroDivisionError):
        with dv.open_stream(shm_url, "w", policy=dv.buffered(4), tee=recording) as out:
            write(out, 0)
            raise ZeroDivisionError
    for url in (shm_url, recording):
        with dv.open_stream(url, "r") as reader:
            assert unsealed(next(reader)) == 0
            with pytest.raises(dv.PeerLostError):
                next(reader)


def test_a_step_that_the_stream_refuses_is_not_recorded(shm_url: str, recording: str) -> None:
    with dv.open_stream(shm_url, "w", policy=dv.lockstep(), timeout=SOON, tee=recording) as out:
        with pytest.raises(dv.TransportTimeoutError):
            write(out, 0)
    assert open_and_read_all(recording) == []


def test_a_recording_that_is_full_raises_and_the_stream_has_the_step(
    shm_url: str, recording: str
) -> None:
    with dv.open_stream(
        shm_url, "w", policy=dv.buffered(4), tee=f"{recording}?capacity=64KiB"
    ) as out:
        write(out, 0, 100)
        with pytest.raises(dv.StoreFullError, match=r"tee\.bp"):
            write(out, 1, 10_000)
        write(out, 2, 100)
    assert open_and_read_all(shm_url) == [0, 1, 2]
    with dv.open_stream(recording, "r") as reader:
        assert read_all(reader) == [0, 2]


def test_a_stream_that_cannot_be_opened_leaves_no_recording(
    shm_url: str, recording: str, tmp_path: Path
) -> None:
    with dv.open_stream(shm_url, "w"), pytest.raises(dv.StreamBusyError):
        dv.open_stream(shm_url, "w", tee=recording, timeout=SOON)
    assert not (tmp_path / "tee.bp").exists()


def test_only_what_records_can_be_a_tee(shm_url: str, recording: str) -> None:
    with pytest.raises(dv.CapabilityError, match="bp5"):
        dv.open_stream(shm_url, "w", tee=f"{shm_url}-2")
    with pytest.raises(ValueError, match="tee"):
        dv.open_stream(shm_url, "r", tee=recording)  # type: ignore[call-overload]
