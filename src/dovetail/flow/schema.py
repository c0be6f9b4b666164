"""What a workflow is, as a user writes it: the one schema of Python and YAML.

::

    flow = dv.Workflow(
        "closure",
        streams={"fields": "shm://"},
        components=[
            dv.Component("dns", function="dns:main", writes=["fields"]),
            dv.Component("trainer", function="trainer:main", reads=["fields"]),
        ],
    )

What can be said of one field is checked here, as it is written. What needs the whole, or the
machine, is in :mod:`dovetail.flow.checks`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, PrivateAttr

from dovetail.errors import InvalidWorkflowError
from dovetail.flow.fields import (
    RESTART,
    Arguments,
    CheckedModel,
    Cores,
    DeviceNames,
    Environment,
    Name,
    Names,
    OnFailure,
    Reference,
    Text,
    Words,
    unknown_key,
)
from dovetail.flow.placement.rules import Link, PlacementRules

if TYPE_CHECKING:
    from dovetail.flow.machines import Machine
    from dovetail.flow.placement.result import Placement
    from dovetail.flow.plan import Plan
    from dovetail.flow.running import Run


class Component(CheckedModel):
    """A part of a workflow: a Python function, a script or an executable, in some ranks.

    Parameters
    ----------
    name
        Letters, digits, ``_`` and ``-``.
    function
        ``"module:function"``: imported in each rank with the flow's folder on ``sys.path``, and
        called with `arguments`. Or the function itself, if it can be imported.
    script
        Instead: a Python file, or any file that can be executed, relative to the flow's folder.
    command
        Instead: a list of words, of which the first is a program.
    arguments
        Keyword arguments of the function (JSON values); for a script a list of words, or a
        mapping, which becomes ``--name value`` (``true``: ``--name`` alone; ``false`` and
        ``null``: nothing). ``{run}`` in them, as in `command` and
        `environment`, stands for the directory of the run.
    process_count
        Ranks of the component. Left out, it is `node_count` × `processes_per_node`, or 1.
    node_count, processes_per_node
        Nodes that it takes, and its ranks on each. With `processes_per_node` alone it takes all
        nodes that are there.
    mpi
        Start the ranks under ``mpiexec``, as one MPI job.
    cores
        The cores of the component on each node, dealt to its ranks there in equal blocks:
        ``[0, 1]`` or ``"0-7,16"``. Without `cores`, `cpus_per_process` and `gpus_per_process`
        ranks are not bound.
    cpus_per_process
        Cores of each rank; chosen among those that nobody names in `cores`, in one NUMA domain
        if one has room, and near the rank's GPUs.
    gpus
        The GPUs of the component on each node, by their names in the machine's profile, dealt
        to its ranks there in equal blocks.
    gpus_per_process
        GPUs (on Aurora: tiles) of each rank; chosen among those that nobody names in `gpus`. A
        rank without `cpus_per_process` gets the cores that are near them.
    environment
        Variables of the ranks, above those of the caller.
    service
        It is asked to end (SIGTERM) once all components that are no services are done.
    on_failure
        ``fail`` the run; ``restart(n)``: start all ranks anew, n times at most, and then fail;
        ``ignore``: go on without.
    reads, writes
        Streams of the workflow that it opens, by name; it sees no others.
    stores
        Stores of the workflow that it opens, by name; it sees no others.
    timeout
        Seconds that an attempt may take; then it counts as hung, which is a failure.

    Raises
    ------
    InvalidWorkflowError
        For what is wrong with the fields, all of it at once.
    """

    name: Name
    function: Reference | None = None
    script: Text | None = None
    command: Words | None = None
    arguments: Arguments = Field(default_factory=dict)
    process_count: int = Field(default=1, ge=1, le=10_000_000)
    node_count: int | None = Field(default=None, ge=1, le=1_000_000)
    processes_per_node: int | None = Field(default=None, ge=1, le=100_000)
    mpi: bool = False
    cores: Cores | None = None
    cpus_per_process: int | None = Field(default=None, ge=1)
    gpus: DeviceNames | None = None
    gpus_per_process: int | None = Field(default=None, ge=1)
    environment: Environment = Field(default_factory=dict)
    service: bool = False
    on_failure: OnFailure = "fail"
    reads: Names = Field(default_factory=list)
    writes: Names = Field(default_factory=list)
    stores: Names = Field(default_factory=list)
    timeout: float | None = Field(default=None, gt=0)

    def __init__(
        self,
        name: str | None = None,
        *,
        function: str | Callable[..., Any] | None = None,
        script: str | os.PathLike[str] | None = None,
        command: Sequence[str | os.PathLike[str] | float] | None = None,
        arguments: Mapping[str, Any] | Sequence[str | os.PathLike[str] | float] | None = None,
        process_count: int | None = None,
        node_count: int | None = None,
        processes_per_node: int | None = None,
        mpi: bool = False,
        cores: str | Sequence[int] | None = None,
        cpus_per_process: int | None = None,
        gpus: Sequence[str | int | float] | None = None,
        gpus_per_process: int | None = None,
        environment: Mapping[str, str | os.PathLike[str] | float] | None = None,
        service: bool = False,
        on_failure: str = "fail",
        reads: Sequence[str] | None = None,
        writes: Sequence[str] | None = None,
        stores: Sequence[str] | None = None,
        timeout: float | None = None,
        **unknown: Any,
    ) -> None:
        given = {key: value for key, value in locals().items() if key in type(self).model_fields}
        fields = {key: value for key, value in given.items() if value is not None}
        super().__init__(**fields, **unknown)

    @property
    def counted(self) -> int | None:
        """`process_count`, if it was given."""
        return self.process_count if "process_count" in self.model_fields_set else None

    @property
    def restarts(self) -> int:
        """How often the component may be restarted."""
        match = RESTART.fullmatch(self.on_failure)
        return int(match[1]) if match else 0

    @property
    def runs(self) -> str:
        """What it runs, in a word or two."""
        return self.function or self.script or " ".join(self.command or ())


class Workflow(CheckedModel):
    """Components, and the stores and streams between them.

    Parameters
    ----------
    name
        Of the workflow; its runs are kept in ``runs/<name>-<time>/``.
    components
        A list of :class:`Component`, or a mapping of names to components or their fields.
    stores, streams
        Names to URLs. A ``shm://`` without a location gets a name that no other run has, and a
        ``file://`` without one lies in the run's directory, for which ``{run}`` stands. Where an
        engine needs a server (``redis://``, ``dragon://``), a URL without a location has the run
        start one.
    placement
        Which components share nodes or cores, and which keep apart:
        :class:`~dovetail.flow.placement.rules.PlacementRules`, or a mapping of its fields. The
        methods :meth:`colocate`, :meth:`cluster`, :meth:`time_divide` and :meth:`link` add to
        it.
    grace
        Seconds that a component has to end after it was asked to (SIGTERM); then it is killed.
    folder
        Where functions, scripts and programs with a relative path are found, and where the
        components run. By default the folder of the file in which the workflow is made, or the
        current one in a notebook.

    Raises
    ------
    InvalidWorkflowError
        For what is wrong with the fields, all of it at once.
    """

    name: Name
    components: dict[str, Component] = Field(default_factory=dict)
    stores: dict[Name, str] = Field(default_factory=dict)
    streams: dict[Name, str] = Field(default_factory=dict)
    placement: PlacementRules = Field(default_factory=PlacementRules)
    grace: float = Field(default=10.0, ge=0, le=3600)
    _folder: Path = PrivateAttr()

    def __init__(
        self,
        name: str | None = None,
        *,
        components: Iterable[Component] | Mapping[str, Component | Mapping[str, Any]] = (),
        stores: Mapping[str, str] | None = None,
        streams: Mapping[str, str] | None = None,
        placement: PlacementRules | Mapping[str, Any] | None = None,
        grace: float = 10.0,
        folder: str | os.PathLike[str] | None = None,
        **unknown: Any,
    ) -> None:
        named, problems = _by_name(components)
        fields = {
            "name": name,
            "stores": stores,
            "streams": streams,
            "placement": placement,
            "grace": grace,
        }
        fields = {key: value for key, value in fields.items() if value is not None}
        try:
            super().__init__(components=named, **fields, **unknown)
        except InvalidWorkflowError as error:
            raise InvalidWorkflowError(*problems, *error.problems) from None
        if problems:
            raise InvalidWorkflowError(*problems)
        self._folder = Path(folder or _folder_of_caller()).absolute()

    @property
    def folder(self) -> Path:
        """Where functions, scripts and programs with a relative path are found."""
        return self._folder

    def add(self, component: Component | str, **fields: Any) -> Component:
        """Add a component, given as such or as its name and fields.

        Raises
        ------
        InvalidWorkflowError
            Also if there is one of this name.
        """
        if not isinstance(component, Component):
            component = Component(component, **fields)
        elif fields:
            raise TypeError("give a Component, or a name and its fields; not both")
        if component.name in self.components:
            raise InvalidWorkflowError(_twice(component.name))
        self.components[component.name] = component
        return component

    def colocate(self, *components: str) -> None:
        """Put components on the same nodes, on cores and GPUs of their own.

        What passes between them in shared memory then stays in the node. Those that ask for no
        cores share what the others leave.
        """
        self._arrange("colocate", components)

    def cluster(self, *components: str) -> None:
        """Put each of these components on nodes of its own."""
        self._arrange("cluster", components)

    def time_divide(self, *components: str) -> None:
        """Put components on the same cores and GPUs, those of the first, where they take turns.

        A stream between them under ``dv.lockstep()`` makes the turns.
        """
        self._arrange("time_divide", components)

    def link(self, *components: str, machine: str, node_count: int | None = None) -> None:
        """Put components on another system, which only a gateway joins to this one.

        Parameters
        ----------
        machine
            The other system: the name of a profile, or its path.
        node_count
            Of its nodes; by default as many as are needed.
        """
        link = Link(components=list(components), machine=machine, node_count=node_count)
        self.placement = self.placement.model_copy(update={"link": [*self.placement.link, link]})

    def _arrange(self, rule: str, components: tuple[str, ...]) -> None:
        rules = self.placement.model_dump(exclude_defaults=True)
        rules[rule] = [*rules.get(rule, []), list(components)]
        self.placement = PlacementRules(**rules)

    def check(self, machine: Machine | None = None) -> list[str]:
        """Find what is wrong without starting anything.

        Parameters
        ----------
        machine
            On which it is to run, if not on this one.

        Returns
        -------
        list of str
            Warnings: what need not be wrong.

        Raises
        ------
        InvalidWorkflowError
            With all problems at once.
        """
        from dovetail.flow import checks

        return checks.check(self, machine)

    def plan(self) -> Plan:
        """Every rank, its cores and its wiring, without starting anything.

        Raises
        ------
        InvalidWorkflowError
        """
        from dovetail.flow import planning

        self.check()
        return planning.preview(self)

    def place(
        self,
        machine: Machine | str | os.PathLike[str] = "local",
        node_count: int | None = None,
        hosts: Sequence[str] = (),
    ) -> Placement:
        """Where every rank would run on a machine, without starting anything.

        Parameters
        ----------
        machine
            A profile, its name (``"aurora"``), or the path of its file.
        node_count
            Nodes of the job; by default as many as are needed.
        hosts
            Their names, if they are known.

        Raises
        ------
        InvalidWorkflowError
            If it cannot be done; with the arithmetic.
        """
        from dovetail.flow.machines import Machine, find_machine
        from dovetail.flow.placement import planner

        profile = machine if isinstance(machine, Machine) else find_machine(machine)
        return planner.place(self, profile, node_count, tuple(hosts))

    def start(self, output: str | os.PathLike[str] | None = None) -> Run:
        """Start the components and return at once: for notebooks.

        Parameters
        ----------
        output
            The directory of the run; ``runs/<name>-<time>`` by default. It must not exist, or
            be empty.

        Returns
        -------
        Run
            A handle. The run ends with this process at the latest.

        Raises
        ------
        InvalidWorkflowError
            Before anything starts.
        FileExistsError
            If `output` holds something.
        """
        from dovetail.flow import running

        return running.start(self, output)

    def run(self, output: str | os.PathLike[str] | None = None) -> Run:
        """Start the components, and wait until all have ended.

        Raises
        ------
        WorkflowFailedError
            If a component failed; with its last lines.
        InvalidWorkflowError, FileExistsError
            As :meth:`start` does.
        """
        run = self.start(output)
        try:
            return run.wait()
        except BaseException:
            run.stop()
            raise

    def document(self) -> dict[str, Any]:
        """The workflow as JSON values; as YAML they are a flow file."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        for name, fields in document.get("components", {}).items():
            del fields["name"]
            if self.components[name].counted is not None:
                fields["process_count"] = self.components[name].process_count
        return document

    @classmethod
    def from_document(
        cls, document: Any, folder: str | os.PathLike[str] | None = None, name: str | None = None
    ) -> Self:
        """The workflow that :meth:`document`, or a YAML file, describes.

        Raises
        ------
        InvalidWorkflowError
        """
        if not isinstance(document, Mapping):
            raise InvalidWorkflowError(
                f"a workflow is a mapping with the keys {', '.join(cls.model_fields)}, not "
                f"{type(document).__name__}"
            )
        fields = {str(key): value for key, value in document.items()}
        if folder is not None:
            if "folder" in fields:
                raise InvalidWorkflowError(unknown_key("folder", cls.model_fields))
            fields["folder"] = folder
        fields.setdefault("name", name)
        return cls(**fields)


def _by_name(components: Any) -> tuple[dict[str, Any], list[str]]:
    """Components by name, and what is wrong with those that are left out."""
    problems: list[str] = []
    named: dict[str, Any] = {}
    if isinstance(components, Mapping):
        pairs: Iterable[tuple[Any, Any]] = components.items()
    elif isinstance(components, Iterable) and not isinstance(components, str):
        pairs = [(getattr(component, "name", None), component) for component in components]
    else:
        return {}, [f"components: {components!r} is neither a mapping nor a list of components"]
    for name, value in pairs:
        try:
            component = _component(name, value)
        except InvalidWorkflowError as error:
            problems += [f"component {name!r}: {problem}" for problem in error.problems]
            continue
        if component.name in named:
            problems.append(_twice(component.name))
        named[component.name] = component
    return named, problems


def _component(name: Any, value: Any) -> Component:
    if isinstance(value, Component):
        if name != value.name:
            raise InvalidWorkflowError(f"it is called {value.name!r}: give it one name")
        return value
    if name is None or not isinstance(value, Mapping):
        raise InvalidWorkflowError(
            f"{value!r} is no component: give a dv.Component, or a mapping of a name to fields"
        )
    fields = {str(key): field for key, field in value.items()}
    if "name" in fields:
        raise InvalidWorkflowError("its name is its key: leave out 'name'")
    return Component(name, **fields)


def _twice(name: str) -> str:
    return f"there are two components {name!r}: give one of them another name"


def _folder_of_caller() -> Path:
    """The folder of the file that makes the workflow; the current one in a notebook."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (__name__, "pydantic"):
        frame = frame.f_back
    file = frame.f_globals.get("__file__")
    return Path(file).parent if isinstance(file, str) else Path.cwd()
