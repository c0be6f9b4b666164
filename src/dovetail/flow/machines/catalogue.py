"""Where machine profiles are found: shipped with Dovetail, or written by a site or a user."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from dovetail.errors import InvalidMachineError
from dovetail.flow.machines import here
from dovetail.flow.machines.profile import Machine
from dovetail.flow.yaml_documents import read_yaml
from dovetail.transport.url import near_match

PATH = "DOVETAIL_MACHINES"
"""Folders of profiles, separated by colons, which come before all others."""
LOCAL = "local"
_HERE = "here"


def find_machine(name: str | os.PathLike[str]) -> Machine:
    """The machine of a name, or that a file describes.

    Parameters
    ----------
    name
        ``local``; a path that ends in ``.yaml`` or ``.yml``; or the name of a profile: a file
        ``<name>.yaml`` in a folder of ``DOVETAIL_MACHINES``, in
        ``~/.config/dovetail/machines``, or shipped. The first that is found counts.

    Raises
    ------
    InvalidMachineError
        If there is none, or what it says cannot be right.
    """
    text = os.fspath(name)
    if text.endswith((".yaml", ".yml")):
        return read_machine(text)
    if text == LOCAL:
        return here.local()
    known = machine_names()
    if text not in known:
        raise InvalidMachineError(
            f"there is no machine {text!r}{near_match(text, known)}; there are "
            f"{', '.join(known)}. Add a profile {text}.yaml to {_folders()[0]}, or give its path"
        )
    return _read(known[text])


def read_machine(path: str | os.PathLike[str]) -> Machine:
    """The machine that a YAML file describes.

    ``extends: aurora`` takes all that the file does not say from another profile; mappings are
    merged, anything else is replaced. ``node: here`` is a node like this one.

    Raises
    ------
    InvalidMachineError
    """
    return _read(Path(path))


def machine_names() -> dict[str, Path | None]:
    """The machines that can be found by name, and their files; ``local`` has none."""
    found: dict[str, Path | None] = {LOCAL: None}
    for folder in _folders():
        for file in sorted(folder.glob("*.yaml")):
            found.setdefault(file.stem, file)
    return found


def _folders() -> list[Path]:
    given = [Path(folder) for folder in os.environ.get(PATH, "").split(":") if folder]
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [*given, home / "dovetail" / "machines", Path(str(files(__package__) / "shipped"))]


def _read(file: Path | None) -> Machine:
    if file is None:
        return here.local()
    document = _document(file, ())
    if isinstance(document, dict) and document.get("node") == _HERE:
        document["node"] = here.node().document()
    return Machine.from_document(document, str(file))


def _document(file: Path, below: tuple[Path, ...]) -> Any:
    """What a file says, upon what the profile says that it extends."""
    try:
        document = read_yaml(file, InvalidMachineError)
    except FileNotFoundError:
        raise InvalidMachineError(f"there is no machine profile {file}: correct the path") from None
    except OSError as error:
        raise InvalidMachineError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(document, dict):
        return document
    if not below:
        document.setdefault("name", file.stem)
    if "extends" not in document:
        return document
    extended, chain = str(document.pop("extends")), (*below, file)
    if extended == LOCAL:
        return _merged(here.local().document(), document)
    candidates = [file.parent / extended] if extended.endswith(".yaml") else []
    candidates += [folder / f"{extended}.yaml" for folder in _folders()]
    there = [path for path in candidates if path.is_file()]
    if not there:
        known = machine_names()
        raise InvalidMachineError(
            f"{file}: extends {extended!r}, which is no machine{near_match(extended, known)}; "
            f"there are {', '.join(known)}"
        )
    under = next((path for path in there if path not in chain), None)
    if under is None:
        raise InvalidMachineError(
            f"{chain[0]}: 'extends' never comes to an end "
            f"({' → '.join(path.stem for path in (*chain, there[0]))}): extend a profile that "
            f"stands by itself"
        )
    return _merged(_document(under, chain), document)


def _merged(under: Any, over: Any) -> Any:
    if not (isinstance(under, Mapping) and isinstance(over, Mapping)):
        return over
    return {**under, **{key: _merged(under.get(key), value) for key, value in over.items()}}


def all_machines() -> Iterator[tuple[str, Path | None, Machine | InvalidMachineError]]:
    """Each name, its file, and the machine or what is wrong with it."""
    for name, file in machine_names().items():
        try:
            yield name, file, find_machine(name)
        except InvalidMachineError as error:
            yield name, file, error
