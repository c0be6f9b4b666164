"""``dovetail serve``: run the server of an engine by hand, as a workflow does it by itself.

JSON document (``--json``): ``{url, pid, folder}``, once it is ready.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from dovetail.cli.output import AsJson, print_json


def serve(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="An engine, with options of its server: 'redis://?capacity=4GiB'."
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the store in the URL that it prints.")] = "default",
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", "-d", help="Where it keeps its things; a temporary folder by default."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a server, print the URL of a store on it, and run until Ctrl-C.

    The URL opens stores and streams for every process of this user.
    """
    if directory is not None:
        _serve(url, name, directory, as_json)
        return
    with tempfile.TemporaryDirectory(prefix="dovetail-") as folder:
        _serve(url, name, Path(folder), as_json)


def _serve(text: str, name: str, directory: Path, as_json: bool) -> None:
    from dovetail.cli import foreground
    from dovetail.errors import InvalidURLError
    from dovetail.transport.registry import engine_of
    from dovetail.transport.serving import OffersServer
    from dovetail.transport.url import parse

    url = parse(text, "store")
    engine = engine_of(url)
    server = (
        engine.server(url, directory.absolute(), name) if isinstance(engine, OffersServer) else None
    )
    if server is None:
        raise InvalidURLError(
            f"{url.scheme}://{'NAME' if url.location else ''} starts no server: write an engine "
            f"that has one, without a place, such as redis://"
        )

    def say(pid: int) -> None:
        if as_json:
            print_json({"url": server.url, "pid": pid, "folder": str(server.folder)})
        else:
            print(server.url)
        sys.stdout.flush()

    directory.mkdir(parents=True, exist_ok=True)
    foreground.run(server, directory / f"{name}.log", say)
