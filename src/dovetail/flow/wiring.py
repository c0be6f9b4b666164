"""Names to URLs: where the streams and stores of one run lie, and how they go away again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from dovetail.errors import (
    CapabilityError,
    DovetailError,
    EngineUnavailableError,
    KeyNotFoundError,
)
from dovetail.transport.registry import destroy_stream, engine_of, open_store
from dovetail.transport.url import URL, parse

OWN_LOCATION = ("shm", "file")
"""Schemes whose URL may leave out the location: it is then the run's own."""


def locate(urls: Mapping[str, str], purpose: str, directory: str, label: str) -> dict[str, str]:
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
    """
    located = {}
    for name, text in urls.items():
        url = parse(text.replace("{run}", directory), purpose)
        if not url.location and url.scheme == "shm":
            url = URL(url.scheme, f"{label}.{name}", url.options)
        elif not url.location and url.scheme == "file":
            url = URL(url.scheme, f"{directory}/{purpose}s/{name}", url.options)
        located[name] = str(url)
    return located


def probe(url: URL, purpose: str) -> None:
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
    if not url.location and url.scheme in OWN_LOCATION:
        url = URL(url.scheme, "probe" if url.scheme == "shm" else "/probe", url.options)
    with contextlib.suppress(KeyNotFoundError):
        if purpose == "stream":
            engine.describe_stream(url)
        elif url.scheme in OWN_LOCATION:
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
