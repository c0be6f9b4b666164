"""The kinds of fields that a workflow is written with, each with what to say of a wrong value."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from dovetail.errors import InvalidWorkflowError
from dovetail.flow.numbers import numbers_in
from dovetail.transport.url import near_match

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
FLOW_FILE = "dovetail_flow_"
"""What the name of a flow file's module begins with while it is read; ranks import the rest."""
RESTART = re.compile(r"restart\(\s*([0-9]+)\s*\)")


def _name(value: Any) -> Any:
    if isinstance(value, str) and not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is no name: use letters, digits, _ and -, beginning with a letter, "
            f"at most 64 in all"
        )
    return value


def _on_failure(value: Any) -> Any:
    if isinstance(value, str) and not (value in ("fail", "ignore") or RESTART.fullmatch(value)):
        near = near_match(value, ["fail", "ignore", "restart(1)"])
        raise ValueError(f"{value!r} is unknown{near}; write fail, ignore or restart(n)")
    return value


def _reference(value: Any) -> Any:
    """``module:function`` of a function, or of that text itself."""
    if callable(value):
        module = getattr(value, "__module__", None)
        path = getattr(value, "__qualname__", "<locals>")
        if module in (None, "__main__") or "<" in path:
            raise ValueError(
                f"{path!r} lives in {module!r}, where another process cannot import it: write "
                f"it at the top level of a file, and name it 'file:function'"
            )
        return f"{module.removeprefix(FLOW_FILE)}:{path}"
    if isinstance(value, str):
        module, colon, function = value.partition(":")
        parts = [*module.split("."), *function.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            raise ValueError(f"{value!r} is no function: write 'module:function'")
    return value


def _words(value: Any) -> Any:
    """A command: a list of words, of which numbers and paths may be some."""
    if isinstance(value, str):
        raise ValueError(f"{value!r}: write a list of words, as in {value.split()!r}")
    return _texts(value)


def _texts(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return [_text(item) for item in value]


def _text(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _environment(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for name in value:
        if isinstance(name, str) and not re.fullmatch(r"[^=\0]+", name):
            raise ValueError(f"{name!r} is no name of a variable: leave out = and NUL")
    for text in value.values():
        if isinstance(text, str) and "\0" in text:
            raise ValueError(f"{text!r} cannot be the value of a variable: leave out NUL")
    return {name: _text(text) for name, text in value.items()}


def _arguments(value: Any) -> Any:
    if isinstance(value, Mapping):
        for name, argument in value.items():
            for part in _leaves(argument):
                if not isinstance(part, str | int | float | None):
                    raise ValueError(
                        f"{name}: {part!r} is no JSON value: write a number or, in quotes, a text"
                    )
                if isinstance(part, float) and not math.isfinite(part):
                    raise ValueError(f"{name}: {part!r} is no JSON value: leave it out")
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """All that a value of lists and mappings holds in the end."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _names(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f"{value!r}: write a list, as in [{value}]")
    return _list(value)


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | range) else value


Name = Annotated[str, BeforeValidator(_name)]
Names = Annotated[list[Name], BeforeValidator(_names)]
Cores = Annotated[
    list[Annotated[int, Field(ge=0)]], BeforeValidator(numbers_in), Field(min_length=1)
]
DeviceNames = Annotated[
    list[Annotated[str, Field(min_length=1)]], BeforeValidator(_texts), Field(min_length=1)
]
Words = Annotated[list[str], BeforeValidator(_words), Field(min_length=1)]
Text = Annotated[str, BeforeValidator(_text)]
Reference = Annotated[str, BeforeValidator(_reference)]
OnFailure = Annotated[str, BeforeValidator(_on_failure)]
Arguments = Annotated[
    dict[str, JsonValue] | Annotated[list[str], BeforeValidator(_texts)],
    BeforeValidator(_arguments),
]
Environment = Annotated[dict[str, str], BeforeValidator(_environment)]


class CheckedModel(BaseModel):
    """Unknown keys and wrong values are InvalidWorkflowErrors, with what to do."""

    _refusal: ClassVar[type[InvalidWorkflowError]] = InvalidWorkflowError

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, strict=True, allow_inf_nan=False
    )

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise self._refusal(*_sentences(type(self), fields, error)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise self._refusal(*_sentences(type(self), {}, error)) from None


def _sentences(
    model: type[BaseModel], fields: Mapping[str, Any], error: ValidationError
) -> list[str]:
    """What pydantic found, as sentences that say what to do."""
    sentences: dict[str, None] = {}
    for problem in error.errors(include_url=False, include_context=False):
        place = [str(part) for part in problem["loc"]]
        key = place[0] if place else ""
        if problem["type"] == "extra_forbidden":
            sentences[unknown_key(key, model.model_fields)] = None
        elif key == "arguments" and problem["type"] != "value_error":
            sentences[
                f"arguments: {fields.get(key)!r} must be a mapping of names to JSON values, or "
                f"a list of words"
            ] = None
        else:
            where = ".".join(part for part in place if not part.startswith("function-"))
            text = problem["msg"].removeprefix("Value error, ")
            named = isinstance(problem["input"], Mapping)  # the text names the entry
            said = named or text.startswith(repr(problem["input"]))
            value = "" if said else f" {problem['input']!r}:"
            sentences[f"{where}:{value} {text[0].lower()}{text[1:]}"] = None
    return list(sentences)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key that does not exist."""
    hint = near_match(key, known) or f"; there are {', '.join(known)}"
    return f"unknown key {key!r}{hint}"
