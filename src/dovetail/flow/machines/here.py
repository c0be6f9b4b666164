"""This machine, as the kernel describes it: what of it this process may use.

Where devices are, ``lstopo`` is asked too, if it is installed: it knows what is near them.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dovetail.flow.machines import hwloc
from dovetail.flow.machines.profile import (
    Adapter,
    Device,
    Devices,
    Domain,
    Launcher,
    Machine,
    Node,
    Paths,
)
from dovetail.flow.numbers import numbers_in

_SYS = Path("/sys")
_PROC = Path("/proc")
_NVIDIA, _AMD = "0x10de", "0x1002"
_DISPLAYS = ("0x0300", "0x0302", "0x0380")
"""PCI classes of what may compute."""


def local() -> Machine:
    """This machine, with processes of its own."""
    return Machine(
        name="local",
        description=f"This machine ({socket.gethostname()}), as its kernel describes it",
        node=node(),
        node_count=1,
        launcher=Launcher(kind="processes"),
        paths=Paths(memory="/dev/shm", scratch=os.environ.get("TMPDIR", "/tmp")),
    )


def node() -> Node:
    """The shape of this machine: of its cores those that this process may use."""
    return _node(tuple(sorted(os.sched_getaffinity(0))))


@cache
def _node(usable: tuple[int, ...]) -> Node:
    siblings = {core: threads_of(core) for core in usable}
    place = {core: [other for other in siblings[core] if other in usable] for core in usable}
    # Each core's first thread before any core's second: two ranks rather get two cores.
    order = sorted(usable, key=lambda core: (place[core].index(core), core))
    each = max((len(threads) for threads in siblings.values()), default=1)
    gpus, nics = _gpus(usable), _adapters(usable)
    if gpus is not None or nics:
        gpus, nics = _nearer(gpus, nics, hwloc.near(), set(usable))
    return Node(
        cores=order,
        threads_per_core=each,
        numa=_domains(set(usable)),
        gpus=gpus,
        nics=nics,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        quota=quota(),
    )


def threads_of(core: int) -> tuple[int, ...]:
    """The hardware threads that share a core with this one, itself included."""
    listed = _text(_SYS / f"devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return tuple(sorted(numbers_in(listed))) if listed else (core,)


def quota() -> float | None:
    """Cores' worth of time that the cgroup of this process may use; None without a limit."""
    limits = [*_quotas_of_version_2(), *_quotas_of_version_1()]
    return min(limits, default=None)


def _quotas_of_version_2() -> Iterator[float]:
    path = next(
        (line[3:] for line in _text(_PROC / "self/cgroup").splitlines() if line[:3] == "0::"), None
    )
    if path is None:
        return
    folder = _SYS / "fs/cgroup" / path.strip("/")
    for place in (folder, *folder.parents):
        most, _, period = _text(place / "cpu.max").partition(" ")
        if most.isdecimal() and period.strip().isdecimal():
            yield int(most) / int(period)
        if place == _SYS / "fs/cgroup":
            return


def _quotas_of_version_1() -> Iterator[float]:
    folder = _SYS / "fs/cgroup/cpu"
    most, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    if most.isdecimal() and period.isdecimal() and int(period) > 0:
        yield int(most) / int(period)


def _domains(usable: set[int]) -> list[Domain]:
    domains = []
    for folder in _numbered(_SYS / "devices/system/node", "node"):
        cores = sorted(usable & {*numbers_in(_text(folder / "cpulist") or [])})
        total = re.search(r"MemTotal:\s+(\d+) kB", _text(folder / "meminfo"))
        if cores:
            domains.append(
                Domain(cores=cores, memory=int(total[1]) * 1024 if total is not None else None)
            )
    return domains


def _gpus(usable: tuple[int, ...]) -> Devices | None:
    for vendor, variable, kind, there in (
        (_NVIDIA, "CUDA_VISIBLE_DEVICES", "NVIDIA GPU", _PROC / "driver/nvidia/gpus"),
        (_AMD, "ROCR_VISIBLE_DEVICES", "AMD GPU", _SYS / "class/kfd/kfd"),
    ):
        if not there.exists():
            continue  # without its driver a card is for the screen
        found = [
            Device(name=str(index), selector=str(index), cores=_near(folder, usable))
            for index, folder in enumerate(_cards(vendor))
        ]
        if found:
            order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if vendor == _NVIDIA else {}
            return Devices(kind=kind, variable=variable, environment=order, devices=found)
    return None


def _cards(vendor: str) -> list[Path]:
    """The PCI devices of a vendor that are displays or accelerators, in the order of the bus."""
    return [
        folder
        for folder in sorted((_SYS / "bus/pci/devices").glob("*"))
        if _text(folder / "vendor") == vendor and _text(folder / "class")[:6] in _DISPLAYS
    ]


def _adapters(usable: tuple[int, ...]) -> list[Adapter]:
    """Fabric interfaces; of others, what is a device and no bridge or loop."""
    found: dict[str, Path] = {}
    for kind in ("cxi", "infiniband"):
        for folder in sorted((_SYS / "class" / kind).glob("*")):
            found[folder.name] = folder / "device"
    for folder in sorted((_SYS / "class/net").glob("*")):
        if (folder / "device").exists():
            found.setdefault(folder.name, folder / "device")
    return [Adapter(name=name, cores=_near(device, usable)) for name, device in found.items()]


def _near(device: Path, usable: tuple[int, ...]) -> list[int]:
    listed = _text(device / "local_cpulist")
    near = {*numbers_in(listed)} if listed else set()
    return sorted(near & {*usable})


def _nearer(
    gpus: Devices | None, nics: list[Adapter], near: dict[str, list[int]], usable: set[int]
) -> tuple[Devices | None, list[Adapter]]:
    """The same devices with the cores that hwloc finds near, where it knows them."""
    for nic in nics:
        nic.cores = sorted({*near.get(nic.name, nic.cores)} & usable)
    for device in [] if gpus is None else gpus.devices:
        known = next(
            (near[name] for name in _names_in_hwloc(device.name) if name in near), device.cores
        )
        device.cores = sorted({*known} & usable)
    if gpus is not None:
        _share(gpus.devices)
    return gpus, nics


def _names_in_hwloc(index: str) -> tuple[str, ...]:
    return f"cuda{index}", f"nvml{index}", f"rsmi{index}", f"opencl0d{index}"


def _share(devices: list[Device]) -> None:
    """Deal cores that are near several devices alike to them in equal parts."""
    alike: dict[tuple[int, ...], list[Device]] = {}
    for device in devices:
        alike.setdefault(tuple(device.cores), []).append(device)
    for cores, sharing in alike.items():
        each = math.floor(len(cores) / len(sharing))
        if each:
            for place, device in enumerate(sharing):
                device.cores = list(cores[place * each : (place + 1) * each])


def _numbered(folder: Path, prefix: str) -> list[Path]:
    found = [path for path in folder.glob(f"{prefix}*") if path.name[len(prefix) :].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[len(prefix) :]))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
