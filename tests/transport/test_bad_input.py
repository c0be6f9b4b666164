"""Bad input gets an error that says what happened, with which value, and what to do."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dovetail as dv

MAGIC, FORMAT, WRITTEN_BY = slice(0, 8), slice(8, 12), slice(16, 64)


@pytest.mark.parametrize("opening", [dv.open_store, lambda url: dv.open_stream(url, "r")])
@pytest.mark.parametrize(
    ("url", "near"),
    [("shmm://x", "shm"), ("SMH://x", "shm"), ("fil:///x", "file"), ("files:///x", "file")],
)
def test_an_unknown_scheme_names_the_near_one_and_what_is_installed(
    opening: Any, url: str, near: str
) -> None:
    with pytest.raises(dv.InvalidURLError, match=f"did you mean '{near}'") as caught:
        opening(url)
    assert "shm://" in str(caught.value)
    assert "file://" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_scheme_may_be_written_in_capitals(tmp_path: Path) -> None:
    with dv.open_store(f"FILE://{tmp_path}/store") as store:
        store.put("a", np.arange(3))
    assert (tmp_path / "store/a.safetensors").exists()


def test_a_scheme_that_is_like_none_names_what_is_installed() -> None:
    with pytest.raises(dv.InvalidURLError, match="installed are .*file://.*shm://"):
        dv.open_store("quux://x")


@pytest.mark.parametrize("url", [None, 3, b"shm://x", Path("/x"), ["shm://x"]], ids=repr)
def test_what_is_no_text_is_no_url(url: Any) -> None:
    with pytest.raises(dv.InvalidURLError, match="text"):
        dv.open_store(url)


@pytest.mark.parametrize(
    "url",
    [
        "shm://", "shm:///", "shm://a/b", "shm://..", "shm://.hidden", "shm://a b", "shm://é",
        "shm://a\0b", "shm://" + "x" * 201, "file://", "file://relative", "file://host/x",
        "file:///tmp/a\0b", "file:///dev/null", "shm://x?capacity",
        "shm://x?capacity=1MiB&capacity=2MiB", "://x", "shm", "",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(dv.InvalidURLError):
        dv.open_store(url)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("capasity=1MiB", "did you mean 'capacity'"),
        ("Capacity=1MiB", "did you mean 'capacity'"),
        ("quux=1", "it has .*capacity"),
        ("capacity=lots", "as in 512MiB or 2GiB"),
        ("capacity=1 Mib", "as in 512MiB or 2GiB"),
        ("capacity=-1", "not a size"),
        ("capacity=0", "at least one byte"),
        ("capacity=9EiB", "not a size|below 8 EiB"),
        ("recycle=maybe", "yes or no"),
        ("wait=pol", "did you mean 'poll'"),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(tmp_path: Path, query: str, said: str) -> None:
    with pytest.raises(dv.InvalidURLError, match=said):
        dv.open_store(f"file://{tmp_path}/store?{query}")
    assert not (tmp_path / "store").exists(), "nothing is made for a URL that is refused"


def test_a_bare_name_is_looked_up_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVETAIL_STORE_STAGING", f"file://{tmp_path}/store")
    with dv.open_store("staging") as store:
        store.put("a", np.arange(3))
    with dv.open_store(f"file://{tmp_path}/store") as store:
        assert store.exists("a")
        store.destroy()


def test_a_bare_name_that_is_not_set_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DOVETAIL_STORE_MY_STAGING", raising=False)
    with pytest.raises(dv.InvalidURLError, match="DOVETAIL_STORE_MY_STAGING"):
        dv.open_store("my-staging")
    with pytest.raises(dv.InvalidURLError, match="DOVETAIL_STREAM_FIELDS"):
        dv.open_stream("fields", "r")
    monkeypatch.setenv("DOVETAIL_STORE_X", "x")
    with pytest.raises(dv.InvalidURLError, match="DOVETAIL_STORE_X='x' is not a URL"):
        dv.open_store("x")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([object()]), "supported are bool, int8 to int64"),
        ([[1, 2], [3]], "pad it"),
        (np.zeros(2, np.longdouble), "supported are"),
        ("text", "attrs"),
        (np.array(["2020"], "M8[Y]"), "supported are"),
    ],
    ids=["objects", "ragged", "longdouble", "text", "dates"],
)
def test_data_without_a_form_is_told_what_is_supported(
    tmp_path: Path, value: Any, said: str
) -> None:
    with dv.open_store(f"file://{tmp_path}/store") as store:
        with pytest.raises(dv.UnsupportedDataError, match=said):
            store.put("a", value)


@pytest.mark.parametrize("number", [0, 2, 99])
def test_another_format_of_a_store_says_who_wrote_it(tmp_path: Path, number: int) -> None:
    with dv.open_store(f"file://{tmp_path}/store") as store:
        store.put("a", np.arange(3))
    rewrite(tmp_path / "store/.dovetail/control", number, "0.0.9-test")
    with pytest.raises(dv.FormatVersionError, match=r"0\.0\.9-test") as caught:
        dv.open_store(f"file://{tmp_path}/store").put("a", np.arange(3))
    assert isinstance(caught.value, dv.CorruptDataError)
    assert (tmp_path / "store/a.safetensors").exists()


@pytest.mark.parametrize("number", [0, 2, 99])
def test_another_format_of_a_stream_says_who_wrote_it(tmp_path: Path, number: int) -> None:
    url = f"file://{tmp_path}/fields"
    with dv.open_stream(url, "w", policy=dv.buffered(2)) as out, out.step() as step:
        step["u"] = np.arange(3)
    (control,) = tmp_path.rglob("control")
    rewrite(control, number, "0.0.9-test")
    with pytest.raises(dv.FormatVersionError, match=r"0\.0\.9-test"):
        dv.open_stream(url, "r", timeout=1)
    with pytest.raises(dv.FormatVersionError, match=r"0\.0\.9-test"):
        dv.describe_stream(url)
    dv.destroy_stream(url)


def rewrite(control: Path, number: int, written_by: str) -> None:
    """Make a control page look as if another version had made it."""
    page = bytearray(control.read_bytes())
    page[FORMAT] = struct.pack("<I", number)
    page[WRITTEN_BY] = written_by.encode().ljust(48, b"\0")
    control.write_bytes(page)


@pytest.mark.parametrize("damage", ["magic", "empty", "short", "text"])
def test_a_damaged_control_page_is_an_error_and_loses_nothing(tmp_path: Path, damage: str) -> None:
    with dv.open_store(f"file://{tmp_path}/store") as store:
        store.put("a", np.arange(3))
    control = tmp_path / "store/.dovetail/control"
    page = bytearray(control.read_bytes())
    match damage:
        case "magic":
            page[MAGIC] = b"whatever"
        case "empty":
            page = bytearray()
        case "short":
            page = page[:100]
        case "text":
            page = bytearray(b"rubbish " * 10_000)
    control.write_bytes(page)
    try:
        with dv.open_store(f"file://{tmp_path}/store") as store:
            store.put("b", np.arange(3))
            assert np.array_equal(store.get_array("a"), np.arange(3))
    except dv.CorruptDataError:
        pass
    assert (tmp_path / "store/a.safetensors").exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), "soon"])
def test_a_deadline_that_is_past_or_none_at_all_never_waits_for_ever(
    tmp_path: Path, timeout: Any
) -> None:
    with dv.open_store(f"file://{tmp_path}/store") as store:
        for wait in (
            lambda: store.wait("a", timeout),
            lambda: store.wait_items("a", 1, timeout),
        ):
            with pytest.raises((ValueError, TypeError, dv.TransportTimeoutError)):
                wait()


@pytest.mark.parametrize("policy", ["latest", "buffered", 3, dv.buffered], ids=repr)
def test_a_policy_that_is_none_is_refused(tmp_path: Path, policy: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="policy"):
        dv.open_stream(f"file://{tmp_path}/fields", "w", policy=policy, timeout=0.1)


def test_what_only_one_side_can_say_is_refused_from_the_other(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/fields"
    with pytest.raises((TypeError, ValueError), match="writer"):
        dv.open_stream(url, "r", policy=dv.latest(), timeout=0.1)  # type: ignore[call-overload]
    with pytest.raises((TypeError, ValueError), match="reader"):
        dv.open_stream(url, "w", group="x", timeout=0.1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="group="):
        dv.open_stream(url, "r", rank=0, size=2, timeout=0.1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), "soon"])
def test_a_deadline_of_a_stream_never_waits_for_ever(tmp_path: Path, timeout: Any) -> None:
    url = f"file://{tmp_path}/fields"
    refusals = (ValueError, TypeError, dv.TransportTimeoutError)
    with pytest.raises(refusals):
        next(dv.open_stream(url, "r", timeout=timeout))
    with pytest.raises(refusals):
        next(dv.tail_stream(url, timeout=timeout))
    with dv.open_stream(url, "w", policy=dv.buffered(1)), dv.open_stream(url, "r") as reader:
        with pytest.raises(refusals):
            reader.next_step(timeout=timeout)
    with pytest.raises(refusals):
        with dv.open_stream(url, "w", policy=dv.lockstep(), timeout=timeout) as out, out.step():
            pass


@pytest.mark.parametrize("window", [0, -1, 4097, 2.0, "2", None, True])
def test_a_window_that_is_none_is_refused(window: Any) -> None:
    for policy in (dv.buffered, dv.work_queue):
        with pytest.raises((ValueError, TypeError), match="steps"):
            policy(window)
