"""Whatever a program in C hands over, it gets a status and a sentence, and goes on."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, c_double, c_int64, c_void_p

import numpy as np
import pytest
from clients import abi
from clients.engine import client_of

import dovetail as dv

OK, ARGUMENT, INVALID_URL, INVALID_KEY, UNSUPPORTED, COVERAGE = 0, -1, -2, -3, -4, -5
CAPABILITY, UNAVAILABLE, ABSENT, CLOSED = -6, -7, -9, -14


@pytest.fixture
def client() -> abi.Client:
    return client_of("c")


@pytest.fixture
def store(client: abi.Client, shm_url: str) -> Iterator[c_void_p]:
    handle = client.handle("store_open", shm_url.encode())
    yield handle
    client.status("store_close", handle)


def array(**changes: object) -> abi.Array:
    """A sound array of 2 by 3 numbers, but for what is changed."""
    data = (c_double * 6)(*range(6))
    sound = {
        "name": b"u", "data": ctypes.cast(data, c_void_p), "dtype": 13, "rank": 2,
        "shape": abi.extents((2, 3)),
    }  # fmt: skip
    described = abi.Array(**(sound | changes))
    described.keeps = data  # type: ignore[attr-defined]
    return described


def refused(client: abi.Client, status: int, expected: int, *words: str) -> None:
    """A status and a sentence that names what was wrong."""
    said = client.last_error()
    assert status == expected, (status, said)
    assert len(said) > 10
    for word in words:
        assert word in said, said


@pytest.mark.parametrize(
    ("changes", "expected", "word"),
    [
        ({"dtype": 0}, UNSUPPORTED, "dtype 0"),
        ({"dtype": 16}, UNSUPPORTED, "dtype 16"),
        ({"dtype": -(2**31)}, UNSUPPORTED, "dtype"),
        ({"rank": -1}, ARGUMENT, "rank is -1"),
        ({"rank": 65}, ARGUMENT, "rank is 65"),
        ({"shape": None}, ARGUMENT, "shape is NULL"),
        ({"shape": abi.extents((2, -3))}, UNSUPPORTED, "negative"),
        ({"shape": abi.extents((2**40, 2**40))}, UNSUPPORTED, "no memory"),
        ({"data": None}, ARGUMENT, "data is NULL"),
        ({"order": 7}, ARGUMENT, "order 7"),
        ({"name": b"\xff\xfe"}, UNSUPPORTED, "UTF-8"),
        ({"name": b"__metadata__"}, UNSUPPORTED, "reserved"),
        ({"name": b"dovetail.x"}, UNSUPPORTED, "reserved"),
    ],
    ids=str,
)
def test_an_array_that_is_none_is_refused(
    client: abi.Client, store: c_void_p, changes: dict[str, object], expected: int, word: str
) -> None:
    wrong = array(**changes)
    refused(client, client.status("store_put", store, b"k", wrong, 1, None, None), expected, word)
    room = abi.Array(**{name: getattr(wrong, name) for name, _ in abi.Array._fields_})
    if "data" not in changes:
        status = client.status("store_reserve", store, b"k", room, 1, None, byref(c_void_p()))
        refused(client, status, expected, word)
    assert client.texts("store_keys", store, b"") == []


def test_every_null_is_refused(client: abi.Client) -> None:
    for name, arguments in abi.ARGUMENTS.items():
        if name.endswith("_close"):
            continue
        nulls = [0 if kind in (ctypes.c_int, c_int64, c_double) else None for kind in arguments]
        refused(client, client.status(name, *nulls), ARGUMENT, "NULL")
    assert client.texts_count(None) == 0
    assert client.texts_at(None, 0) is None


def test_closing_nothing_is_harmless(client: abi.Client) -> None:
    for name, arguments in abi.ARGUMENTS.items():
        if name.endswith("_close"):
            assert client.status(name, None, *(0 for _ in arguments[1:])) == OK


def test_a_handle_is_refused_once_it_is_closed(client: abi.Client, store: c_void_p) -> None:
    client.call("store_put", store, b"k", array(), 1, None, None)
    value = client.handle("store_get", store, b"k")
    assert client.status("value_close", value) == OK
    for name, place in (("value_close", ()), ("value_count", (byref(ctypes.c_int()),))):
        refused(client, client.status(name, value, *place), CLOSED, "closed")


def test_a_handle_of_another_kind_is_refused(client: abi.Client, store: c_void_p) -> None:
    wrong = client.status("value_count", store, byref(ctypes.c_int()))
    refused(client, wrong, ARGUMENT, "of a store", "of a value")
    for rubbish in (1, 0xB, 0x7FFF_FFFF_FFFF, 2**64 - 1, ctypes.addressof(ctypes.c_int())):
        refused(client, client.status("store_flush", c_void_p(rubbish)), ARGUMENT)


def test_keys_and_attributes_that_are_none_are_refused(client: abi.Client, store: c_void_p) -> None:
    for key in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"ok\xe2\x82"):
        status = client.status("store_put", store, key, array(), 1, None, None)
        refused(client, status, INVALID_KEY, "UTF-8")
    for attrs in (b"", b"[1]", b"{", b"null", b'{"a": NaN}', b'{"a": "\xff"}', b"{} {}"):
        status = client.status("store_put", store, b"k", array(), 1, attrs, None)
        refused(client, status, UNSUPPORTED, "JSON")
    status = client.status("store_put", store, b"k", array(), -1, None, None)
    refused(client, status, ARGUMENT, "-1")
    two = (abi.Array * 2)(array(), array())
    refused(client, client.status("store_put", store, b"k", two, 2, None, None), UNSUPPORTED, "'u'")
    place = array(global_shape=abi.extents((4, 3)), start=abi.extents((0, 0)))
    refused(client, client.status("store_put", store, b"k", place, 1, None, None), ARGUMENT, "step")


def test_what_is_to_take_a_value_must_be_alike(client: abi.Client, store: c_void_p) -> None:
    client.call("store_put", store, b"k", array(), 1, None, None)
    value = client.handle("store_get", store, b"k")
    for changes, expected, word in (
        ({"shape": abi.extents((3, 2))}, UNSUPPORTED, "(3, 2)"),
        ({"rank": 1}, UNSUPPORTED, "(2,)"),
        ({"dtype": 12}, UNSUPPORTED, "float32"),
        ({"name": b"v"}, ABSENT, "'v'"),
        ({"data": None}, ARGUMENT, "NULL"),
    ):
        refused(client, client.status("value_read", value, array(**changes)), expected, word)
    stat = client.handle("store_stat", store, b"k")
    refused(client, client.status("value_read", stat, array()), ARGUMENT, "dvt_store_stat")
    for handle in (value, stat):
        client.call("value_close", handle)


def test_deadlines_windows_ranks_and_policies_out_of_range_are_refused(
    client: abi.Client, shm_url: str
) -> None:
    url, handle = shm_url.encode(), byref(c_void_p())

    def writer(policy: int, window: int, ranks: abi.Ranks | None, timeout: float, n: int) -> int:
        return client.status("writer_open", url, policy, window, ranks, timeout, n, handle)

    refused(client, writer(7, 1, None, 1, 0), ARGUMENT, "policy 7")
    for window in (0, -1, 4097):
        refused(client, writer(1, window, None, 1, 0), ARGUMENT, str(window))
    refused(client, writer(1, 1, None, float("nan"), 0), ARGUMENT, "nan")
    refused(client, writer(1, 1, None, 1, -1), ARGUMENT, "-1")
    for rank, size in ((1, 1), (-1, 2), (0, 0)):
        refused(client, writer(1, 1, abi.Ranks(rank, size), 1, 0), ARGUMENT, f"rank={rank}")
    refused(client, writer(1, 1, abi.Ranks(comm_kind=9), 1, 0), ARGUMENT, "comm_kind")
    refused(client, writer(1, 1, abi.Ranks(comm_kind=1), 1, 0), ARGUMENT, "comm is NULL")
    two = abi.Ranks(0, 2)
    refused(client, client.status("reader_open", url, two, None, 0.0, handle), ARGUMENT, "group")


def test_steps_out_of_order_are_refused(client: abi.Client, shm_url: str) -> None:
    url = shm_url.encode()
    writer = client.handle("writer_open", url, 1, 4, None, 5.0, 0)
    refused(client, client.status("writer_put", writer, array()), CLOSED)
    refused(client, client.status("writer_end", writer, 0), CLOSED)
    client.call("writer_begin", writer, None, None)
    refused(client, client.status("writer_begin", writer, None, None), CLOSED)
    for whole, start in (((3, 3), (0, 1)), ((2, 3), (-1, 0)), ((2, 2), (0, 0))):
        wrong = array(global_shape=abi.extents(whole), start=abi.extents(start))
        refused(client, client.status("writer_put", writer, wrong), COVERAGE, "'u'")
    half = array(global_shape=abi.extents((4, 3)))
    refused(client, client.status("writer_put", writer, half), COVERAGE, "both")
    client.call("writer_put", writer, array())
    refused(client, client.status("writer_put", writer, array()), UNSUPPORTED, "already")
    client.call("writer_end", writer, 0)

    reader = client.handle("reader_open", url, None, None, 5.0)
    step = client.handle("reader_next", reader, 5.0)
    two, three = abi.extents((1, 1)), abi.extents((2, 3))
    place = abi.Array()
    status = client.status("step_view", step, b"u", two, three, place)
    refused(client, status, COVERAGE, "not inside")
    refused(client, client.status("step_view", step, b"u", two, None, place), COVERAGE, "both")
    refused(client, client.status("step_view", step, b"v", None, None, place), ABSENT, "'v'")
    refused(client, client.status("step_array", step, 1, place), ARGUMENT, "1")
    refused(client, client.status("step_read", step, array(rank=1), None), COVERAGE, "axes")
    refused(client, client.status("step_read", step, array(dtype=5), None), UNSUPPORTED, "int64")
    client.call("step_close", step)
    client.call("reader_close", reader, 0)
    client.call("writer_close", writer, 0)


URLS = [
    "", "x", "shm", "shm:/x", "shm://", "shm://../x", "shm://a b", "shm://x/y", "shm://.x",
    "shm://x?capacity=", "shm://x?capacity=0", "shm://x?capacity=1.5MiB", "shm://x?capacity=.5B",
    "shm://x?capacity=5 KB", "shm://x?capacity=1e3", "shm://x?capacity=9EiB", "shm://x?capacity",
    "shm://x?capacity=1MiB&capacity=2MiB", "shm://x?capacty=1", "shm://x?wait=poll",
    "shm://x?wait=Poll", "shm://x?recycle=no", "shm://x?&", "shm://x?a=b&", "SHM://x", "shm://x?",
    "file://tmp", "file://", "file:///dev/null", "smh://x", "shm://x?capacity=1%4DiB",
    "shm://x?capacity=%31MiB", "shm://x?%63apacity=1MiB", "shm://ü", "shm://" + "n" * 201,
    "shm://" + "n" * 200, "shm://x?capacity=99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_python_and_c_take_the_same_urls(client: abi.Client, url: str) -> None:
    try:
        with dv.open_store(url) as store:
            theirs, address = "ok", store.url
            store.destroy()
    except (dv.InvalidURLError, dv.EngineUnavailableError) as error:
        theirs, address = type(error).__name__, ""
    handle = c_void_p()
    status = client.status("store_open", url.encode(), byref(handle))
    if status < 0:
        assert abi.ERRORS[status].__name__ == theirs, client.last_error()
        return
    assert theirs == "ok"
    assert client.get(ctypes.c_char_p, "store_url", handle).decode() == address
    client.call("store_destroy", handle)


def test_a_name_is_looked_up_as_python_does(
    client: abi.Client, shm_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = byref(c_void_p())
    refused(
        client, client.status("store_open", "größe-1".encode(), handle), INVALID_URL,
        "DOVETAIL_STORE_GR__E_1",
    )  # fmt: skip
    setenv = ctypes.CDLL(None).setenv
    setenv(b"DOVETAIL_STORE_GR__E_1", shm_url.encode(), 1)
    monkeypatch.setenv("DOVETAIL_STORE_GR__E_1", shm_url)
    with dv.open_store("größe-1") as ours:
        ours.put("k", np.arange(2))
        theirs = client.handle("store_open", "größe-1".encode())
        assert client.texts("store_keys", theirs, b"") == ["k"]
        client.call("store_close", theirs)
    ctypes.CDLL(None).unsetenv(b"DOVETAIL_STORE_GR__E_1")


@pytest.mark.parametrize("url", ["redis://host", "dragon://", "sst://x", "bp5:///x", "mpi://x"])
def test_other_engines_are_named_with_what_is_reached(client: abi.Client, url: str) -> None:
    handle = byref(c_void_p())
    if not url.startswith("redis"):
        status = client.status("store_open", url.encode(), handle)
        refused(client, status, UNAVAILABLE, "shm://", "file://", "redis://", "Python")
    status = client.status("reader_open", url.encode(), None, None, 0.0, handle)
    refused(client, status, UNAVAILABLE, "shm://", "file://", "Python")


def test_a_stream_over_a_store_is_left_to_python(client: abi.Client, tmp_path: object) -> None:
    handle = byref(c_void_p())
    for option in ("over=store", "wait=poll"):
        url = f"file://{tmp_path}/fields?{option}".encode()
        status = client.status("reader_open", url, None, None, 0.0, handle)
        refused(client, status, UNAVAILABLE, "Python")
