"""Two systems that share nothing but one port of one host."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hosts.host import Hosts
from hosts.network import Wall

PORT = 6390
"""The one that is open."""


class Linked:
    """Hosts e1 and e2 in the east, w1 and w2 in the west; the west reaches PORT of e1, no more.

    Parameters
    ----------
    folder
        Where the keys of the hosts lie.
    """

    def __init__(self, folder: Path) -> None:
        with contextlib.ExitStack() as closing:
            self.east = Hosts(["e1", "e2"], "10.78.1", folder)
            closing.callback(self.east.close)
            self.west = Hosts(["w1", "w2"], "10.78.2", folder)
            closing.callback(self.west.close)
            self.wall = Wall(self.east.switch, self.west.switch, "10.78.1.254/24", "10.78.2.254/24")
            closing.callback(self.wall.close)
            for hosts, gate in ((self.east, "10.78.1.254"), (self.west, "10.78.2.254")):
                for name in hosts.names:
                    hosts.run(name, ["ip", "route", "add", "default", "via", gate])
            self.wall.open(self.east.address("e1"), PORT)
            self._closing = closing.pop_all()

    def close(self) -> None:
        self._closing.close()
