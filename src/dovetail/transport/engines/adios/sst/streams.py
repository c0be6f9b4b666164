"""Opening, describing and removing streams over SST."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from functools import cache

from dovetail.errors import (
    CapabilityError,
    EngineUnavailableError,
    InvalidURLError,
    KeyNotFoundError,
    TransportTimeoutError,
)
from dovetail.quantities import in_bytes
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
from dovetail.transport.engines.adios.sst import contact, plain
from dovetail.transport.engines.adios.sst.incoming import ReadingMedium
from dovetail.transport.engines.adios.sst.joint_reader import JointReader
from dovetail.transport.engines.adios.sst.joint_writer import JointWriter
from dovetail.transport.engines.adios.sst.medium import EAGER, SstMedium
from dovetail.transport.engines.adios.sst.network import transport_of
from dovetail.transport.engines.adios.sst.outgoing import WritingMedium
from dovetail.transport.engines.adios.sst.plain import RECIPES, contact_of, is_served
from dovetail.transport.engines.adios.sst.plain_reader import PlainReader
from dovetail.transport.engines.adios.sst.plain_writer import PlainWriter
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.policies import Policy
from dovetail.transport.ranks import first_on_rank_0
from dovetail.transport.url import URL

MOST_EAGER = 1 << 16
"""Bytes up to which a block can travel with its announcement."""
_OPTIONS = ("capacity", "contact", "eager", "interface", "linger", "recipe", "transport")


def open_writer(url: URL, policy: Policy, participant: Participant) -> StreamWriter:
    """The producing end."""
    place = _place(url)
    recipe = url.choice_option("recipe", "none", *RECIPES)
    if recipe != "none":
        _check_recipe(url, recipe, policy)
        parameters = _parameters(url, place)
        if participant.size == 1:
            return PlainWriter(str(url), place, recipe, parameters, participant)
        _require_joint(url, participant)
        plane = _plane_of(parameters["DataTransport"])
        return JointWriter(str(url), place, recipe, plane, parameters, participant)
    parameters = {
        **_parameters(url, place),
        "RendezvousReaderCount": "1",
        "QueueLimit": "0",
        "ReserveQueueLimit": "0",
    }

    eager = _eager(url)

    def open_medium() -> WritingMedium:
        line = contact.attach_or_start(place, participant.timeout)
        return WritingMedium(place, line, parameters, eager)

    return ledger.open_writer(url, open_medium, policy, participant)


def open_reader(url: URL, participant: Participant) -> StreamReader:
    """The consuming end."""
    place = _place(url)
    parameters = _parameters(url, place)
    if first_on_rank_0(
        participant.comm,
        participant.rank,
        url,
        lambda told=None: (
            _is_plain(url, place, Deadline(participant.timeout)) if told is None else told
        ),
        lambda plain: plain,
    ):
        if participant.size > 1 and _joint(participant):
            return JointReader(str(url), place, parameters, participant)
        return PlainReader(str(url), place, parameters, participant)

    def open_medium() -> ReadingMedium:
        line = contact.wait_for(place, participant.timeout)
        return ReadingMedium(place, line, parameters, True, participant.timeout)

    return ledger.open_reader(url, open_medium, participant)


def describe_stream(url: URL) -> StreamDescription:
    """A stream from outside."""
    place = _place(url)
    try:
        medium = SstMedium(place, contact.attach(place))
    except KeyNotFoundError:
        if not contact_of(place).exists():
            raise
        return plain.describe(str(url), place)
    transport = medium.moved_by()
    return ledger.describe_stream(url, lambda: medium)._replace(transport=transport)


def tail_stream(url: URL, timeout: float | None) -> Iterator[ReadStep]:
    """Follow the newest steps without taking part."""
    place = _place(url)

    def open_medium() -> ReadingMedium:
        line = contact.wait_for(place, timeout)
        return ReadingMedium(place, line, _parameters(url, place), False, timeout)

    return ledger.tail_stream(url, open_medium, timeout)


def destroy_stream(url: URL) -> None:
    """Remove a stream."""
    place = _place(url)
    ledger.destroy_stream(url, lambda: SstMedium(place, contact.attach(place)))


def _place(url: URL) -> contact.Place:
    url.only(*_OPTIONS)
    _eager(url)
    if library.installed() is None:
        raise EngineUnavailableError(f"sst:// needs the package adios2: {library.INSTALL}")
    return contact.place_of(url)


def _eager(url: URL) -> int:
    """Up to how many bytes a block travels with its announcement.

    Raises
    ------
    InvalidURLError
    """
    asked = url.bytes_option("eager")
    if asked is not None and asked > MOST_EAGER:
        raise InvalidURLError(
            f"eager={url.options['eager']}: the process that keeps the ledger carries blocks of at "
            f"most {in_bytes(MOST_EAGER)}; larger ones go by SST"
        )
    return EAGER if asked is None else asked


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


def _joint(participant: Participant) -> bool:
    """Whether ADIOS2 can make one stream of the ranks that take part."""
    return participant.comm is not None and library.built_with_mpi()


def _require_joint(url: URL, participant: Participant) -> None:
    """Refuse several ranks where each would write a stream of its own under the same name.

    Raises
    ------
    CapabilityError
    """
    if _joint(participant):
        return
    lack = (
        "an adios2 that was built with MPI: load the module of your site"
        if participant.comm is not None
        else "a communicator (comm=) and an adios2 that was built with MPI"
    )
    raise CapabilityError(
        f"{url}: several writer ranks on one plain SST stream would overwrite each other without "
        f"{lack}. Leave recipe= away between ends of Dovetail, or open one stream a rank"
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
def _plane_of(transport: str) -> str:
    """The data plane that SST takes here for a transport.

    Raises
    ------
    EngineUnavailableError
    """
    name = contact.own_folder("sst") / f"probe.{secrets.token_hex(6)}"
    parameters = {"DataTransport": transport, "RendezvousReaderCount": "0"}
    worker = Worker("probe", {"address": str(name), "parameters": parameters})
    try:
        found = worker.hear(Deadline(60.0))
        kind, words = ("refused", "it did not open within 60 s") if found is None else found
    finally:
        worker.kill()
        worker.let_go()
    if kind == "refused":
        raise EngineUnavailableError(
            f"transport={transport.lower()}: this adios2 has no such data transport ({words}). It "
            f"would take another one in silence: leave the option away for TCP, or install an "
            f"adios2 that was built with it"
        )
    return str(words)


def _parameters(url: URL, place: contact.Place) -> dict[str, str]:
    """What both ends tell SST."""
    transport = transport_of(url)
    if transport != "WAN":
        _plane_of(transport)
    return {
        "DataTransport": transport,
        "ControlTransport": "tcp",
        "NetworkInterface": place.interface,
        "OpenTimeoutSecs": "60",
    }
