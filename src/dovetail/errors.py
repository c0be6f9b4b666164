"""The errors of Dovetail, in one tree.

::

    DovetailError
    ├── InvalidURLError            (ValueError)         the URL names no engine, or an option it lacks
    ├── InvalidKeyError            (ValueError)         a key that is no text, or holds NUL
    ├── UnsupportedDataError       (TypeError)          a dtype or object that has no safetensors form
    ├── CoverageError              (ValueError)         blocks of a global array leave a gap or overlap
    ├── CapabilityError            (ValueError)         the engine cannot keep what was asked of it
    ├── EngineUnavailableError     (ImportError)        not available here: install or start something
    ├── AccessDeniedError          (PermissionError)    a server did not let us in, or we do not trust it
    ├── KeyNotFoundError           (KeyError)           no value under this key
    ├── StoreFullError             (OSError)            no room left; nothing stored was lost
    ├── CorruptDataError           (ValueError)         bytes that are not a sound value
    │   └── FormatVersionError                          written by a version that this one cannot read
    ├── TransportTimeoutError      (TimeoutError)       a deadline passed
    ├── TransportClosedError       (ValueError)         used after it was closed by this side
    │   └── StreamStoppedError                          the readers asked the producer to stop
    ├── PeerLostError              (ConnectionResetError)    the other side died or left by an exception
    ├── ReaderExpelledError        (ConnectionAbortedError)  this reader held the producer up too long
    ├── StreamBusyError            (FileExistsError)    the stream already has a writer or unread steps
    ├── ModelNotReadyError         (RuntimeError)       no version of a followed model is in force yet
    ├── ModelFailedError           (RuntimeError)       a model could not be exported, compiled or run
    ├── NonFiniteSampleError       (ValueError)         a sample with NaN or infinity in it, where that raises
    ├── InvalidWorkflowError       (ValueError)         a workflow that cannot run as it is written
    │   └── InvalidMachineError                         a machine profile that cannot be right
    ├── WorkflowFailedError        (RuntimeError)       a component failed, and the run with it
    └── OutsideRunError            (RuntimeError)       this process is no component of a running workflow

Wrong arguments are ValueError or TypeError; what the system refuses is OSError.

A message says what happened, with which value, and what to do about it. *Closed*, *lost peer*,
*timeout*, *full*, *corrupt* and *not available here* are never confused with one another.
"""

from __future__ import annotations


class DovetailError(Exception):
    """The base of every error raised by Dovetail."""


class InvalidURLError(DovetailError, ValueError):
    """A URL with an unknown scheme or option, or an option value that cannot be read."""


class InvalidKeyError(DovetailError, ValueError):
    """A key that cannot name a value: not text, not encodable as UTF-8, or with a NUL in it."""


class UnsupportedDataError(DovetailError, TypeError):
    """A value that has no safetensors form: an object array, a ragged list, a foreign dtype."""


class CoverageError(DovetailError, ValueError):
    """The blocks of a global array do not tile it: a cell is missing or written twice."""


class CapabilityError(DovetailError, ValueError):
    """The engine was asked for something that it declares it cannot keep."""


class EngineUnavailableError(DovetailError, ImportError):
    """The engine cannot run here. The message names what to install or to start."""


class AccessDeniedError(DovetailError, PermissionError):
    """A server did not let us in, or is not the one that we may trust.

    The message says what was wrong, and never shows a password.
    """


class KeyNotFoundError(DovetailError, KeyError):
    """No value is stored under the key."""

    def __str__(self) -> str:
        # KeyError prints the repr of its argument; ours is a sentence.
        return str(self.args[0]) if self.args else ""


class StoreFullError(DovetailError, OSError):
    """The store, or the file system under it, has no room for the value.

    Nothing that was already stored is lost. The message says how much is free and who holds
    the rest.
    """


class CorruptDataError(DovetailError, ValueError):
    """Bytes that are not a sound safetensors value: truncated, damaged or foreign."""


class FormatVersionError(CorruptDataError):
    """Data laid out by another format version. The message names the version that wrote it."""


class TransportTimeoutError(DovetailError, TimeoutError):
    """A deadline passed before the transport could do what was asked."""


class TransportClosedError(DovetailError, ValueError):
    """A store, stream or step was used after this side had closed it."""


class StreamStoppedError(TransportClosedError):
    """A reader called ``stop()``: the producer should end its work."""


class PeerLostError(DovetailError, ConnectionResetError):
    """The other side of a stream died, or left by an exception."""


class ReaderExpelledError(DovetailError, ConnectionAbortedError):
    """This reader held the producer up for longer than its deadline and was expelled.

    What the reader already has in hand stays valid.
    """


class StreamBusyError(DovetailError, FileExistsError):
    """A writer cannot open the stream: it has a live one, or still holds unread steps."""


class ModelNotReadyError(DovetailError, RuntimeError):
    """A followed model was called before any version of it was taken."""


class ModelFailedError(DovetailError, RuntimeError):
    """A model could not be exported, compiled or run. The message ends with what torch said."""


class NonFiniteSampleError(DovetailError, ValueError):
    """A sample holds NaN or infinity, and the reservoir was told to raise for that."""


class InvalidWorkflowError(DovetailError, ValueError):
    """A workflow that cannot run as it is written. Nothing was started.

    Its arguments are all that is wrong, one sentence each, with what to do.
    """

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong."""
        return self.args

    def __str__(self) -> str:
        return "\n".join(self.problems)


class InvalidMachineError(InvalidWorkflowError):
    """A machine profile that cannot be right, or that is nowhere to be found."""


class WorkflowFailedError(DovetailError, RuntimeError):
    """A run that failed, or was interrupted. The message ends with the component's last lines."""


class OutsideRunError(DovetailError, RuntimeError):
    """Asked which component this process is, and it is none: no workflow started it."""


__all__ = [
    "AccessDeniedError",
    "CapabilityError",
    "CorruptDataError",
    "CoverageError",
    "DovetailError",
    "EngineUnavailableError",
    "FormatVersionError",
    "InvalidKeyError",
    "InvalidMachineError",
    "InvalidURLError",
    "InvalidWorkflowError",
    "KeyNotFoundError",
    "ModelFailedError",
    "ModelNotReadyError",
    "NonFiniteSampleError",
    "OutsideRunError",
    "PeerLostError",
    "ReaderExpelledError",
    "StoreFullError",
    "StreamBusyError",
    "StreamStoppedError",
    "TransportClosedError",
    "TransportTimeoutError",
    "UnsupportedDataError",
    "WorkflowFailedError",
]
