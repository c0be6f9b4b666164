"""What goes wrong with SST ends within its deadline, and says what to do."""

from __future__ import annotations

import itertools
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing.child_fixtures import ChildFixtures
from dovetail.testing.children import Channel, ChildServer, wait_until
from dovetail.testing.stream_fixtures import SOON, open_and_read_all, write
from dovetail.testing.values import unsealed

pytestmark = pytest.mark.requires("adios2")
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"bad-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def url(name: str, tmp_path: Path) -> Iterator[str]:
    """A stream whose folder of contact files is empty in the end."""
    yield f"sst://{name}?contact={tmp_path}"
    wait_until(lambda: not list(tmp_path.iterdir()), f"{list(tmp_path.iterdir())} to go")


@pytest.mark.parametrize("end", ["w", "r"])
@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("sst://a?contakt=/tmp", "contact"),
        ("sst://a?contact=relative", "absolute"),
        ("sst://a?transport=rdam", "rdma"),
        ("sst://a?recipe=asink", "async"),
        ("sst://a?linger=long", "linger"),
        ("sst://a?eager=1GiB", "at most"),
        ("sst://../a", "name"),
        ("sst://", "name"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(end: str, text: str, match: str) -> None:
    with pytest.raises(dv.InvalidURLError, match=match):
        dv.open_stream(text, end, timeout=SOON)  # type: ignore[call-overload]


def test_an_interface_that_is_not_there_is_named(url: str) -> None:
    with pytest.raises(dv.EngineUnavailableError, match="lo"):
        dv.open_stream(f"{url}&interface=nowhere0", "w", timeout=SOON)


@pytest.mark.parametrize("recipe", ["", "&recipe=sync", "&recipe=async"])
def test_a_reader_whose_writer_never_comes(url: str, recipe: str) -> None:
    with pytest.raises(dv.TransportTimeoutError, match="running"):
        dv.open_stream(url + recipe, "r", timeout=SOON)


def test_a_synchronous_writer_whose_reader_never_comes(url: str) -> None:
    with pytest.raises(dv.TransportTimeoutError, match="reader"):
        dv.open_stream(f"{url}&recipe=sync", "w", timeout=1)


def test_a_recipe_refuses_policies_that_it_does_not_come_near_to(url: str) -> None:
    for recipe, policy in [
        ("sync", dv.lockstep()),
        ("sync", dv.latest()),
        ("async", dv.work_queue(2)),
    ]:
        with pytest.raises(dv.CapabilityError, match=recipe):
            dv.open_stream(f"{url}&recipe={recipe}", "w", policy=policy, timeout=SOON)
    with pytest.raises(dv.CapabilityError, match="rank"):
        dv.open_stream(f"{url}&recipe=sync", "w", rank=0, size=2, timeout=SOON)


def test_a_stale_contact_file_is_no_stream(url: str, name: str, tmp_path: Path) -> None:
    stale = {"version": 1, "machine": "?", "socket": "/nowhere", "host": None, "token": "secret"}
    contact = tmp_path / f"{name}.home"
    for text in (json.dumps(stale), json.dumps({**stale, "host": ["127.0.0.1", 9]}), "{", ""):
        contact.write_text(text)
        with pytest.raises(dv.DovetailError) as caught:
            dv.open_stream(url, "r", timeout=SOON)
        assert "secret" not in str(caught.value)
    contact.write_text(json.dumps({**stale, "host": ["127.0.0.1", 9]}))
    with dv.open_stream(url, "w", policy=dv.buffered(2)) as out:
        write(out, 0)
    assert open_and_read_all(url) == [0]


def test_another_server_behind_the_contact_file_is_no_stream(
    url: str, name: str, tmp_path: Path
) -> None:
    from dovetail.transport.engines.adios.sst.contact import machine

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "server.sock"))
        server.listen()
        contact = tmp_path / f"{name}.home"
        found = {
            "version": 1,
            "machine": machine(),
            "socket": str(tmp_path / "server.sock"),
            "host": None,
            "token": "secret",
        }
        contact.write_text(json.dumps(found))
        server.close()
        with pytest.raises(dv.TransportTimeoutError) as caught:
            dv.open_stream(url, "r", timeout=SOON)
        assert "secret" not in str(caught.value)
    contact.unlink()
    (tmp_path / "server.sock").unlink()


def test_who_does_not_know_the_token_is_not_let_in(url: str, name: str, tmp_path: Path) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(2)) as out:
        write(out, 0)
        contact = tmp_path / f"{name}.home"
        assert contact.stat().st_mode & 0o077 == 0
        found = json.loads(contact.read_text())
        contact.write_text(json.dumps({**found, "token": "guessed"}))
        with pytest.raises(dv.TransportTimeoutError) as caught:
            dv.open_stream(url, "r", timeout=SOON)
        assert "guessed" not in str(caught.value)
        contact.write_text(json.dumps(found))
        assert found["token"] not in repr(out) + out.url
        with dv.open_stream(url, "r") as reader:
            step = next(reader)
            assert unsealed(step) == 0
            step.end()


def test_a_stream_goes_without_a_trace(url: str, tmp_path: Path) -> None:
    for _ in range(2):
        with dv.open_stream(url, "w", policy=dv.buffered(2)) as out:
            write(out, 0)
        assert open_and_read_all(url) == [0]
    with pytest.raises(dv.KeyNotFoundError):
        dv.describe_stream(url)


def test_steps_that_nobody_reads_do_not_linger_for_ever(url: str) -> None:
    with dv.open_stream(f"{url}&linger=0.2", "w", policy=dv.buffered(2)) as out:
        write(out, 0)


class TestFrozen(ChildFixtures):
    def test_a_frozen_writer_of_plain_sst_is_a_timeout(
        self, url: str, children: ChildServer
    ) -> None:
        child = children.start(write_for_ever, url=f"{url}&recipe=sync")
        with dv.open_stream(url, "r") as reader:
            next(reader)
            child.suspend()
            with pytest.raises(dv.TransportTimeoutError):
                for _ in range(10):
                    reader.next_step(timeout=4 * SOON)
            child.resume()
            assert reader.next_step() is not None
            child.kill()
            with pytest.raises(dv.PeerLostError):
                for _ in range(10):
                    reader.next_step()


def write_for_ever(channel: Channel, url: str) -> None:
    with dv.open_stream(url, "w") as out:
        while True:
            with out.step() as step:
                step["u"] = np.arange(10)
