"""Where a workflow is read from: a Python file or a YAML file."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from dovetail.errors import InvalidWorkflowError
from dovetail.flow.fields import FLOW_FILE
from dovetail.flow.schema import Component, Workflow
from dovetail.flow.yaml_documents import load, read_yaml
from dovetail.transport.url import near_match


def read_flow(path: str | Path, overrides: Iterable[str] = ()) -> Workflow:
    """The workflow in a file.

    Parameters
    ----------
    path
        A Python file that makes one :class:`~dovetail.Workflow` at its top level (of several,
        the one called ``flow``); or a YAML file of the same schema. Or a folder that holds a
        ``flow.py`` or a ``flow.yaml``.
    overrides
        ``component.argument=value``, the value as in YAML.

    Raises
    ------
    FileNotFoundError
    InvalidWorkflowError
        With all that is wrong with the fields. An error in a Python file is its own.
    """
    file = _file(Path(path))
    if file.suffix in (".yaml", ".yml"):
        flow = Workflow.from_document(read_yaml(file), folder=file.parent, name=file.stem)
    else:
        flow = _from_python(file)
    for override in overrides:
        _override(flow, override)
    return flow


def _file(path: Path) -> Path:
    if path.is_dir():
        for name in ("flow.py", "flow.yaml", "flow.yml"):
            if (path / name).is_file():
                return (path / name).absolute()
        raise FileNotFoundError(f"there is no flow.py and no flow.yaml in {path}: name a file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no workflow {path}: name a Python or a YAML file")
    if path.suffix not in (".py", ".yaml", ".yml"):
        raise InvalidWorkflowError(f"{path} is neither a .py nor a .yaml file")
    return path.absolute()


def _from_python(file: Path) -> Workflow:
    loader = SourceFileLoader(f"{FLOW_FILE}{file.stem}", str(file))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module
    sys.path.insert(0, str(file.parent))
    try:
        loader.exec_module(module)
    except InvalidWorkflowError as error:
        lines = [
            line
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename == str(file)
        ]
        where = f"{file.name}, line {lines[-1]}"
        raise InvalidWorkflowError(*(f"{where}: {text}" for text in error.problems)) from None
    finally:
        sys.path.remove(str(file.parent))
        del sys.modules[loader.name]
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Workflow) and not name.startswith("_")
    }
    if "flow" in found:
        return found["flow"]
    if len({id(flow) for flow in found.values()}) != 1:
        names = " and ".join(found) or "none"
        raise InvalidWorkflowError(
            f"{file} must make one dv.Workflow at its top level, and makes {names}: "
            f"call the one that is to run 'flow'"
        )
    return next(iter(found.values()))


def _override(flow: Workflow, text: str) -> None:
    import yaml

    place, equals, value = text.partition("=")
    name, dot, argument = place.strip().partition(".")
    if not (equals and dot and argument):
        raise InvalidWorkflowError(f"--set {text!r}: write component.argument=value")
    component: Component | None = flow.components.get(name)
    if component is None:
        raise InvalidWorkflowError(
            f"--set {text!r}: there is no component {name!r}{near_match(name, flow.components)}"
        )
    if not isinstance(component.arguments, dict):
        raise InvalidWorkflowError(
            f"--set {text!r}: the arguments of {name!r} are a list of words, without names"
        )
    try:
        read, _ = load(value)
    except yaml.YAMLError:
        read = value
    component.arguments = {**component.arguments, argument: read}
