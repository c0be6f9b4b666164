"""The adios2 package: is it here, and an engine of it with parameters that it really has."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dovetail.errors import EngineUnavailableError

_EXTENSION = "adios2.bindings.adios2_bindings"
INSTALL = "pip install 'dovetail[adios]'"
_NOISE = re.compile(r"\x1b\[[0-9;]*m|\[ADIOS2 (?:EXCEPTION|ERROR)\]|\[[A-Z][a-z]{2} [A-Z][^\]]*\]")


def installed() -> str | None:
    """The version of the adios2 package, found without importing it; None if it is not there."""
    if importlib.util.find_spec("adios2") is None:
        return None
    try:
        return importlib.metadata.version("adios2")
    except importlib.metadata.PackageNotFoundError:  # a build of the site, outside of pip
        return "of unknown version"


@cache
def bindings() -> Any:
    """The low-level interface of adios2: it says how each call ended, and prints nothing.

    It is loaded without the rest of the package, which would import torch wherever it is
    installed: a second, in every process.

    Raises
    ------
    EngineUnavailableError
        If adios2 is not installed, or cannot be loaded here.
    """
    try:
        return _extension()
    except ImportError as error:
        raise EngineUnavailableError(
            f"sst:// and bp5:// need the package adios2, which cannot be imported here ({error}): "
            f"{INSTALL}, or load the module of your site"
        ) from error


def _extension() -> Any:
    if _EXTENSION in sys.modules:
        return sys.modules[_EXTENSION]
    package = importlib.util.find_spec("adios2")
    folders = [] if package is None else package.submodule_search_locations or []
    found = [
        file for folder in folders for file in Path(folder).glob("bindings/adios2_bindings*.so")
    ]
    if len(found) != 1:  # laid out in another way
        return importlib.import_module("adios2.bindings")
    specification = importlib.util.spec_from_file_location(_EXTENSION, found[0])
    if specification is None or specification.loader is None:
        raise ImportError(f"{found[0]} cannot be loaded", name=_EXTENSION)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return sys.modules.setdefault(_EXTENSION, module)


def built_with_mpi() -> bool:
    """Whether adios2 takes a communicator."""
    return bool(bindings().is_built_with_mpi)


class Opened(NamedTuple):
    """One open ADIOS2 engine and what it needs to stay alive."""

    adios: Any
    io: Any
    engine: Any
    bindings: Any


def open_engine(
    kind: str, name: str, mode: str, parameters: Mapping[str, str], comm: Any = None
) -> Opened:
    """Open an ADIOS2 engine on objects of its own, so that several threads may each have one.

    Parameters
    ----------
    kind
        ``BP5`` or ``SST``.
    mode
        ``Write``, ``Append`` or ``Read``.
    comm
        A communicator, for a build with MPI.

    Raises
    ------
    RuntimeError
        As ADIOS2 raises it; :func:`reason_of` makes it readable.
    """
    library = bindings()
    adios = library.ADIOS() if comm is None else library.ADIOS(comm)
    io = adios.DeclareIO("dovetail")
    io.SetEngine(kind)
    io.SetParameters(dict(parameters))
    return Opened(adios, io, io.Open(name, getattr(library.Mode, mode)), library)


def reason_of(error: BaseException) -> str:
    """What an exception of ADIOS2 says, without colours, dates and line ends."""
    return " ".join(_NOISE.sub("", str(error)).split()).rstrip(" :")
