"""Moving data: the contracts of Store and Stream, and the engines that keep them."""

from dovetail.transport.contract import ReadStep, Store, StreamReader, StreamWriter, WriteStep
from dovetail.transport.policies import Policy, buffered, latest, lockstep, work_queue
from dovetail.transport.registry import (
    describe_stream,
    destroy_stream,
    open_store,
    open_stream,
    tail_stream,
)

__all__ = [
    "Policy",
    "ReadStep",
    "Store",
    "StreamReader",
    "StreamWriter",
    "WriteStep",
    "buffered",
    "describe_stream",
    "destroy_stream",
    "latest",
    "lockstep",
    "open_store",
    "open_stream",
    "tail_stream",
    "work_queue",
]
