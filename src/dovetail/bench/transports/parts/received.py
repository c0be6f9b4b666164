"""Whether what was received is what was sent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.bench.payload import payload
from dovetail.bench.transports.seats import Seat


def check(seat: Seat, nbytes: int, received: NDArray[Any] | None) -> None:
    """Compare what a consumer received last with its share of what all producers send.

    Parameters
    ----------
    received
        ``None`` if it received nothing yet.

    Raises
    ------
    RuntimeError
    """
    if received is None:
        return
    sent = payload(nbytes)
    start, count = seat.share(len(sent))
    expected = np.take(sent, np.arange(start, start + count), mode="wrap")
    if not np.array_equal(received, expected):
        raise RuntimeError("what was received is not what was sent")
