"""Values that prove themselves: torn, mixed or foreign bytes cannot pass for one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PAYLOAD = "payload"
SEAL = "seal"


def sealed(number: int, count: int) -> dict[str, NDArray[Any]]:
    """A value filled with one number, with a seal that names the number and its count."""
    return {PAYLOAD: np.full(count, number, np.int64), SEAL: seal(number, count)}


def seal(number: int, count: int) -> NDArray[Any]:
    """Number, count, and a sum that binds both."""
    return np.array([number, count, _bind(number, count)], np.int64)


def unsealed(value: Any) -> int:
    """The number of a sealed value; fails if the value is not what :func:`sealed` made."""
    number, count, bound = (int(item) for item in value[SEAL])
    assert bound == _bind(number, count), f"the seal is torn: {number}, {count}, {bound}"
    payload = value[PAYLOAD]
    assert len(payload) == count, f"{len(payload)} numbers under a seal of {count}"
    wrong = np.flatnonzero(payload != number)
    assert wrong.size == 0, (
        f"torn: {wrong.size} of {count} numbers are not {number}; "
        f"the first, at {wrong[0]}, is {payload[wrong[0]]}"
    )
    return number


def _bind(number: int, count: int) -> int:
    return (number * 1_000_003 + count * 7_919) % (2**61)
