"""A server as the workflow runs one: described, started in the foreground, ended by SIGTERM."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Self

from dovetail.testing.children import wait_until
from dovetail.transport.engines.dragon import places, server
from dovetail.transport.url import parse

SECONDS_TO_START = 110.0
"""A runtime takes three on a machine that has nothing else to do."""


class Server:
    """A server in a process of its own."""

    def __init__(self, url: str) -> None:
        parsed = parse(url, "store")
        self.folder = places.made(places.place_of(parsed).folder)
        description = server.described(parsed, self.folder)
        description.prepare()
        self.url = description.url
        self.log = self.folder / server.LOG
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                description.command,
                env={**os.environ, **description.environment},
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(
                lambda: self._ended() or server.contact_of(self.folder),
                "the server to be ready",
                SECONDS_TO_START,
            )
            assert not self._ended(), server.last_lines(self.log)
        except BaseException:
            self.__exit__()
            raise

    @property
    def contact(self) -> places.Contact:
        contact = places.Contact.read(self.folder)
        assert contact is not None
        return contact

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended():
            self._process.terminate()
            self._process.wait(60)

    def _ended(self) -> bool:
        return self._process.poll() is not None


def folder_of(name: str) -> Path:
    """The folder of a server by its name."""
    return places.root() / name
