"""Who waits for an item of a list, and is answered when it comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dovetail.transport.engines.dragon.peers import Peer

ItemsOf = Callable[[str, str, int], list[str]]
"""The items of a store's list from a position on."""


class Waits:
    """The unanswered waits of all clients, at most one each.

    Parameters
    ----------
    answer
        Does what answers a client, who may be gone.
    """

    def __init__(self, items_of: ItemsOf, answer: Callable[[Peer, Callable[[], None]], None]):
        self._items_of = items_of
        self._answer = answer
        self._waiting: dict[tuple[str, str], dict[Peer, int]] = {}
        """From which position on, by store and list."""

    def begin(self, peer: Peer, store: str, name: str, start: int) -> None:
        """Answer a client once a list holds an item from `start` on."""
        items = self._items_of(store, name, start)
        if items:
            peer.send({"items": items})
            return
        peer.awaiting = (store, name)
        self._waiting.setdefault(peer.awaiting, {})[peer] = start

    def end(self, peer: Peer) -> bool:
        """Forget that a client waits; whether it does."""
        where, peer.awaiting = peer.awaiting, None
        if where is None:
            return False
        waiting = self._waiting[where]
        del waiting[peer]
        if not waiting:
            del self._waiting[where]
        return True

    def changed(self, store: str, name: str) -> None:
        """Answer all who wait for an item of a list that has grown, or is gone."""
        for peer, start in self._waiting.pop((store, name), {}).items():
            peer.awaiting = None
            answer = {"items": self._items_of(store, name, start)}
            self._answer(peer, partial(peer.send, answer))
