"""Recording a stream while it flows: every step goes to its readers and into a recording."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from numpy.typing import DTypeLike, NDArray

from dovetail.data import Attributes
from dovetail.errors import CapabilityError
from dovetail.transport.closing import Closing
from dovetail.transport.contract import (
    Engine,
    Participant,
    Shape,
    StreamStatistics,
    StreamWriter,
    WriteStep,
)
from dovetail.transport.policies import Policy
from dovetail.transport.url import URL


@runtime_checkable
class RecordingEngine(Protocol):
    """An engine whose streams can be recordings, which wait for no reader."""

    def open_recording(self, url: URL, participant: Participant) -> StreamWriter:
        """Open a recording for writing."""
        ...


def open_recording(engine: Engine, url: URL, participant: Participant) -> StreamWriter:
    """The recording behind the URL of a tee.

    Raises
    ------
    CapabilityError
        If the engine keeps no recordings.
    """
    if not isinstance(engine, RecordingEngine):
        raise CapabilityError(
            f"tee={str(url)!r}: {url.scheme}:// keeps no recordings; record with bp5:///folder"
        )
    return engine.open_recording(url, participant)


class TeeWriter(Closing):
    """The producing end of a stream that is recorded.

    A step is recorded when the stream has accepted it, so that the recording holds what the
    readers were offered. An error of the recording is raised at the end of the step that it could
    not take; the stream has that step, and may go on.

    Parameters
    ----------
    stream
        The stream that is recorded.
    recording
        Where to; it is closed with the stream.
    """

    def __init__(self, stream: StreamWriter, recording: StreamWriter) -> None:
        self._stream = stream
        self._recording = recording

    @property
    def url(self) -> str:
        return self._stream.url

    @property
    def policy(self) -> Policy:
        return self._stream.policy

    @property
    def stopped(self) -> bool:
        return self._stream.stopped

    @property
    def recording(self) -> StreamWriter:
        """The recording."""
        return self._recording

    def step(self, attrs: Attributes | None = None) -> TeeStep:
        recorded = self._recording.step(attrs)
        try:
            return TeeStep(self._stream.step(attrs), recorded)
        except BaseException as error:
            recorded.__exit__(type(error), error, None)
            raise

    def statistics(self) -> StreamStatistics:
        return self._stream.statistics()

    def close(self) -> None:
        self._leave(failed=False)

    def _leave(self, failed: bool) -> None:
        kind = RuntimeError if failed else None
        try:
            self._stream.__exit__(kind, None, None)
        finally:
            self._recording.__exit__(kind, None, None)

    def __repr__(self) -> str:
        return f"<{self._stream!r} recorded in {self._recording.url}>"


class TeeStep:
    """A step under construction, of a stream and of its recording."""

    def __init__(self, step: WriteStep, recorded: WriteStep) -> None:
        self._step = step
        self._recorded = recorded
        self._filled: list[tuple[NDArray[Any], NDArray[Any]]] = []
        """What is filled in place in the stream, and where it goes in the recording."""

    @property
    def index(self) -> int:
        return self._step.index

    def put(
        self, name: str, array: Any, shape: Shape | None = None, start: Shape | None = None
    ) -> None:
        self._step.put(name, array, shape, start)
        self._recorded.put(name, array, shape, start)

    def __setitem__(self, name: str, array: Any) -> None:
        self.put(name, array)

    def empty(
        self,
        name: str,
        count: Shape,
        dtype: DTypeLike,
        shape: Shape | None = None,
        start: Shape | None = None,
    ) -> NDArray[Any]:
        array = self._step.empty(name, count, dtype, shape, start)
        self._filled.append((array, self._recorded.empty(name, count, dtype, shape, start)))
        return array

    def __enter__(self) -> Self:
        self._step.__enter__()
        self._recorded.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._filled:  # nothing of it may be held when the stream takes it back
            array, room = self._filled.pop()
            if kind is None:
                room[...] = array
            del array, room
        try:
            self._step.__exit__(kind, error, traceback)
        except BaseException as refused:
            self._recorded.__exit__(type(refused), refused, None)
            raise
        self._recorded.__exit__(kind, error, traceback)
