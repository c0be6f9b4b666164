"""What ``lstopo`` of hwloc says of a machine, read from its XML."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from xml.etree import ElementTree as ET

_NAMES = ("lstopo-no-graphics", "lstopo")
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Topology:
    """A machine, as hwloc sees it."""

    packages: int
    cores: tuple[tuple[int, ...], ...]
    """The hardware threads of each core."""
    numa: tuple[tuple[int, ...], ...]
    """The hardware threads of each NUMA domain."""
    near: dict[str, list[int]]
    """Devices that the system knows by a name, and the hardware threads near to them."""


def program() -> str | None:
    """The ``lstopo`` that is installed, if one is."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def near() -> dict[str, list[int]]:
    """The hardware threads near the devices of this machine; nothing where hwloc is not."""
    found = topology()
    return {} if found is None else found.near


@cache
def topology(options: Sequence[str] = ()) -> Topology | None:
    """What lstopo says; None where it is not, or fails.

    Parameters
    ----------
    options
        Of lstopo: ``("-i", "pack:2 core:4 pu:2")`` is a machine that does not exist.
    """
    lstopo = program()
    if lstopo is None:
        return None
    try:
        done = subprocess.run(
            [lstopo, *options, "--of", "xml"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
        return read(done.stdout)
    except (OSError, subprocess.SubprocessError, ET.ParseError, ValueError):
        return None


def read(document: bytes) -> Topology:
    """The topology in hwloc's XML, version 2 or newer.

    Raises
    ------
    xml.etree.ET.ParseError, ValueError
        If it is none.
    """
    root = ET.fromstring(document)
    found = list(_objects(root, ()))
    return Topology(
        packages=sum(kind == "Package" for kind, _, _ in found),
        cores=tuple(threads for kind, _, threads in found if kind == "Core"),
        numa=tuple(threads for kind, _, threads in found if kind == "NUMANode"),
        near={name: [*threads] for kind, name, threads in found if kind == "OSDev" and name},
    )


def _objects(
    parent: ET.Element, around: tuple[int, ...]
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Kind, name and hardware threads of all objects; a device has those of what it is in."""
    for element in parent.findall("object"):
        threads = _threads(element.get("cpuset")) or around
        yield element.get("type", ""), element.get("name", ""), threads
        yield from _objects(element, threads)


def _threads(mask: str | None) -> tuple[int, ...]:
    """The numbers in a mask such as ``0x00000003,,0x0000000f``: words of 32 bits, highest first."""
    if not mask:
        return ()
    value = 0
    for word in mask.split(","):
        value = value << 32 | (int(word, 16) if word else 0)
    return tuple(number for number in range(value.bit_length()) if value >> number & 1)
