"""What a server refused, as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dovetail.errors import (
    AccessDeniedError,
    CorruptDataError,
    DovetailError,
    EngineUnavailableError,
    StoreFullError,
)
from dovetail.quantities import in_bytes
from dovetail.transport.engines.redis.protocol import Refusal


def first_refusal(replies: Iterable[Any]) -> Refusal | None:
    """The first error among replies, and in the replies of transactions."""
    for reply in replies:
        if type(reply) is Refusal:
            return reply
        if type(reply) is list:
            inner = first_refusal(reply)
            if inner is not None:
                return inner
    return None


def error_of(refusal: Refusal, label: str, what: str) -> DovetailError:
    """The error for a refusal.

    Parameters
    ----------
    label
        Of the store.
    what
        What it was about, such as ``the value of 'u'``.
    """
    text = refusal.text
    if "WRONGTYPE" in text:  # that of a script comes with more words in front
        return CorruptDataError(
            f"{what} in {label} was written by something else: under its name the server keeps "
            f"no string or list of ours. Remove it, or use another store"
        )
    if refusal.code in ("NOPERM", "NOAUTH"):
        return AccessDeniedError(
            f"{label}: the server does not allow it: {text[:300]}. Ask for the permission, or use "
            f"another user"
        )
    if "MISCONF" in text:
        return StoreFullError(
            f"{label}: the server takes no values because it cannot save them: {text[:300]}"
        )
    return EngineUnavailableError(f"{label}: the server refused {what}: {text[:300]}")


def full(label: str, nbytes: int, used: int, limit: int) -> StoreFullError:
    """The error for a value that a full server did not take."""
    return StoreFullError(
        f"no room for a value of {in_bytes(nbytes)} in {label}: the server holds "
        f"{in_bytes(used)} of {in_bytes(limit)} (its maxmemory). Nothing stored was "
        f"lost. Delete values, or give the server more memory"
    )


def is_full(refusal: Refusal) -> bool:
    """Whether the server had no room."""
    return refusal.code == "OOM" or "used memory > 'maxmemory'" in refusal.text
