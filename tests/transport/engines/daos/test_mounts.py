"""Which mount a container is found at, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import dovetail as dv
from dovetail.transport.engines.daos import mounts
from dovetail.transport.engines.daos.places import folder_of
from dovetail.transport.registry import engines
from dovetail.transport.url import parse

OTHERS = """\
proc /proc proc rw,nosuid 0 0
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
far:/data /mnt/data fuse.sshfs rw 0 0
"""


def dfuse(*points: str) -> str:
    return "".join(f"dfuse {point} fuse.daos rw,nosuid,nodev 0 0\n" for point in points)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table of mounts."""
    file = tmp_path / "mounts"
    file.write_text(OTHERS)
    monkeypatch.setattr(mounts, "MOUNTS", file)
    return file


def store_folder(url: str) -> Path:
    return folder_of(parse(url, "store"), "store")


def test_a_container_lies_where_the_launcher_mounts_it(table: Path) -> None:
    table.write_text(OTHERS + dfuse("/elsewhere/pool/runs", "/tmp/pool/runs", "/tmp/pool/other"))
    assert store_folder("daos://pool/runs") == Path("/tmp/pool/runs")
    assert store_folder("daos://pool/runs/a/b") == Path("/tmp/pool/runs/a/b")


def test_a_container_is_found_by_the_name_of_another_mount_point(table: Path) -> None:
    table.write_text(OTHERS + dfuse("/scratch/pool/runs", "/tmp/pool/other"))
    assert store_folder("daos://pool/runs/a") == Path("/scratch/pool/runs/a")


def test_a_container_is_found_by_its_identity(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identities = {
        Path("/mnt/one"): b"DAOS.POSIX://1f/2e\0",
        Path("/mnt/two"): b"DAOS.POSIX://1f/3d",
    }
    monkeypatch.setattr(mounts.os, "getxattr", lambda point, name: identities[point])
    table.write_text(OTHERS + dfuse("/mnt/one", "/mnt/two"))
    assert store_folder("daos://1f/3d") == Path("/mnt/two")


def test_mount_points_with_spaces_are_read(table: Path) -> None:
    table.write_text(OTHERS + dfuse(r"/mnt/my\040own"))
    assert store_folder("daos://pool/runs?mount=/mnt/my own") == Path("/mnt/my own")


def test_a_stream_lies_beside_the_store_and_inside_the_container(table: Path) -> None:
    table.write_text(OTHERS + dfuse("/tmp/pool/runs"))
    for url, expected in [
        ("daos://pool/runs", "/tmp/pool/runs/stream.ledger"),
        ("daos://pool/runs/fields", "/tmp/pool/runs/fields.ledger"),
    ]:
        assert folder_of(parse(url, "stream"), "ledger") == Path(expected)


@pytest.mark.parametrize("url", ["daos://pool/runs", "daos://pool/runs?mount=/tmp/pool/runs"])
def test_a_container_that_is_not_mounted_is_refused_with_what_to_do(table: Path, url: str) -> None:
    table.write_text(OTHERS + dfuse("/tmp/pool/other"))
    for work in (
        lambda: dv.open_store(url),
        lambda: dv.open_stream(url, "w", timeout=1),
        lambda: dv.open_stream(url, "r", timeout=1),
        lambda: dv.describe_stream(url),
    ):
        with pytest.raises(dv.EngineUnavailableError) as refusal:
            work()
        assert "launch-dfuse.sh pool:runs" in str(refusal.value)
        assert "mounted here are /tmp/pool/other" in str(refusal.value)
        assert "mount=" in str(refusal.value)


def test_a_folder_that_is_no_mount_is_not_written_to(table: Path, tmp_path: Path) -> None:
    with pytest.raises(dv.EngineUnavailableError, match="no DAOS container is mounted there"):
        dv.open_store(f"daos://pool/runs?mount={tmp_path}")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["mounts"]


def test_two_mounts_of_one_name_are_not_chosen_between(table: Path) -> None:
    table.write_text(OTHERS + dfuse("/a/pool/runs", "/b/pool/runs"))
    with pytest.raises(dv.EngineUnavailableError, match=r"more than once.*\?mount="):
        dv.open_store("daos://pool/runs")
    assert store_folder("daos://pool/runs?mount=/b/pool/runs") == Path("/b/pool/runs")


@pytest.mark.parametrize(
    "url",
    ["daos://", "daos://pool", "daos://pool/", "daos:///pool/runs", "daos://../etc",
     "daos://pool/runs/../../other", "daos://pool/runs//etc", "daos://pool/runs?mount=there",
     "daos://pool/runs?mont=/tmp"],
)  # fmt: skip
def test_a_url_that_names_no_container_is_refused(table: Path, url: str) -> None:
    table.write_text(OTHERS + dfuse("/tmp/pool/runs"))
    with pytest.raises(dv.InvalidURLError):
        dv.open_store(url)


def test_it_is_listed_where_nothing_is_mounted(table: Path) -> None:
    (status,) = [status for status in engines() if status.scheme == "daos"]
    assert not status.available
    assert "launch-dfuse.sh" in status.detail
