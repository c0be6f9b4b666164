"""Who comes to a keeper, and when: its loop over all connections.

One thread, which never waits for any client: what a client does not read is kept for it, and
what it has not sent whole is not looked at.
"""

from __future__ import annotations

import logging
import secrets
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from dovetail.transport.engines.dragon.peers import GoneError, Peer
from dovetail.transport.engines.dragon.vault import RefusalError
from dovetail.transport.engines.dragon.wire import PROTOCOL, Message, proof

log = logging.getLogger("dovetail.dragon.keeper")

Answering = Callable[[Peer, Message, bytes], None]
"""Answers one message of a client, with the bytes behind it."""


class Reception:
    """All connections of a keeper.

    Parameters
    ----------
    token
        What a client must know.
    welcome
        Called with each client that knows it, to tell it what it needs.
    answer
        Called with each message. It may raise RefusalError, which the client is told.
    farewell
        Called with each client that has gone.
    beside
        Does a little of what is to be done besides; gives the seconds until there is more.
    """

    def __init__(
        self,
        token: str,
        welcome: Callable[[Peer], None],
        answer: Answering,
        farewell: Callable[[Peer], None],
        beside: Callable[[], float],
    ) -> None:
        self._token = token
        self._welcome = welcome
        self._answer = answer
        self._farewell = farewell
        self._beside = beside
        self._peers: set[Peer] = set()
        self._selector = selectors.DefaultSelector()
        self._serving = True
        self._idle_since = time.monotonic()

    def __len__(self) -> int:
        return len(self._peers)

    def listen(self, listener: socket.socket) -> None:
        """Take clients on a socket."""
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, listener)

    def serve(self, patience: Callable[[], float]) -> None:
        """Go on until told to stop, or for some seconds without a client.

        Parameters
        ----------
        patience
            How many seconds, as things are; 0: for ever.
        """
        while self._serving:
            for key, events in self._selector.select(timeout=self._beside()):
                if isinstance(key.data, Peer):
                    self._attend(key.data, events)
                else:
                    self._accept(key.data)
            if not self._peers and 0 < patience() < time.monotonic() - self._idle_since:
                log.info("no client for %g s: ending", patience())
                return

    def stop(self) -> None:
        """End after the message at hand."""
        self._serving = False

    def close(self) -> None:
        """Leave every client."""
        for peer in list(self._peers):
            self._leave(peer)

    def handle(self, peer: Peer, message: Message, behind: bytes) -> None:
        """Answer a message, or say why not."""
        self.answer(peer, lambda: self._answer(peer, message, behind))

    def answer(self, peer: Peer, work: Callable[[], None]) -> None:
        """Do what answers a client, or say why it cannot be done."""
        if peer not in self._peers:
            return
        try:
            try:
                work()
            except RefusalError as refusal:
                peer.send({"error": refusal.kind, "text": str(refusal)})
            except GoneError:
                raise
            except Exception as error:  # must not end the others' stores with it
                log.exception("a request could not be answered")
                why = f"the keeper failed at this: {error!r}; see server.log in its folder"
                peer.send({"error": "failed", "text": why})
            self._await(peer)
        except GoneError:
            self._leave(peer)

    def tell(self, peer: Peer) -> None:
        """Send a word to a client that waits for one; one that it has not read is enough."""
        try:
            if not peer.has_unsent:
                peer.send({})
                self._await(peer)
        except GoneError:
            self._leave(peer)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        local = listener.family == socket.AF_UNIX
        if not local:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(connection, local)
        peer.nonce = secrets.token_hex(16)
        self._peers.add(peer)
        self._selector.register(peer, selectors.EVENT_READ, peer)
        with suppress(GoneError):
            peer.send({"protocol": PROTOCOL, "nonce": peer.nonce})

    def _attend(self, peer: Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                peer.flush()
            if events & selectors.EVENT_READ:
                peer.receive()
            while peer in self._peers and (arrived := peer.next_message()) is not None:
                if peer.nonce:
                    self._admit(peer, arrived[0])
                else:
                    self.handle(peer, *arrived)
            self._await(peer)
        except GoneError:
            self._leave(peer)

    def _admit(self, peer: Peer, message: Message) -> None:
        shown = str(message.get("proof")).encode()
        if not secrets.compare_digest(shown, proof(self._token, peer.nonce).encode()):
            peer.send({"error": "token", "text": "the token is not that of this server"})
            raise GoneError
        peer.nonce = ""
        self._welcome(peer)

    def _await(self, peer: Peer) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.has_unsent else 0)
        if peer in self._peers and self._selector.get_key(peer).events != events:
            self._selector.modify(peer, events, peer)

    def _leave(self, peer: Peer) -> None:
        if peer not in self._peers:
            return
        self._peers.discard(peer)
        self._selector.unregister(peer)
        peer.close()
        self._idle_since = time.monotonic()
        self._farewell(peer)
