"""Dovetail couples simulations with AI: one API, and the transport is a URL.

>>> import dovetail as dv  # not dt: that is every solver's time step

Stage values in a :func:`store <open_store>`, stream steps through a
:func:`stream <open_stream>`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail.data import Dataset
    from dovetail.errors import (
        AccessDeniedError,
        CapabilityError,
        CorruptDataError,
        CoverageError,
        DovetailError,
        EngineUnavailableError,
        FormatVersionError,
        InvalidKeyError,
        InvalidMachineError,
        InvalidURLError,
        InvalidWorkflowError,
        KeyNotFoundError,
        ModelFailedError,
        ModelNotReadyError,
        NonFiniteSampleError,
        OutsideRunError,
        PeerLostError,
        ReaderExpelledError,
        StoreFullError,
        StreamBusyError,
        StreamStoppedError,
        TransportClosedError,
        TransportTimeoutError,
        UnsupportedDataError,
        WorkflowFailedError,
    )
    from dovetail.flow import Component, ThisComponent, Workflow, exhibit, this_component
    from dovetail.learn import OnlineDataset, Reservoir, load_checkpoint, save_checkpoint
    from dovetail.model import (
        FollowedModel,
        Guard,
        InputRange,
        ValidationGate,
        export_model,
        load_model,
        publish_model,
    )
    from dovetail.transport import (
        Policy,
        ReadStep,
        Store,
        StreamReader,
        StreamWriter,
        WriteStep,
        buffered,
        describe_stream,
        destroy_stream,
        latest,
        lockstep,
        open_store,
        open_stream,
        tail_stream,
        work_queue,
    )

__version__: str

_HOMES = {
    "Component": "dovetail.flow",
    "Dataset": "dovetail.data",
    "FollowedModel": "dovetail.model",
    "Guard": "dovetail.model",
    "InputRange": "dovetail.model",
    "OnlineDataset": "dovetail.learn",
    "Reservoir": "dovetail.learn",
    "ThisComponent": "dovetail.flow",
    "ValidationGate": "dovetail.model",
    "Workflow": "dovetail.flow",
    "exhibit": "dovetail.flow",
    "export_model": "dovetail.model",
    "load_checkpoint": "dovetail.learn",
    "load_model": "dovetail.model",
    "publish_model": "dovetail.model",
    "save_checkpoint": "dovetail.learn",
    "this_component": "dovetail.flow",
}
"""Where public names come from that are neither errors nor of the transport."""

__all__ = [
    "AccessDeniedError",
    "CapabilityError",
    "Component",
    "CorruptDataError",
    "CoverageError",
    "Dataset",
    "DovetailError",
    "EngineUnavailableError",
    "FollowedModel",
    "FormatVersionError",
    "Guard",
    "InputRange",
    "InvalidKeyError",
    "InvalidMachineError",
    "InvalidURLError",
    "InvalidWorkflowError",
    "KeyNotFoundError",
    "ModelFailedError",
    "ModelNotReadyError",
    "NonFiniteSampleError",
    "OnlineDataset",
    "OutsideRunError",
    "PeerLostError",
    "Policy",
    "ReadStep",
    "ReaderExpelledError",
    "Reservoir",
    "Store",
    "StoreFullError",
    "StreamBusyError",
    "StreamReader",
    "StreamStoppedError",
    "StreamWriter",
    "ThisComponent",
    "TransportClosedError",
    "TransportTimeoutError",
    "UnsupportedDataError",
    "ValidationGate",
    "Workflow",
    "WorkflowFailedError",
    "WriteStep",
    "buffered",
    "describe_stream",
    "destroy_stream",
    "exhibit",
    "export_model",
    "latest",
    "load_checkpoint",
    "load_model",
    "lockstep",
    "open_store",
    "open_stream",
    "publish_model",
    "save_checkpoint",
    "tail_stream",
    "this_component",
    "work_queue",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import dovetail` alone stays light."""
    if name == "__version__":
        value: Any = import_module("dovetail._native").__version__
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name.endswith("Error") and name in __all__:
        value = getattr(import_module("dovetail.errors"), name)
    elif name in __all__:
        value = getattr(import_module("dovetail.transport"), name)
    else:
        raise AttributeError(f"module 'dovetail' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
