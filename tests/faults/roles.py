"""What child processes do in fault tests, beyond the roles that ship with the contracts."""

from __future__ import annotations

import itertools
import random

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.store_roles import Ledger
from dovetail.testing.values import sealed, unsealed


def append_for_ever(channel: Channel, url: str, name: str, ledger: str, first: int) -> None:
    """Append numbers to one list until killed; note the last one that is in."""
    out = Ledger(ledger)
    with dv.open_store(url) as store:
        channel.send("ready")
        for number in itertools.count(first):
            store.append(name, str(number))
            out.number = number


def rename_for_ever(channel: Channel, url: str, first: int) -> None:
    """Move one value from name to name until killed."""
    with dv.open_store(url) as store:
        channel.send("ready")
        for number in itertools.count(first):
            store.rename(f"n{number}", f"n{number + 1}")


def churn(channel: Channel, url: str, keys: list[str], seed: int) -> None:
    """Do everything that a store offers, in random order, until killed."""
    chance = random.Random(seed)
    held = []
    with dv.open_store(url) as store:
        channel.send("ready")
        for number in itertools.count():
            key, other = chance.choice(keys), chance.choice(keys)
            count = chance.choice([0, 3, 500, 3000, 20_000])
            try:
                match chance.randrange(7):
                    case 0 | 1:
                        store.put(key, sealed(number, count))
                    case 2:
                        room = {"payload": ((count,), "i8"), "seal": ((3,), "i8")}
                        with store.reserve(key, room) as value:
                            for name, array in sealed(number, count).items():
                                value[name][...] = array
                            if number % 5 == 0:
                                raise ZeroDivisionError
                    case 3:
                        store.delete(key)
                    case 4:
                        store.rename(key, other)
                    case 5:
                        value = store.get(key)
                        held = [*held[-2:], (unsealed(value), value)]
                    case 6:
                        for expected, value in held:
                            assert unsealed(value) == expected
            except (dv.KeyNotFoundError, ZeroDivisionError):
                pass


def wait_for_ever(channel: Channel, url: str, key: str, ledger: str) -> None:
    """Wait for every new value of a key; note the last one that was seen."""
    seen = Ledger(ledger)
    version = None
    with dv.open_store(url) as store:
        channel.send("ready")
        while True:
            value = store.wait(key, 600, newer_than=version)
            version = value.version
            seen.number = unsealed(value)
