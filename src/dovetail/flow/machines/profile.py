"""What is said of a machine: the one schema of profiles in YAML and in Python.

Sizes are bytes, and ``512 GB`` as a person writes them. Cores are numbered as the kernel does it;
a list of them can be written ``0-3,8``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dovetail.errors import InvalidMachineError, InvalidWorkflowError
from dovetail.flow.fields import CheckedModel, Environment, Name
from dovetail.flow.numbers import numbers_in, ranges
from dovetail.quantities import bytes_in


def _count_or_numbers(value: Any) -> Any:
    """A number of cores stands for those from 0 on."""
    if isinstance(value, int) and not isinstance(value, bool):
        return list(range(value))
    return numbers_in(value)


def _size(value: Any) -> Any:
    return bytes_in(value) if isinstance(value, str) else value


def _texts(value: Any) -> Any:
    """Numbers may be meant as texts: a device is called ``0`` as well as ``0.0``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


_Number = Annotated[int, Field(ge=0)]
Numbers = Annotated[list[_Number], BeforeValidator(numbers_in)]
CoreCount = Annotated[list[_Number], BeforeValidator(_count_or_numbers), Field(min_length=1)]
Label = Annotated[str, BeforeValidator(_texts), Field(min_length=1)]
Bytes = Annotated[int, BeforeValidator(_size), Field(ge=0)]
LauncherKind = Literal["processes", "hydra", "openmpi", "pals", "srun"]


class _Part(CheckedModel):
    _refusal: ClassVar[type[InvalidWorkflowError]] = InvalidMachineError


class Domain(_Part):
    """A NUMA domain: cores, and the memory that is theirs."""

    cores: Numbers = Field(min_length=1)
    memory: Bytes | None = None


class Device(_Part):
    """A GPU, or the part of one that a process is given."""

    name: Label
    """As people say it: ``0``, or ``0.0`` for the first tile of the first GPU."""
    selector: Annotated[Label, Field(pattern=r"^[^\s:,]+$")]
    """As the variable that selects devices says it: without colons, commas and blanks."""
    cores: Numbers = Field(default_factory=list)
    """The cores that are near: a process with this device runs there."""


class Devices(_Part):
    """The GPUs of a node, in the order in which ranks get them."""

    kind: str = "GPU"
    variable: str = Field(min_length=1)
    """That selects devices: ``CUDA_VISIBLE_DEVICES``, ``ZE_AFFINITY_MASK``…"""
    environment: Environment = Field(default_factory=dict)
    """Without which selectors would mean something else."""
    devices: list[Device] = Field(default_factory=list)


class Adapter(_Part):
    """A network interface."""

    name: Label
    cores: Numbers = Field(default_factory=list)
    """The cores that are near."""


class Node(_Part):
    """The shape of a node."""

    cores: CoreCount
    """In the order in which they are given out; a mere number counts from 0."""
    threads_per_core: int = Field(default=1, ge=1)
    thread_stride: int | None = Field(default=None, ge=1)
    """Thread t of core c has the number c + t × stride; None: `cores` lists all there is."""
    reserved: Numbers = Field(default_factory=list)
    """Cores of the system: nobody is put there."""
    numa: list[Domain] = Field(default_factory=list)
    gpus: Devices | None = None
    nics: list[Adapter] = Field(default_factory=list)
    memory: Bytes | None = None
    core_lists: dict[str, Numbers] = Field(default_factory=dict)
    """Lists of cores that the site recommends for something, to be looked up."""
    quota: float | None = Field(default=None, gt=0)
    """Cores' worth of time that a container may use, however many it sees."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        known = set(self.cores)
        if len(known) != len(self.cores):
            yield f"cores: {ranges(_twice(self.cores))} is listed twice: name each once"
        named: list[tuple[str, list[int]]] = [("reserved", self.reserved)]
        named += [(f"numa {index}", domain.cores) for index, domain in enumerate(self.numa)]
        named += [(f"gpu {device.name!r}", device.cores) for device in self.devices]
        named += [(f"nic {nic.name!r}", nic.cores) for nic in self.nics]
        named += [(f"core_lists {name!r}", cores) for name, cores in self.core_lists.items()]
        for what, cores in named:
            absent = set(cores) - known
            if absent:
                yield (f"{what}: there is no core {ranges(absent)}: the node has {ranges(known)}")
        shared = _twice([core for domain in self.numa for core in domain.cores])
        if shared:
            yield f"numa: core {ranges(shared)} is in two domains: name it in one"
        for what, names in (
            ("gpus", [device.name for device in self.devices]),
            ("gpus", [device.selector for device in self.devices]),
            ("nics", [nic.name for nic in self.nics]),
        ):
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"{what}: there are two {name!r}: give each a name of its own"
        if not set(self.usable):
            yield f"reserved: all cores ({ranges(known)}) are reserved: leave some to work on"

    @property
    def usable(self) -> list[int]:
        """The cores that processes may be put on, in the order in which they are given out."""
        reserved = set(self.reserved)
        return [core for core in self.cores if core not in reserved]

    @property
    def devices(self) -> list[Device]:
        """The GPUs, in order; none if there are none."""
        return [] if self.gpus is None else self.gpus.devices

    @property
    def domains(self) -> list[list[int]]:
        """The usable cores of each NUMA domain, in order; one domain if the profile names none."""
        usable = self.usable
        if not self.numa:
            return [usable]
        domains = [[core for core in usable if core in domain.cores] for domain in self.numa]
        rest = [core for core in usable if not any(core in domain for domain in domains)]
        return [domain for domain in [*domains, rest] if domain]

    def document(self) -> dict[str, Any]:
        """The node as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    def threads_of(self, core: int) -> tuple[int, ...]:
        """The numbers of a core's hardware threads; the first is its own."""
        if self.thread_stride is None:
            return (core,)
        return tuple(core + thread * self.thread_stride for thread in range(self.threads_per_core))


class Launcher(_Part):
    """What starts processes."""

    kind: LauncherKind
    program: str | None = None
    """Its name or path; by default that of its kind."""
    options: list[str] = Field(default_factory=list)
    """Words that go with each launch line."""
    local_rank: str | None = None
    """The variable in which a process finds its rank among those of its launch line on its node."""


class Queue(_Part):
    """A queue and its limits."""

    name: str
    nodes: Annotated[list[_Number], Field(min_length=2, max_length=2)]
    """The least and the most."""
    hours: float | None = Field(default=None, gt=0)


class Scheduler(_Part):
    """How a job is asked for."""

    kind: Literal["none", "slurm", "pbs"] = "none"
    resources: list[str] = Field(default_factory=list)
    """Words after ``#PBS`` or ``#SBATCH``, a line each."""
    queues: list[Queue] = Field(default_factory=list)
    """The first that takes a job is proposed."""
    account: bool = False
    """Whether a job must name one."""


class Paths(_Part):
    """Folders of a node's own."""

    memory: str | None = "/dev/shm"
    disk: str | None = None
    scratch: str | None = "/tmp"


class Machine(_Part):
    """A machine, as far as placing and starting processes goes.

    Find one with :func:`~dovetail.flow.machines.find_machine`, or make one of these fields, which
    are the keys of a profile in YAML, too.

    Raises
    ------
    InvalidMachineError
        For all that is wrong with the fields.
    """

    name: Name
    """By which ``--machine`` finds it."""
    description: str = ""
    """A sentence."""
    node: Node
    """The shape of every node; in YAML ``here`` is one like this."""
    node_count: int | None = Field(default=None, ge=1)
    """How many there are; None if that depends."""
    hosts: list[Label] = Field(default_factory=list)
    """Their names, where they are always the same."""
    launcher: Launcher
    scheduler: Scheduler = Field(default_factory=Scheduler)
    environment: Environment = Field(default_factory=dict)
    """Of every process: what the fabric needs."""
    process_environment: Environment = Field(default_factory=dict)
    """The same, where ``{number}`` stands for the number of the launch line, from 0 on."""
    setup: list[str] = Field(default_factory=list)
    """Lines of shell before anything starts: modules."""
    paths: Paths = Field(default_factory=Paths)

    @model_validator(mode="after")
    def _hosts_are_the_nodes(self) -> Self:
        twice = sorted({host for host in self.hosts if self.hosts.count(host) > 1})
        if twice:
            raise ValueError(f"hosts: {', '.join(twice)} is listed twice: name each once")
        if self.hosts and self.node_count not in (None, len(self.hosts)):
            raise ValueError(
                f"node_count: {self.node_count}, but {len(self.hosts)} hosts are listed: leave "
                f"node_count out"
            )
        return self

    @property
    def most_nodes(self) -> int | None:
        """How many nodes a job can have at most; None where nobody knows."""
        return len(self.hosts) or self.node_count

    def document(self) -> dict[str, Any]:
        """The profile as JSON values; as YAML they are a profile."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_document(cls, document: Any, source: str) -> Self:
        """The machine that a YAML file describes.

        Raises
        ------
        InvalidMachineError
            Which begins with `source`.
        """
        if not isinstance(document, Mapping):
            raise InvalidMachineError(
                f"{source}: a machine is a mapping with the keys {', '.join(cls.model_fields)}, "
                f"not {type(document).__name__}"
            )
        fields = {str(key): value for key, value in document.items() if key != "$schema"}
        try:
            return cls(**fields)
        except InvalidMachineError as error:
            raise InvalidMachineError(*(f"{source}: {text}" for text in error.problems)) from None


def _twice(numbers: list[int]) -> set[int]:
    return {number for number in numbers if numbers.count(number) > 1}
