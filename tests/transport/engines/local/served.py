"""One folder as two machines see it: through two mounts of a file system that a program serves.

Each mount has caches and locks of its own, as each node has of a parallel file system: a lock taken
through one is not seen through the other, nor is what is written to mapped memory.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import dovetail as dv
from dovetail.testing.children import PATIENCE, Channel, ChildServer, wait_until

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
_BESIDE = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
"""Lets a command see another mount where this process sees the first."""


class Served:
    """A folder, and two mounts of it.

    Parameters
    ----------
    program
        What serves it: ``bindfs``; ``sshfs``, which has neither hard links nor file numbers that
        last; or ``dfuse``, which is ``bindfs`` under the name that DAOS mounts have.
    folder
        Where all of it lies.
    here
        Where to mount it instead.

    Attributes
    ----------
    here
        Where this process sees it, and where :meth:`children` see it through the other mount.
    """

    def __init__(self, program: str, folder: Path, here: Path | None = None) -> None:
        self._program = program
        self._behind, self._there = folder / "behind", folder / "there"
        self.here = here or folder / "here"
        self._servers: list[subprocess.Popen[bytes]] = []
        for place in (self._behind, self.here, self._there):
            place.mkdir(parents=True)
        self._mount(self.here)
        self._mount(self._there)

    def children(self) -> ChildServer:
        """Starts processes on the other machine, so to speak."""
        return ChildServer(
            ["dovetail.testing.store_roles", "dovetail.testing.stream_roles"],
            prefix=["unshare", "--mount", "sh", "-c", _BESIDE, "sh", self._there, self.here],
        )

    def close(self) -> None:
        for place in (self.here, self._there):
            subprocess.run(["fusermount3", "-u", "-z", place], check=False, timeout=PATIENCE)
        for server in self._servers:
            server.terminate()  # a namespace that was made meanwhile may hold its mount
            server.wait(PATIENCE)

    def _mount(self, place: Path) -> None:
        match self._program:
            case "bindfs":
                self._start(["bindfs", "-f", self._behind, place])
            case "dfuse":
                options = "fsname=dfuse,subtype=daos"
                self._start(["bindfs", "-f", "-o", options, self._behind, place])
            case "sshfs":
                options = "passive,disable_hardlink,dcache_timeout=1"
                ours, theirs = socket.socketpair()
                with ours, theirs:
                    self._start([SFTP_SERVER], ours)
                    far = f"far:{self._behind}"
                    self._start(["sshfs", "-f", "-o", options, far, place], theirs)
        wait_until(lambda: os.path.ismount(place), f"{place} to be mounted")

    def _start(self, command: Sequence[str | Path], end: socket.socket | None = None) -> None:
        self._servers.append(subprocess.Popen(command, stdin=end, stdout=end))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def report_version(channel: Channel, url: str, key: str) -> None:
    """Send the version token of a value."""
    with dv.open_store(url) as store:
        channel.send(store.stat(key).version)
