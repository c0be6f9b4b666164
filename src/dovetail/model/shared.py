"""An exported model that one process computes for all ranks of a node."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from numpy.typing import NDArray

from dovetail import _native
from dovetail.model.compiled import CompiledModel
from dovetail.model.installed import torch_folder


class SharedStatistics(NamedTuple):
    """What became of the calls of a shared model."""

    calls: int
    """Of this rank."""
    joined: int
    """Of these, that were computed in one with calls of other ranks."""
    ranks: int
    """That share the server now; 0 once it is gone."""
    runs: int
    """Of the model, by the server, for whichever ranks."""
    process: int
    """Of the server; 0 once it is gone."""


class SharedModel(CompiledModel):
    """A model that the ranks of a node share. :func:`~dovetail.load_model` makes them.

    It is called as any other. Inputs are copied once, into memory that the server reads, and
    outputs once, out of it.
    """

    @classmethod
    def join(
        cls,
        folder: Path,
        *,
        device_index: int,
        threads: int,
        gather: float | None,
        fallback: Literal["in_process"] | None,
        timeout: float,
    ) -> Self:
        """The model in a folder, computed by the server of this node; it is started if need be."""
        native = _native.SharedModel(
            str(folder), torch_folder(), sys.executable, device_index, threads, gather or 0.0,
            gather is not None, timeout, fallback == "in_process",
        )  # fmt: skip
        return cls(native, folder)

    def run(self, *inputs: Any, out: Any = None) -> Any:
        """Call the model, as :meth:`CompiledModel.run` does.

        Raises
        ------
        PeerLostError
            If the server is gone, and the model was not loaded with ``fallback="in_process"``.
        TransportTimeoutError
            If it gives no answer. The model may be called again.
        """
        result = super().run(*inputs, out=out)
        notice = self._native.take_notice()
        if notice:
            warnings.warn(notice, RuntimeWarning, stacklevel=2)
        return result

    def replace_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Replace all weights of this instance; those of other ranks stay as they are.

        The server holds the same weights once, whichever ranks send them.
        """
        super().replace_weights(weights)

    def another(self) -> SharedModel:
        """Another instance of the same server, with weights of its own: those exported."""
        return SharedModel(self._open().another(), self._folder)

    def statistics(self) -> SharedStatistics:
        """What became of the calls."""
        return SharedStatistics(*self._open().counts)

    def close(self) -> None:
        """Leave the server, which ends with its last rank. Other instances stay."""
        if self._native is not None:
            self._native.close()
        super().close()

    def __repr__(self) -> str:
        return super().__repr__().replace("CompiledModel", "SharedModel")
