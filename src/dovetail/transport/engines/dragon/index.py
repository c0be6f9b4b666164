"""What the keeper knows of a store without asking the dictionary: its keys, lists and room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from dovetail.quantities import in_bytes

SMALLEST_BLOCK = 32
"""Bytes. Dragon's memory pools give out blocks of 2ⁿ bytes, of no less than this."""
HEADROOM = 0.7
"""The share of a pool that is filled: an overfull dictionary has been seen to lose bytes."""
BRIM = 0.85
"""The share up to which it is filled for a moment; Dragon itself refuses from 0.9 on."""


def block_of(nbytes: int) -> int:
    """The bytes that a pool sets aside for so many."""
    return max(SMALLEST_BLOCK, 1 << max(0, nbytes - 1).bit_length())


def pool_for(nbytes: int) -> int:
    """The size of a pool in which so many bytes of blocks can be used."""
    return block_of(int(nbytes / HEADROOM) + 1)


class Record(NamedTuple):
    """One value."""

    version: str
    nbytes: int
    """Without its frame."""
    block: int
    """Bytes that it takes in the dictionary, its key included."""
    shard: int
    """Which manager holds it."""
    prefix: bytes
    """Its safetensors header, if that is short; else nothing."""


@dataclass
class StoreIndex:
    """One store of a dictionary."""

    name: str
    capacity: int | None = None
    """The most bytes that it may take; without one, all that the dictionary has."""
    records: dict[str, Record] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    held: int = 0
    """Bytes that its values take in the dictionary."""

    def note(self, key: str, record: Record) -> None:
        """A value was put."""
        self.forget(key)
        self.records[key] = record
        self.held += record.block

    def forget(self, key: str) -> Record | None:
        """A value was removed, or is about to be replaced."""
        record = self.records.pop(key, None)
        if record is not None:
            self.held -= record.block
        return record


class Room:
    """The memory of a dictionary's managers, counted in the blocks that they give out."""

    def __init__(self, managers: int, nbytes: int) -> None:
        self.each = nbytes // managers
        """Bytes of blocks that one manager may hold."""
        self.taken = [0] * managers

    @property
    def brim(self) -> int:
        """Bytes that one manager may hold for a moment, while a value moves: none is added."""
        return int(self.each * BRIM / HEADROOM)

    @property
    def whole(self) -> int:
        """Bytes that all managers may hold."""
        return self.each * len(self.taken)

    def refusal(self, store: StoreIndex, key: str, nbytes: int, block: int, shard: int) -> str:
        """Why a value cannot be taken, with the arithmetic; nothing if it can.

        While a value replaces another the dictionary holds both.
        """
        old = store.records.get(key)
        after = store.held + block - (old.block if old else 0)
        asked = f"no room for {in_bytes(nbytes)}, which take a block of {in_bytes(block)}"
        if store.capacity is not None and after > store.capacity:
            return (
                f"{asked}: {in_bytes(store.held)} of the store's {in_bytes(store.capacity)} are "
                f"taken by {len(store.records)} values. Delete some, or raise ?capacity="
            )
        if self.taken[shard] + block > self.each:
            return (
                f"{asked}: {in_bytes(self.taken[shard])} of the {in_bytes(self.each)} of manager "
                f"{shard} are taken, by this and other stores. Delete values, or start the server "
                f"with more ?memory="
            )
        return ""
