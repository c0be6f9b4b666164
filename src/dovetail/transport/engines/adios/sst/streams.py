"""Opening, describing and removing streams over SST."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from functools import cache

from dovetail.errors import CapabilityError, EngineUnavailableError, TransportTimeoutError
from dovetail.transport import ledger
from dovetail.transport.contract import (
    Participant,
    ReadStep,
    StreamDescription,
    StreamReader,
    StreamWriter,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios import library
from dovetail.transport.engines.adios.files import LOOK_AGAIN
from dovetail.transport.engines.adios.sst import contact
from dovetail.transport.engines.adios.sst.incoming import ReadingMedium
from dovetail.transport.engines.adios.sst.medium import SstMedium
from dovetail.transport.engines.adios.sst.network import transport_of
from dovetail.transport.engines.adios.sst.outgoing import WritingMedium
from dovetail.transport.engines.adios.sst.plain import RECIPES, contact_of, is_served
from dovetail.transport.engines.adios.sst.plain_reader import PlainReader
from dovetail.transport.engines.adios.sst.plain_writer import PlainWriter
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.policies import Policy
from dovetail.transport.url import URL

_OPTIONS = ("capacity", "contact", "interface", "linger", "recipe", "transport")


def open_writer(url: URL, policy: Policy, participant: Participant) -> StreamWriter:
    """The producing end."""
    place = _place(url)
    recipe = url.choice_option("recipe", "none", *RECIPES)
    if recipe != "none":
        _check_recipe(url, recipe, policy)
        return PlainWriter(str(url), place, recipe, _parameters(url, place), participant)
    parameters = {
        **_parameters(url, place),
        "RendezvousReaderCount": "1",
        "QueueLimit": "0",
        "ReserveQueueLimit": "0",
        # Or the carrier would write every block to every reader before it goes on.
        "SpeculativePreloadMode": "OFF",
    }

    def open_medium() -> WritingMedium:
        line = contact.attach_or_start(place, Deadline(participant.timeout))
        return WritingMedium(place, line, parameters)

    return ledger.open_writer(url, open_medium, policy, participant)


def open_reader(url: URL, participant: Participant) -> StreamReader:
    """The consuming end."""
    place = _place(url)
    parameters = _parameters(url, place)
    if _is_plain(url, place, Deadline(participant.timeout)):
        return PlainReader(str(url), place, parameters, participant)

    def open_medium() -> ReadingMedium:
        line = contact.wait_for(place, Deadline(participant.timeout))
        return ReadingMedium(place, line, parameters, True, participant.timeout)

    return ledger.open_reader(url, open_medium, participant)


def describe_stream(url: URL) -> StreamDescription:
    """A stream from outside."""
    place = _place(url)
    return ledger.describe_stream(url, lambda: SstMedium(place, contact.attach(place)))


def tail_stream(url: URL, timeout: float | None) -> Iterator[ReadStep]:
    """Follow the newest steps without taking part."""
    place = _place(url)

    def open_medium() -> ReadingMedium:
        line = contact.wait_for(place, Deadline(timeout))
        return ReadingMedium(place, line, _parameters(url, place), False, timeout)

    return ledger.tail_stream(url, open_medium, timeout)


def destroy_stream(url: URL) -> None:
    """Remove a stream."""
    place = _place(url)
    ledger.destroy_stream(url, lambda: SstMedium(place, contact.attach(place)))


def _place(url: URL) -> contact.Place:
    url.only(*_OPTIONS)
    if library.installed() is None:
        raise EngineUnavailableError(f"sst:// needs the package adios2: {library.INSTALL}")
    return contact.place_of(url)


def _check_recipe(url: URL, recipe: str, policy: Policy) -> None:
    """Refuse a policy that a recipe does not come near to.

    Raises
    ------
    CapabilityError
    """
    kept = {"sync": ("buffered",), "async": ("buffered", "latest")}[recipe]
    if policy.kind not in kept:
        raise CapabilityError(
            f"{url}: plain SST does not keep {policy}; its recipe {recipe!r} has a flow control of "
            f"its own. Leave recipe= away between ends of Dovetail"
        )


def _is_plain(url: URL, place: contact.Place, deadline: Deadline) -> bool:
    """Whether the writer writes plain SST, once there is one.

    Returns
    -------
    bool
        False if there is none when the deadline has passed.
    """
    asked = url.choice_option("recipe", "none", *RECIPES) != "none"
    while not (place.contact.exists() and not asked):
        if is_served(place):
            return True
        if deadline.passed:
            if asked:
                raise TransportTimeoutError(
                    f"no writer has opened {url} within {deadline}: is it running, and is its "
                    f"contact file {contact_of(place)}?"
                )
            return False
        time.sleep(min(LOOK_AGAIN, deadline.left()))
    return False


@cache
def _require_transport(transport: str) -> None:
    """Check that SST would not take another one instead, unasked.

    Raises
    ------
    EngineUnavailableError
    """
    name = contact.own_folder("sst") / f"probe.{secrets.token_hex(6)}"
    parameters = {"DataTransport": transport, "RendezvousReaderCount": "0"}
    worker = Worker("probe", {"address": str(name), "parameters": parameters})
    try:
        found = worker.hear(Deadline(60.0))
        why = "it did not open within 60 s" if found is None else found[0]
    finally:
        worker.kill()
        worker.let_go()
    if why:
        raise EngineUnavailableError(
            f"transport={transport.lower()}: this adios2 has no such data transport ({why}). It "
            f"would take another one in silence: leave the option away for TCP, or install an "
            f"adios2 that was built with it"
        )


def _parameters(url: URL, place: contact.Place) -> dict[str, str]:
    """What both ends tell SST."""
    transport = transport_of(url)
    if transport != "WAN":
        _require_transport(transport)
    return {
        "DataTransport": transport,
        "ControlTransport": "tcp",
        "NetworkInterface": place.interface,
        "OpenTimeoutSecs": "60",
    }
