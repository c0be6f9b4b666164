"""Names to URLs: where the streams and stores of one run lie, and how they go away again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dovetail.errors import (
    CapabilityError,
    DovetailError,
    EngineUnavailableError,
    InvalidURLError,
    KeyNotFoundError,
)
from dovetail.flow.plan import SERVERS
from dovetail.transport.registry import destroy_stream, engine_of, open_store
from dovetail.transport.serving import OffersServer, ServerDescription
from dovetail.transport.url import URL, parse

OWN_LOCATION = ("shm", "file", "sst", "bp5")
"""Schemes whose URL may leave out the location: it is then the run's own."""


class RunServer(NamedTuple):
    """A server of a run, which serves all streams and stores that are written alike."""

    name: str
    description: ServerDescription


def servers(
    streams: Mapping[str, str], stores: Mapping[str, str], directory: Path
) -> dict[str, RunServer]:
    """The servers that a run needs for itself, by the URLs that ask for them.

    Parameters
    ----------
    directory
        Of the run; it need not exist.
    """
    found: dict[str, RunServer] = {}
    for purpose, urls in (("stream", streams), ("store", stores)):
        for text in urls.values():
            if text in found:
                continue
            url = parse(text.replace("{run}", str(directory)), purpose)
            alike = sum(server.name.split("-")[0] == url.scheme for server in found.values())
            name = f"{url.scheme}-{alike + 1}" if alike else url.scheme
            described = server_of(url, directory, name)
            if described is not None:
                found[text] = RunServer(name, described)
    return found


def server_of(url: URL, directory: Path, name: str) -> ServerDescription | None:
    """The server that a URL asks for; None if it names one, or its engine needs none."""
    if url.location:
        return None
    engine = engine_of(url)
    if not isinstance(engine, OffersServer):
        return None
    return engine.server(url, directory / SERVERS, name)


def locate(
    urls: Mapping[str, str],
    purpose: str,
    directory: str,
    label: str,
    servers: Mapping[str, RunServer],
) -> dict[str, str]:
    """The URLs of one run.

    Parameters
    ----------
    urls
        As the workflow gives them.
    purpose
        ``stream`` or ``store``.
    directory
        Of the run: what ``{run}`` stands for, and where a bare ``file://`` lies.
    label
        What the names in shared memory of this run begin with.
    servers
        Of the run, by the URLs that ask for them.
    """
    located = {}
    for name, text in urls.items():
        if text in servers:
            located[name] = servers[text].description.url_of(name)
            continue
        url = parse(text.replace("{run}", directory), purpose)
        located[name] = str(url if url.location else _own(url, purpose, directory, label, name))
    return located


def _own(url: URL, purpose: str, directory: str, label: str, name: str) -> URL:
    """Where a stream or store lies that is to be the run's own."""
    match url.scheme:
        case "shm":
            return URL(url.scheme, f"{label}.{name}", url.options)
        case "sst":
            options = {"contact": f"{directory}/contacts", **url.options}
            return URL(url.scheme, f"{label}.{name}", options)
        case "file" | "bp5":
            return URL(url.scheme, f"{directory}/{purpose}s/{name}", url.options)
    return url


def probe(url: URL, purpose: str, name: str) -> None:
    """Look whether a stream or store could be opened, without making it.

    Raises
    ------
    DovetailError
        If it could not: a wrong name or option, an engine that is not here.
    """
    engine = engine_of(url)
    status = engine.status(url.scheme)
    if not status.available:
        raise EngineUnavailableError(f"{url.scheme}:// cannot run here: {status.detail}")
    if not getattr(status.capabilities, purpose):
        raise CapabilityError(f"{url.scheme}:// offers no {purpose}s: choose another engine")
    if not status.capabilities.started_apart:
        raise CapabilityError(
            f"{url.scheme}:// joins only components that one command launches together, and a "
            f"workflow starts each by itself: choose an engine such as shm://, sst:// or "
            f"redis://, or start the components without a workflow "
            f"(mpiexec -n 4 sim : -n 2 trainer)"
        )
    if server_of(url, Path("/run"), name) is not None:
        return
    if "@" in url.location and not url.location.startswith("/"):
        account = url.location.rpartition("@")[0]
        if ":" in account:
            raise InvalidURLError(
                f"the {url.scheme}:// URL holds a password, which would be written into the files "
                f"of the run: take it out, and give password_file= or password_env="
            )
    if not url.location and url.scheme in OWN_LOCATION:
        url = _own(url, purpose, "/probe", "probe", name)
    with contextlib.suppress(KeyNotFoundError):
        if purpose == "stream":
            engine.describe_stream(url)
        elif url.scheme in ("shm", "file"):
            options = {**url.options, "create": "no"}
            engine.open_store(URL(url.scheme, url.location, options), 0).close()
    url.bytes_option("capacity")


def in_shared_memory(url: str) -> bool:
    """Whether what lies at the URL is gone with the run, unless it was there before."""
    return url.startswith("shm://")


def exists(url: str, purpose: str) -> bool:
    """Whether something lies at a ``shm://`` URL now."""
    from dovetail.transport.engines.local.places import folder_of

    return folder_of(parse(url, purpose), purpose).is_dir()


def remove(url: str, purpose: str) -> str | None:
    """Remove a stream or store of the run from shared memory; return what prevented it."""
    try:
        if purpose == "stream":
            with contextlib.suppress(KeyNotFoundError):
                destroy_stream(url)
        else:
            parsed = parse(url, purpose)
            with contextlib.suppress(KeyNotFoundError):
                open_store(str(URL(parsed.scheme, parsed.location, {"create": "no"}))).destroy()
    except (DovetailError, OSError) as error:
        return f"{purpose} {url} could not be removed: {error}"
    return None


def label_of(directory: Path, token: str) -> str:
    """What the names in shared memory of a run begin with: short, and no other run's."""
    return f"{re.sub('[^A-Za-z0-9_.+@-]', '-', directory.name)[:80].lstrip('-.') or 'run'}-{token}"
