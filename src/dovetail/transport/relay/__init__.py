"""Carrying a stream or a store from one engine to another: what a gateway between systems does.

A relay is a reader on one side and a writer on the other, and nothing else: it works between any
two engines, in one process, and keeps nothing of its own. What it has carried is known from what
lies on either side, so that one that was killed is simply started again.
"""

from dovetail.transport.relay.steps import StepsCarried, relay_stream
from dovetail.transport.relay.values import StoreRelay, ValuesCarried, relay_store

__all__ = ["StepsCarried", "StoreRelay", "ValuesCarried", "relay_store", "relay_stream"]
