"""The keeper of a dictionary: one process inside the Dragon runtime that all clients talk to.

It alone touches the dictionary. So a client needs neither Dragon nor its environment, a client
that is killed leaves nothing of Dragon's locked or half-written, room is counted before the
dictionary is asked, and lists, waits and renaming have one place where things happen one after
the other. Large values do not pass through it: a client fills or reads shared memory of the
runtime itself, and the keeper hands that memory to the dictionary, or back.

::

    python -m dovetail.transport.engines.dragon.keeper FOLDER      (started by a server)
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from dovetail.transport.engines.dragon import places
from dovetail.transport.engines.dragon.dictionary import (
    BrokenError,
    Dictionary,
    RefusedError,
    Staging,
)
from dovetail.transport.engines.dragon.index import block_of
from dovetail.transport.engines.dragon.peers import Peer
from dovetail.transport.engines.dragon.reception import Reception
from dovetail.transport.engines.dragon.saving import Saving
from dovetail.transport.engines.dragon.vault import RefusalError, Vault
from dovetail.transport.engines.dragon.waits import Waits
from dovetail.transport.engines.dragon.wire import FRAME, INLINE, PROTOCOL, Message

EMPTY_LINGER = 10.0
"""Seconds without a client after which a server that an opener started ends, if it is empty."""
_DISK = 0.001
"""Seconds after which one looks again whether the disk has kept up."""
log = logging.getLogger("dovetail.dragon.keeper")


class Keeper:
    """What is answered to whom."""

    def __init__(self, settings: places.Settings, token: str) -> None:
        self._dictionary = Dictionary(settings.nodes, settings.managers, settings.memory)
        self._staging = Staging()
        self.broken = False
        """A part of the dictionary has died."""
        self._staged = 0
        self._leases = 0
        self._waiting: list[tuple[Peer, Message]] = []
        """Requests that have to wait until some shared memory is given back."""
        self._vault = Vault(self._dictionary, settings.memory)
        self._to_save: deque[tuple[Peer, Message]] = deque()
        self._saving: tuple[Peer, Saving] | None = None
        self._watchers: dict[tuple[str, str], set[Peer]] = {}
        self._lifelines: dict[tuple[str, str], set[Peer]] = {}
        self.reception = Reception(
            token, self._welcome, self._answer, self._farewell, self._go_on_saving
        )
        self._waits = Waits(self._items_of, self.reception.answer)

    @property
    def dictionary(self) -> str:
        """What a Dragon program attaches to."""
        return self._dictionary.descriptor

    def patience(self, linger: float) -> float:
        """Seconds to go on without a client: few if there is nothing to keep."""
        return linger if self._vault.stores else min(linger, EMPTY_LINGER)

    def close(self) -> None:
        """End the dictionary, and then leave every client: who waits for it knows by that."""
        if not self.broken:  # or who is dead would be waited for
            self._dictionary.destroy()
        self.reception.close()

    # --- clients ------------------------------------------------------------------------------

    def _welcome(self, peer: Peer) -> None:
        peer.longest = INLINE if peer.local else self._vault.room.each
        peer.longest += FRAME
        if peer.local:
            peer.send_with_descriptor({"staging": self._staging.nbytes}, self._staging.descriptor)
        else:
            peer.send({"staging": 0})

    def _answer(self, peer: Peer, message: Message, behind: bytes) -> None:
        try:
            _OPERATIONS[message["do"]](self, peer, message, behind)
        except BrokenError as error:
            log.error("a part of the dictionary has died: %s", error)
            self.broken = True
            self.reception.stop()
            raise RefusalError(
                "lost",
                f"a part of the dictionary has died ({error}), and what it held with it: open the "
                f"store again, which starts a server anew",
            ) from None

    def _farewell(self, peer: Peer) -> None:
        if peer.watching is not None:
            _discard(self._watchers, peer.watching, peer)
        self._waits.end(peer)
        if peer.lifeline is not None:
            _discard(self._lifelines, peer.lifeline, peer)
        self._staged -= peer.staged
        self._waiting = [entry for entry in self._waiting if entry[0] is not peer]
        self._resume()

    # --- stores -------------------------------------------------------------------------------

    def _open(self, peer: Peer, message: Message, _: bytes) -> None:
        restore = Path(message["restore"]) if message["restore"] else None
        created = self._vault.open(
            message["store"], message["capacity"], message["create"], restore
        )
        peer.send({"created": created})

    def _held(self, peer: Peer, message: Message, _: bytes) -> None:
        store = self._vault.store(message["store"])
        peer.send({"nbytes": store.held, "capacity": self._vault.capacity_of(store)})

    def _destroy(self, peer: Peer, message: Message, _: bytes) -> None:
        store = self._vault.store(message["store"])
        for key in self._vault.destroy(store):
            self._changed(store.name, key)
        for name in store.lists:
            self._waits.changed(store.name, name)
        peer.send({})

    def _save(self, peer: Peer, message: Message, _: bytes) -> None:
        """Answered when all is on disk; one checkpoint after the other."""
        self._to_save.append((peer, message))

    def _go_on_saving(self) -> float:
        """Do a little of the checkpoint under way; the seconds until there is more to do."""
        if self._saving is None:
            if not self._to_save:
                return 1.0
            peer, message = self._to_save.popleft()
            store = self._vault.store(message["store"])
            self._saving = peer, self._vault.save(store, Path(message["folder"]))
        peer, saving = self._saving
        saving.step()
        if not saving.over:
            return _DISK
        self._saving = None
        self.reception.answer(peer, lambda: self._saved(peer, saving))
        return 0.0

    def _saved(self, peer: Peer, saving: Saving) -> None:
        self._vault.saved(saving)
        peer.send({})

    def _status(self, peer: Peer, _: Message, __: bytes) -> None:
        room = self._vault.room
        peer.send(
            {
                "stores": sorted(self._vault.stores),
                "clients": len(self.reception),
                "memory": room.whole,
                "taken": sum(room.taken),
                "staged": self._staged,
            }
        )

    def _end(self, peer: Peer, _: Message, __: bytes) -> None:
        peer.send({})
        self.reception.stop()

    # --- values -------------------------------------------------------------------------------

    def _admit(self, peer: Peer, message: Message, _: bytes) -> None:
        """Whether there is room for a value that is about to be sent from another host."""
        store = self._vault.store(message["store"])
        self._vault.admitted(store, message["key"], message["nbytes"])
        peer.send({})

    def _give_room(self, peer: Peer, message: Message, _: bytes) -> None:
        """Shared memory for a value that is about to be put."""
        store, key, nbytes = self._vault.store(message["store"]), message["key"], message["nbytes"]
        self._vault.admitted(store, key, nbytes)
        if not self._may_stage(peer, message, nbytes + FRAME):
            return
        try:
            memory = self._staging.allocate(nbytes + FRAME)
        except RefusedError as error:
            raise RefusalError("full", str(error)) from None
        peer.send(self._leased(peer, memory))

    def _put(self, peer: Peer, message: Message, behind: bytes) -> None:
        store, key = self._vault.store(message["store"]), message["key"]
        lease = message.get("lease")
        value: Any = behind if lease is None else self._returned(peer, lease)
        try:
            self._vault.put(store, key, value, message["nbytes"], message["version"])
        finally:
            self._changed(store.name, key)
            self._resume()
        answer = {} if lease is None else self._spare(peer, message["nbytes"])
        if "list" in message:
            answer |= self._appended(message)
        peer.send(answer)

    def _spare(self, peer: Peer, nbytes: int) -> Message:
        """Shared memory for another value of this size, which often follows; or nothing."""
        block = block_of(nbytes + FRAME)
        if self._waiting or self._staged + block > self._staging.room // 4:
            return {}
        try:
            return self._leased(peer, self._staging.allocate(nbytes + FRAME))
        except RefusedError:
            return {}

    def _get(self, peer: Peer, message: Message, _: bytes) -> None:
        store, key = self._vault.store(message["store"]), message["key"]
        record = store.records.get(key)
        if record is None:
            peer.send({"absent": True})
            return
        inline = record.nbytes <= INLINE or not peer.local
        if not inline and not self._may_stage(peer, message, record.nbytes + FRAME):
            return
        value = self._vault.fetch(store, key)
        memory = value.memory
        if inline or memory is None or self._staging.offset_of(memory) < 0:
            peer.send({"nbytes": record.nbytes}, value.copied())
        else:
            peer.send({"nbytes": record.nbytes, **self._leased(peer, memory)})

    def _head(self, peer: Peer, message: Message, _: bytes) -> None:
        store, key = self._vault.store(message["store"]), message["key"]
        record = store.records.get(key)
        if record is None:
            peer.send({"absent": True})
        else:
            peer.send({"nbytes": record.nbytes}, self._vault.header(store, key, record))

    def _version(self, peer: Peer, message: Message, _: bytes) -> None:
        record = self._vault.store(message["store"]).records.get(message["key"])
        peer.send({"version": record and record.version})

    def _remove(self, peer: Peer, message: Message, _: bytes) -> None:
        store, key = self._vault.store(message["store"]), message["key"]
        removed = self._vault.delete(store, key)
        self._changed(store.name, key)
        peer.send({"found": removed})

    def _move(self, peer: Peer, message: Message, _: bytes) -> None:
        store, key, new_key = (
            self._vault.store(message["store"]),
            message["key"],
            message["new_key"],
        )
        moved = self._vault.move(store, key, new_key)
        for name in (key, new_key):
            self._changed(store.name, name)
        peer.send({"found": moved})

    def _keys(self, peer: Peer, message: Message, _: bytes) -> None:
        store, prefix = self._vault.store(message["store"]), message["prefix"]
        peer.send({"keys": [key for key in store.records if key.startswith(prefix)]})

    # --- shared memory ------------------------------------------------------------------------

    def _may_stage(self, peer: Peer, message: Message, nbytes: int) -> bool:
        """Whether there is shared memory for a value now; if not, the request waits its turn."""
        if self._staged + block_of(nbytes) <= self._staging.room or not self._staged:
            return True
        self._waiting.append((peer, message))
        return False

    def _resume(self) -> None:
        waiting, self._waiting = self._waiting, []
        for peer, message in waiting:
            self.reception.handle(peer, message, b"")

    def _leased(self, peer: Peer, memory: Any) -> Message:
        self._leases += 1
        peer.leases[self._leases] = memory
        peer.staged += block_of(memory.size)
        self._staged += block_of(memory.size)
        return {"lease": self._leases, "offset": self._staging.offset_of(memory)}

    def _returned(self, peer: Peer, lease: int) -> Any:
        memory = peer.leases.pop(lease)
        peer.staged -= block_of(memory.size)
        self._staged -= block_of(memory.size)
        return memory

    def _free(self, peer: Peer, message: Message, _: bytes) -> None:
        """A client has read, or will not fill, its piece of shared memory. Not answered."""
        self._returned(peer, message["lease"]).free()
        self._resume()

    # --- lists, waits, lives ------------------------------------------------------------------

    def _append(self, peer: Peer, message: Message, _: bytes) -> None:
        peer.send(self._appended(message))

    def _appended(self, message: Message) -> Message:
        """Add an item to a list; its position, and what the list holds from ``start`` on."""
        items = self._vault.store(message["store"]).lists.setdefault(message["list"], [])
        items.append(message["item"])
        self._waits.changed(message["store"], message["list"])
        start = message.get("start", len(items))
        return {"position": len(items) - 1, "items": items[start:]}

    def _items(self, peer: Peer, message: Message, _: bytes) -> None:
        peer.send({"items": self._items_of(message["store"], message["list"], message["start"])})

    def _items_of(self, store: str, name: str, start: int) -> list[str]:
        found = self._vault.stores.get(store)
        return [] if found is None else found.lists.get(name, [])[start:]

    def _wait(self, peer: Peer, message: Message, _: bytes) -> None:
        """Answered once the list holds an item from ``start`` on, or the client has had enough."""
        self._waits.begin(peer, message["store"], message["list"], message["start"])

    def _enough(self, peer: Peer, _: Message, __: bytes) -> None:
        """A client waits no longer. Not answered if its wait was, meanwhile."""
        if self._waits.end(peer):
            peer.send({"items": []})

    def _remove_list(self, peer: Peer, message: Message, _: bytes) -> None:
        self._vault.store(message["store"]).lists.pop(message["list"], None)
        self._waits.changed(message["store"], message["list"])
        peer.send({})

    def _watch(self, peer: Peer, message: Message, _: bytes) -> None:
        peer.watching = (message["store"], message["key"])
        self._watchers.setdefault(peer.watching, set()).add(peer)
        peer.send({})

    def _changed(self, store: str, key: str) -> None:
        """Tell who watches a key."""
        for peer in list(self._watchers.get((store, key), ())):
            self.reception.tell(peer)

    def _live(self, peer: Peer, message: Message, _: bytes) -> None:
        """This connection is somebody's lifeline: while it lasts, they live."""
        peer.lifeline = (message["store"], message["name"])
        self._lifelines.setdefault(peer.lifeline, set()).add(peer)
        peer.send({})

    def _alive(self, peer: Peer, message: Message, _: bytes) -> None:
        names = [name for name in message["names"] if (message["store"], name) in self._lifelines]
        peer.send({"names": names})


_OPERATIONS: dict[str, Callable[[Keeper, Peer, Message, bytes], None]] = {
    "open": Keeper._open,
    "held": Keeper._held,
    "destroy": Keeper._destroy,
    "save": Keeper._save,
    "status": Keeper._status,
    "end": Keeper._end,
    "admit": Keeper._admit,
    "room": Keeper._give_room,
    "put": Keeper._put,
    "get": Keeper._get,
    "head": Keeper._head,
    "version": Keeper._version,
    "remove": Keeper._remove,
    "move": Keeper._move,
    "keys": Keeper._keys,
    "free": Keeper._free,
    "append": Keeper._append,
    "items": Keeper._items,
    "remove list": Keeper._remove_list,
    "wait": Keeper._wait,
    "enough": Keeper._enough,
    "watch": Keeper._watch,
    "live": Keeper._live,
    "alive": Keeper._alive,
}


def _discard(peers: dict[Any, set[Peer]], name: Any, peer: Peer) -> None:
    peers[name].discard(peer)
    if not peers[name]:
        del peers[name]


def main(folder: Path) -> None:
    """Be the keeper of the server whose folder this is."""
    _log_to_standard_error()
    settings = places.Settings.read(folder)
    token = secrets.token_hex(32)
    keeper = Keeper(settings, token)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: keeper.reception.stop())
    path = places.socket_of(folder)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(128)
        keeper.reception.listen(listener)
        address, port = _listen_on_interface(keeper, settings.interface)
        places.Contact(
            PROTOCOL, os.getpid(), socket.gethostname(), str(path), address, port, token,
            settings.nodes, settings.managers, settings.memory, keeper.dictionary,
        ).write(folder)  # fmt: skip
        log.info("serving %s", settings)
        try:
            keeper.reception.serve(lambda: keeper.patience(settings.linger))
        finally:
            places.forget(folder)
            keeper.close()
            path.unlink(missing_ok=True)
        if keeper.broken:
            os._exit(
                1
            )  # Dragon's own good-byes wait for who is dead; with this process it all ends


def inside(folder: str) -> None:
    """Be the keeper in a process of somebody's own runtime."""
    log_file = os.open(f"{folder}/server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log_file, 1)
    os.dup2(log_file, 2)
    main(Path(folder))


def _log_to_standard_error() -> None:
    # Dragon sets up the root logger for its own purposes.
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s keeper: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _listen_on_interface(keeper: Keeper, named: str) -> tuple[str, int]:
    """For clients on other hosts, if an interface is named for them: its address, and a port."""
    if not named:
        return "", 0
    addresses = psutil.net_if_addrs().get(named)
    address = named
    if addresses is not None:
        address = next(entry.address for entry in addresses if entry.family == socket.AF_INET)
    listener = socket.create_server((address, 0))
    keeper.reception.listen(listener)
    return address, listener.getsockname()[1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
