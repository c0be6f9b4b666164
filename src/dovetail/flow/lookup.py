"""Is there such a function, and does it take these arguments? Read from the source, not imported.

Importing a component may take long, need a device or start MPI: that is for its own ranks to do.
What the source cannot say (decorators, names made at run time) is left to them, too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from dovetail.transport.url import near_match

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def problems_of_function(reference: str, arguments: Any, folder: Path) -> list[str]:
    """What is wrong with calling ``module:function`` with `arguments`.

    Parameters
    ----------
    reference
        ``module:function``.
    arguments
        Keyword arguments.
    folder
        Where modules are looked for first.
    """
    module, _, function = reference.partition(":")
    spec = _spec(module, folder)
    if spec is None:
        near = near_match(module, [file.stem for file in folder.glob("*.py")])
        return [
            f"function {reference!r}: there is no module {module!r}{near} in {folder}, and no "
            f"such package is installed: correct the name, or put the file beside the workflow"
        ]
    if not isinstance(arguments, Mapping):
        return [f"function {reference!r}: its arguments must be a mapping of names to values"]
    if spec.origin is None or not spec.origin.endswith(".py"):
        return []  # compiled, or built in: its rank will tell
    file = Path(spec.origin)
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        return [f"function {reference!r}: {file.name}, line {error.lineno}: {error.msg}"]
    except (OSError, ValueError) as error:
        return [f"function {reference!r}: {file} cannot be read: {error}"]
    names = _names(tree.body)
    first = function.split(".")[0]
    if first not in names:
        if "*" in names or "__getattr__" in names:
            return []
        return [
            f"function {reference!r}: {file.name} has no {first!r}{near_match(first, names)}: "
            f"correct the name, or write the function"
        ]
    found = names.get(function)
    if found is None or found.decorator_list:
        return []
    return [f"function {reference!r}: {text}" for text in _mismatches(found, arguments)]


def _spec(module: str, folder: Path) -> ModuleSpec | None:
    """Where a module would be imported from, without importing the packages it is in."""
    path: Iterable[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        spec = _found(name, path, folder)
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is None and depth < len(parts):
            return None
    return spec


def _found(name: str, path: Iterable[str] | None, folder: Path) -> ModuleSpec | None:
    if path is not None:
        return PathFinder.find_spec(name, list(path))
    # As a rank imports it: a mere folder of that name stands behind a package on the path.
    local = PathFinder.find_spec(name, [str(folder), *sys.path])
    if local is not None:
        return local
    for finder in sys.meta_path:
        spec = finder.find_spec(name, None)
        if spec is not None:
            return spec
    return None


def _names(statements: Iterable[ast.stmt]) -> dict[str, _Function | None]:
    """What these statements define at the top level; the function where it is one, once."""
    names: dict[str, _Function | None] = {}
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            names[statement.name] = None if statement.name in names else statement
        elif isinstance(statement, ast.ClassDef):
            names[statement.name] = None
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                names[alias.asname or alias.name.split(".")[0]] = None
        else:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names[node.id] = None
            for block in ("body", "orelse", "finalbody"):
                names |= dict.fromkeys(_names(getattr(statement, block, ())))
            for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
                names |= dict.fromkeys(_names(part.body))
    return names


def _mismatches(function: _Function, arguments: Mapping[str, Any]) -> list[str]:
    signature = function.args
    named = [*signature.args, *signature.kwonlyargs]
    known = [argument.arg for argument in named]
    optional = {
        argument.arg
        for argument in signature.args[len(signature.args) - len(signature.defaults) :]
        if signature.defaults
    } | {
        argument.arg
        for argument, default in zip(signature.kwonlyargs, signature.kw_defaults, strict=True)
        if default is not None
    }
    call = f"{function.name}({', '.join(known)})"
    unknown = [] if signature.kwarg else [name for name in arguments if name not in known]
    missing = [name for name in known if name not in optional and name not in arguments]
    return [
        *(f"{call} takes no argument {name!r}{near_match(name, known)}" for name in unknown),
        *(f"{call} needs {name!r}: give it in 'arguments'" for name in missing),
    ]
