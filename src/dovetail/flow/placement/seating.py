"""The cores and GPUs of a node, dealt to the ranks of the components that are there.

First come those that name their cores or GPUs, then those that want GPUs, then those that want
cores; each kind in the order of the workflow, and each rank gets the lowest that are free. So the
same request always has the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dovetail.flow.machines.profile import Machine
from dovetail.flow.numbers import ranges
from dovetail.flow.placement.result import Seat
from dovetail.flow.schema import Component

_Item = TypeVar("_Item")
_LAST = 4


@dataclass(frozen=True, slots=True)
class Crowd:
    """The ranks of a component on each of its nodes."""

    component: Component
    size: int
    nodes: frozenset[int]
    leader: str | None = None
    """The component whose cores and GPUs it shares, in turns."""
    kept_apart: bool = False
    """Even if it asks for no cores, it keeps off those of the others."""

    @property
    def name(self) -> str:
        return self.component.name

    @property
    def who(self) -> str:
        return f"component {self.name!r}"


Seats = dict[str, tuple[Seat, ...]]


@dataclass(slots=True)
class _Taken:
    """What the components seated so far have, and where."""

    seats: Seats = field(default_factory=dict)
    crowds: dict[str, Crowd] = field(default_factory=dict)

    def put(self, crowd: Crowd, seats: Iterable[Seat]) -> None:
        self.seats[crowd.name] = tuple(seats)
        self.crowds[crowd.name] = crowd

    def cores(self, crowd: Crowd) -> dict[int, str]:
        """The cores that are taken on a node of this crowd, and by whom."""
        return {
            core: name
            for name, seats in self._beside(crowd)
            for seat in seats
            for core in seat.cores or ()
        }

    def gpus(self, crowd: Crowd) -> dict[str, str]:
        """The GPUs that are taken on a node of this crowd, and by whom."""
        return {
            gpu: name for name, seats in self._beside(crowd) for seat in seats for gpu in seat.gpus
        }

    def _beside(self, crowd: Crowd) -> list[tuple[str, tuple[Seat, ...]]]:
        return [
            (name, seats)
            for name, seats in self.seats.items()
            if name != crowd.name and not self.crowds[name].nodes.isdisjoint(crowd.nodes)
        ]


def seat(machine: Machine, crowds: Sequence[Crowd]) -> tuple[Seats, list[str]]:
    """Seat the ranks of all crowds.

    Returns
    -------
    tuple
        The seats of each component, those that could be seated; and what is wrong, with the
        arithmetic.
    """
    return _Seating(machine).all(crowds)


class _Seating:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._node = machine.node
        self._place = {core: index for index, core in enumerate(machine.node.cores)}
        self._threads = {core: machine.node.threads_of(core) for core in machine.node.cores}
        self._devices = {device.name: device for device in machine.node.devices}
        self._taken = _Taken()
        self._problems: list[str] = []

    def all(self, crowds: Sequence[Crowd]) -> tuple[Seats, list[str]]:
        leading = [crowd for crowd in crowds if crowd.leader is None]
        for crowd in sorted(leading, key=_turn):  # stable: each kind stays in its order
            match _turn(crowd):
                case 0 | 1:
                    self._seat_named(crowd, crowds)
                case 2:
                    self._seat_with_gpus(crowd)
                case 3:
                    self._seat_with_cores(crowd)
                case _:
                    self._taken.put(crowd, [Seat(None)] * crowd.size)
        for crowd in crowds:
            if crowd.leader is not None and crowd.leader in self._taken.seats:
                self._seat_in_turns(crowd)
        for crowd in leading:
            if _turn(crowd) == _LAST and crowd.kept_apart:
                self._seat_on_what_is_left(crowd)
        return self._taken.seats, self._problems

    # Those that name what they want

    def _seat_named(self, crowd: Crowd, crowds: Sequence[Crowd]) -> None:
        component, before = crowd.component, len(self._problems)
        if component.cores is not None:
            self._check_named_cores(crowd)
        if component.gpus is not None:
            self._check_named_gpus(crowd)
        if len(self._problems) > before:
            return
        blocks: list[tuple[int, ...] | None] = [None] * crowd.size
        if component.cores is not None:
            blocks = [*_dealt(component.cores, crowd.size)]
        gpus: list[tuple[str, ...]] | None = [()] * crowd.size
        if component.gpus is not None:
            gpus = [*_dealt(component.gpus, crowd.size)]
            if component.cores is None:
                self._put_near(crowd, gpus)
                return
        elif component.gpus_per_process is not None:
            spoken_for = self._named_gpus_beside(crowd, crowds)
            gpus = self._gpus_near(crowd, blocks, spoken_for)
        if gpus is not None:
            self._taken.put(crowd, map(Seat, blocks, gpus))

    def _check_named_cores(self, crowd: Crowd) -> None:
        component, ranks = crowd.component, crowd.size
        assert component.cores is not None
        named = component.cores
        threads = {thread for core in self._node.cores for thread in self._node.threads_of(core)}
        absent = sorted({*named} - {*self._node.cores} - threads)
        if absent:
            self._refuse(
                crowd,
                f"{self._this} has no core {ranges(absent)} for it: there are "
                f"{ranges(self._node.cores)}",
            )
        reserved = {*named} & {
            thread for core in self._node.reserved for thread in self._node.threads_of(core)
        }
        if reserved:
            self._refuse(
                crowd,
                f"core {ranges(reserved)} of {self._machine.name} is reserved for the system: "
                f"name another",
            )
        twice = {core for core in named if named.count(core) > 1}
        if twice:
            self._refuse(crowd, f"core {ranges(twice)} is listed twice: name each once")
        self._check_shared(crowd, named, self._taken.cores(crowd), "core", "cores")
        if component.cpus_per_process is not None:
            needed = ranks * component.cpus_per_process
            if needed != len(named):
                self._refuse(
                    crowd,
                    f"{ranks} ranks × {component.cpus_per_process} cores = {needed}, but "
                    f"{len(named)} are listed: list {needed}, or leave out cpus_per_process",
                )
        elif len(named) % ranks:
            self._refuse(
                crowd,
                f"{len(named)} cores cannot be dealt evenly to {ranks} ranks: list a multiple of "
                f"{ranks}, or leave out 'cores'",
            )

    def _check_named_gpus(self, crowd: Crowd) -> None:
        component, ranks = crowd.component, crowd.size
        assert component.gpus is not None
        named = component.gpus
        absent = [name for name in dict.fromkeys(named) if name not in self._devices]
        if absent:
            there = ", ".join(self._devices) or "none"
            self._refuse(
                crowd, f"{self._this} has no GPU {', '.join(absent)} for it: there are {there}"
            )
        twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
        if twice:
            self._refuse(crowd, f"GPU {', '.join(twice)} is listed twice: name each once")
        self._check_shared(crowd, named, self._taken.gpus(crowd), "GPU", "gpus")
        if component.gpus_per_process is not None:
            needed = ranks * component.gpus_per_process
            if needed != len(named):
                self._refuse(
                    crowd,
                    f"{ranks} ranks × {component.gpus_per_process} GPUs = {needed}, but "
                    f"{len(named)} are listed: list {needed}, or leave out gpus_per_process",
                )
        elif len(named) % ranks:
            self._refuse(
                crowd,
                f"{len(named)} GPUs cannot be dealt evenly to {ranks} ranks: list a multiple of "
                f"{ranks}, or leave out 'gpus'",
            )

    def _check_shared(
        self,
        crowd: Crowd,
        named: Iterable[_Item],
        owners: Mapping[_Item, str],
        kind: str,
        key: str,
    ) -> None:
        shared: dict[str, list[str]] = {}
        for one in dict.fromkeys(named):
            if one in owners:
                shared.setdefault(owners[one], []).append(str(one))
        for other, those in shared.items():
            self._problems.append(
                f"components {other!r} and {crowd.name!r} are both on {kind} {', '.join(those)}: "
                f"give each {key} of its own, or leave out {key!r} to let them share"
            )

    # Those that want GPUs

    def _seat_with_gpus(self, crowd: Crowd) -> None:
        each = crowd.component.gpus_per_process
        assert each is not None
        taken = self._taken.gpus(crowd)
        free = [name for name in self._devices if name not in taken]
        needed = crowd.size * each
        if needed > len(free):
            self._refuse_gpus(crowd, each, len(free))
            return
        self._put_near(crowd, [*_dealt(free[:needed], crowd.size)])

    def _put_near(self, crowd: Crowd, gpus: Sequence[tuple[str, ...]]) -> None:
        """Seat ranks whose GPUs are known on cores that are near these."""
        cpus = crowd.component.cpus_per_process
        taken = self._occupied(crowd)
        seats = []
        for names in gpus:
            near = self._in_order(core for name in names for core in self._devices[name].cores)
            if cpus is None and not near:
                seats.append(Seat(None, names))  # nobody knows what is near
                continue
            free = [core for core in near if core not in taken]
            if cpus is not None:
                free = self._filled_up(free, near, taken, cpus)
            if not free or (cpus is not None and len(free) < cpus):
                if cpus is not None:
                    self._refuse_cores(crowd, cpus)
                else:
                    self._refuse(
                        crowd,
                        f"all cores near its GPU {', '.join(names)} ({ranges(near)}) are taken: "
                        f"give cpus_per_process to have it sit elsewhere",
                    )
                return
            seats.append(Seat(tuple(free), names))
            taken |= {*free}
        self._taken.put(crowd, seats)

    def _filled_up(
        self, free: list[int], near: Sequence[int], taken: set[int], cpus: int
    ) -> list[int]:
        """`cpus` cores: rather near ones, then others of their domain, then any."""
        domains = self._node.domains
        close = [domain for domain in domains if not {*near}.isdisjoint(domain)]
        far = [domain for domain in domains if {*near}.isdisjoint(domain)]
        rest = [core for domain in [*close, *far] for core in domain]
        usable = {*self._node.usable}
        candidates = dict.fromkeys([*free, *(core for core in rest if core not in taken)])
        return self._in_order([core for core in candidates if core in usable][:cpus])

    def _gpus_near(
        self, crowd: Crowd, blocks: Sequence[tuple[int, ...] | None], spoken_for: set[str]
    ) -> list[tuple[str, ...]] | None:
        """GPUs for ranks whose cores are known: the nearest that are free."""
        each = crowd.component.gpus_per_process
        assert each is not None
        taken = {*self._taken.gpus(crowd)} | spoken_for
        free = [name for name in self._devices if name not in taken]
        if crowd.size * each > len(free):
            self._refuse_gpus(crowd, each, len(free))
            return None
        given = []
        for block in blocks:
            cores = {*(block or ())}
            domain = {c for domain in self._node.domains if cores & {*domain} for c in domain}
            order = sorted(free, key=lambda name: self._distance(name, cores, domain))
            given.append(tuple(order[:each]))
            free = [name for name in free if name not in order[:each]]
        return given

    def _distance(self, gpu: str, cores: set[int], domain: set[int]) -> int:
        near = self._devices[gpu].cores
        return 0 if not cores.isdisjoint(near) else 1 if not domain.isdisjoint(near) else 2

    def _named_gpus_beside(self, crowd: Crowd, crowds: Sequence[Crowd]) -> set[str]:
        return {
            name
            for other in crowds
            if other is not crowd and not other.nodes.isdisjoint(crowd.nodes)
            for name in other.component.gpus or ()
        }

    # Those that want cores

    def _seat_with_cores(self, crowd: Crowd) -> None:
        cpus = crowd.component.cpus_per_process
        assert cpus is not None
        taken = self._occupied(crowd)
        domains = [[c for c in domain if c not in taken] for domain in self._node.domains]
        seats = []
        for _ in range(crowd.size):
            roomy = next((domain for domain in domains if len(domain) >= cpus), None)
            free = roomy if roomy is not None else [core for domain in domains for core in domain]
            if len(free) < cpus:
                self._refuse_cores(crowd, cpus)
                return
            block = free[:cpus]
            seats.append(Seat(tuple(block)))
            domains = [[core for core in domain if core not in block] for domain in domains]
        self._taken.put(crowd, seats)

    # Those that sit on what is there

    def _seat_in_turns(self, crowd: Crowd) -> None:
        assert crowd.leader is not None
        leading, lead = self._taken.seats[crowd.leader], self._taken.crowds[crowd.leader]
        asked = (crowd.component.cpus_per_process, crowd.component.gpus_per_process)
        has = (len(leading[0].cores or ()), len(leading[0].gpus))
        if crowd.size == lead.size and all(
            want in (None, have) for want, have in zip(asked, has, strict=True)
        ):
            self._taken.put(crowd, leading)
            return
        cores = [*dict.fromkeys(core for seat in leading for core in seat.cores or ())]
        gpus = [*dict.fromkeys(gpu for seat in leading for gpu in seat.gpus)]
        each = []
        for want, there, what in ((asked[0], cores, "cores"), (asked[1], gpus, "GPUs")):
            share = len(there) // crowd.size if want is None else want
            least = want or (1 if there and what == "cores" else 0)
            if max(share, least) * crowd.size > len(there):
                self._refuse(
                    crowd,
                    f"{crowd.size} ranks × {max(share, least)} {what} = "
                    f"{crowd.size * max(share, least)}, but {crowd.leader!r}, on whose {what} it "
                    f"takes turns, has {len(there)}: ask for less, or name {crowd.name!r} first "
                    f"in time_divide",
                )
                return
            each.append(share)
        self._taken.put(
            crowd,
            [
                Seat(
                    tuple(cores[slot * each[0] : (slot + 1) * each[0]]) or None,
                    tuple(gpus[slot * each[1] : (slot + 1) * each[1]]),
                )
                for slot in range(crowd.size)
            ],
        )

    def _seat_on_what_is_left(self, crowd: Crowd) -> None:
        """Ranks that ask for no cores, but are promised to keep off those of the others."""
        taken, occupied = self._taken.cores(crowd), self._occupied(crowd)
        if not taken:
            return
        left = tuple(core for core in self._node.usable if core not in occupied)
        if not left:
            owners = ", ".join(sorted({*taken.values()}))
            self._refuse(
                crowd,
                f"it is colocated with cores of its own, but {owners} took all {len(taken)} of "
                f"{self._this}: leave it some",
            )
            return
        self._taken.put(crowd, [Seat(left)] * crowd.size)

    # What is said when it cannot be

    @property
    def _this(self) -> str:
        one = self._machine.launcher.kind == "processes"
        return "this machine" if one else f"a node of {self._machine.name}"

    def _refuse(self, crowd: Crowd, text: str) -> None:
        self._problems.append(f"{crowd.who}: {text}")

    def _refuse_cores(self, crowd: Crowd, cpus: int) -> None:
        taken, occupied = self._taken.cores(crowd), self._occupied(crowd)
        free = [core for core in self._node.usable if core not in occupied]
        one = self._machine.launcher.kind == "processes"
        where = "here" if one else f"of {self._this}"
        shares = "".join(
            f", {other} has {sum(name == other for name in taken.values())}"
            for other in dict.fromkeys(taken.values())
        )
        kept = f", {ranges(self._node.reserved)} reserved" if self._node.reserved else ""
        self._refuse(
            crowd,
            f"{crowd.size} ranks × {cpus} cores = {crowd.size * cpus}, but {len(free)} of the "
            f"{len(self._node.cores)} cores {where} ({ranges(self._node.cores)}{kept}{shares}) "
            f"are free: ask for less, or leave out cpus_per_process to run unbound",
        )

    def _refuse_gpus(self, crowd: Crowd, each: int, free: int) -> None:
        if not self._devices:
            self._refuse(
                crowd,
                f"it asks for {each} GPU{'s' if each != 1 else ''} a rank, and {self._this} has "
                f"none: leave out gpus_per_process, or choose another machine",
            )
            return
        taken = self._taken.gpus(crowd)
        shares = "".join(
            f", {other} has {sum(name == other for name in taken.values())}"
            for other in dict.fromkeys(taken.values())
        )
        self._refuse(
            crowd,
            f"{crowd.size} ranks × {each} GPUs = {crowd.size * each}, but {free} of the "
            f"{len(self._devices)} GPUs of {self._this}{shares} are free: ask for less, or take "
            f"more nodes",
        )

    def _occupied(self, crowd: Crowd) -> set[int]:
        """The cores of which somebody has a hardware thread, on a node of this crowd."""
        taken = self._taken.cores(crowd)
        return {
            core for core in self._node.cores if not taken.keys().isdisjoint(self._threads[core])
        }

    def _in_order(self, cores: Iterable[int]) -> list[int]:
        """Usable cores, once each, in the order in which they are given out."""
        usable = {*self._node.usable}
        return sorted({core for core in cores if core in usable}, key=self._place.__getitem__)


def _turn(crowd: Crowd) -> int:
    """When it is seated."""
    component = crowd.component
    wants = (
        component.cores,
        component.gpus,
        component.gpus_per_process,
        component.cpus_per_process,
    )
    return next((turn for turn, want in enumerate(wants) if want is not None), _LAST)


def _dealt(items: Sequence[_Item], ranks: int) -> list[tuple[_Item, ...]]:
    each = len(items) // ranks
    return [tuple(items[slot * each : (slot + 1) * each]) for slot in range(ranks)]
