"""What is closed at the end of a ``with`` block."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """The two methods of a ``with`` block, for what has a ``close``.

    One that tells failure from success has :meth:`_leave` as well.
    """

    def close(self) -> None:
        """Give back what is held. Harmless a second time."""
        raise NotImplementedError

    def _leave(self, failed: bool) -> None:
        """End of the block, by an exception or not."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(failed=kind is not None)
