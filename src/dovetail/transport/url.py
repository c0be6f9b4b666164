"""URLs: which engine moves the data, where, and with which options."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from dovetail.errors import InvalidURLError
from dovetail.quantities import bytes_in


@dataclass(frozen=True, repr=False)
class URL:
    """A parsed URL: ``scheme://location?option=value``."""

    scheme: str
    location: str
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{self.scheme}://{self.location}{query}"

    def __repr__(self) -> str:
        return f"<URL {without_password(str(self))}>"

    def without(self, name: str) -> URL:
        """The same URL without one of its options."""
        kept = {option: text for option, text in self.options.items() if option != name}
        return URL(self.scheme, self.location, kept)

    def only(self, *known: str) -> None:
        """Refuse options that are not among `known`, naming the nearest that is."""
        for name in self.options:
            if name not in known:
                raise InvalidURLError(
                    f"{self.scheme}:// has no option {name!r}{near_match(name, known)}; "
                    f"it has {', '.join(known) or 'none'}"
                )

    def bytes_option(self, name: str) -> int | None:
        """An option that is a number of bytes, such as ``2GiB``; ``None`` if it is not given."""
        text = self.options.get(name)
        if text is None:
            return None
        try:
            return bytes_in(text)
        except ValueError as error:
            raise InvalidURLError(f"{name}={error}") from None

    def seconds_option(self, name: str, default: float) -> float:
        """An option that is a time, such as ``5s`` or ``500ms``; seconds if it has no unit."""
        text = self.options.get(name)
        if text is None:
            return default
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|min|h|)", text)
        if match is None or float(match[1]) == 0:
            raise InvalidURLError(f"{name}={text!r} is no time such as 5s, 500ms or 2min")
        return float(match[1]) * {"ms": 1e-3, "s": 1, "": 1, "min": 60, "h": 3600}[match[2]]

    def choice_option(self, name: str, *choices: str) -> str:
        """An option that takes one of `choices`; the first is the default."""
        text = self.options.get(name, choices[0])
        if text not in choices:
            raise InvalidURLError(
                f"{name}={text!r} is unknown{near_match(text, choices)}; "
                f"choose {' or '.join(choices)}"
            )
        return text


def parse(text: str, purpose: str) -> URL:
    """A URL, or a bare name that the environment translates into one.

    Parameters
    ----------
    text
        ``shm://name``, or a name such as ``staging``, which is looked up in the environment
        as ``DOVETAIL_<PURPOSE>_STAGING``.
    purpose
        ``store`` or ``stream``.
    """
    if not isinstance(text, str):
        raise InvalidURLError(f"a URL is text such as 'shm://name', not {text!r}")
    if "://" not in text:
        return _named(text, purpose)
    scheme, rest = text.split("://", 1)
    location, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise InvalidURLError(
            f"the options of {without_password(text)!r} are not of the form ?name=value&name=value"
        ) from error
    options = dict(pairs)
    if len(options) != len(pairs):
        raise InvalidURLError(f"an option of {without_password(text)!r} is given twice")
    return URL(scheme.lower(), location, options)


def without_password(text: str) -> str:
    """A URL as an error may show it: stars instead of the password that it may hold."""
    scheme, _, rest = text.partition("://")
    account, at, place = rest.rpartition("@")
    user, colon, _ = account.partition(":")
    if not at or not colon or rest.startswith("/"):
        return text
    return f"{scheme}://{user}:***@{place}"


def variable_of(name: str, purpose: str) -> str:
    """The environment variable in which the URL behind a bare name is looked up."""
    return f"DOVETAIL_{purpose.upper()}_{re.sub('[^A-Za-z0-9]', '_', name).upper()}"


def _named(name: str, purpose: str) -> URL:
    variable = variable_of(name, purpose)
    text = os.environ.get(variable)
    if text is None:
        raise InvalidURLError(
            f"{name!r} is neither a URL nor a {purpose} of this workflow: write one such as "
            f"'shm://{name or 'name'}', or set {variable}"
        )
    if "://" not in text:
        raise InvalidURLError(f"{variable}={text!r} is not a URL such as 'shm://name'")
    return parse(text, purpose)


def near_match(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` if some known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
