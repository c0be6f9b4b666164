"""The process that finds out whether SST has a data transport here."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from dovetail.transport.engines.adios.library import reason_of
from dovetail.transport.engines.adios.sst.network import open_sst, remove_contact


def main(asker: socket.socket, settings: dict[str, Any]) -> None:
    """Open a stream that nobody reads, and say what came of it."""
    try:
        _, plane = open_sst(settings["address"], "Write", settings["parameters"])
        answer = ["uses", plane]
    except RuntimeError as error:
        answer = ["refused", reason_of(error)]
    remove_contact(Path(settings["address"]))
    asker.sendall(json.dumps(answer).encode() + b"\n")
    os._exit(0)
