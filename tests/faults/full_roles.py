"""What children do on a file system that is filled to the last byte."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import numpy as np

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store


def mount_small(channel: Channel, folder: str, size: str) -> None:
    """Mount a small file system in memory, in the mount namespace of the child server."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder], check=True
    )


def fill_again_and_again(channel: Channel, url: str, folder: str, trials: int, seed: int) -> None:
    """Fill the file system to the last byte, put more, and make room, many times."""
    chance = random.Random(seed)
    with dv.open_store(url) as store:
        held: dict[str, int] = {}
        for trial in range(trials):
            stuff(Path(folder) / "stuffing", leave=chance.randrange(200_000))
            refused = 0
            for number in range(400):
                key = f"k{chance.randrange(40)}" if number < 100 else f"more{number}"
                count = chance.choice([0, 100, 600, 5_000, 20_000])
                try:
                    if number % 3 == 0:
                        room = {"payload": ((count,), "i8"), "seal": ((3,), "i8")}
                        with store.reserve(key, room) as value:
                            for name, array in sealed(trial, count).items():
                                value[name][...] = array
                    else:
                        store.put(key, sealed(trial, count))
                    held[key] = trial
                except dv.StoreFullError as error:
                    refused += 1
                    check_message(error)
                    check(store, held)
                if refused == 3:
                    break
            assert refused == 3, "the file system never was full"
            if trial < 100:  # lists only grow: more would fill the file system in the end
                try:
                    store.append("list", "x" * 1000)
                except dv.StoreFullError:
                    pass
            (Path(folder) / "stuffing").unlink()
            for key in list(held)[: chance.randint(0, len(held))]:
                store.delete(key)
                del held[key]
            store.put("again", sealed(trial, 10_000))
            held["again"] = trial
            check(store, held)
            channel.send(trial)


def check(store: Store, held: dict[str, int]) -> None:
    """The store holds what it should, and each value is sound."""
    assert store.keys() == sorted(held)
    for key, number in held.items():
        assert unsealed(store.get(key)) == number


def check_message(error: dv.StoreFullError) -> None:
    """How much is free, and who holds the rest."""
    text = str(error)
    assert "free" in text, text
    assert re.search(r"held by .*\([0-9.]+ [kKMGiB]+\)", text), text


def stuff(file: Path, leave: int) -> None:
    """Fill the file system with a file, to the last byte but `leave`."""
    with file.open("wb", buffering=0) as stuffing:
        try:
            while True:
                stuffing.write(b"\xff" * 4096)
        except OSError:
            pass
        size = stuffing.tell()
        os.ftruncate(stuffing.fileno(), max(0, size - leave))


def open_on_a_full_file_system(channel: Channel, url: str, folder: str) -> None:
    """Open a store where not a single byte is left; then where a little is."""
    stuff(Path(folder) / "stuffing", leave=0)
    for _ in range(3):
        try:
            with dv.open_store(url) as store:
                store.keys()
                store.put("a", np.zeros(1000))
            raise AssertionError("there was room")
        except dv.StoreFullError:
            pass
    (Path(folder) / "stuffing").unlink()
    with dv.open_store(url) as store:
        store.put("a", np.zeros(1000))
        stuff(Path(folder) / "stuffing", leave=0)
        with dv.open_store(url) as second:
            assert second.get_array("a").shape == (1000,)
            assert second.keys() == ["a"]
            second.delete("a")
    channel.send("sound")


def name_the_holder(channel: Channel, folder: str) -> None:
    """The error of a full /dev/shm names the store that holds it."""
    with (
        dv.open_store("shm://glutton?capacity=1GiB") as glutton,
        dv.open_store("shm://hungry?capacity=1GiB") as hungry,
    ):
        number = 0
        try:
            while True:
                glutton.put(f"k{number}", np.zeros(100_000, "u1"))
                number += 1
        except dv.StoreFullError:
            pass
        try:
            hungry.put("a", np.zeros(400_000, "u1"))
            raise AssertionError("there was room")
        except dv.StoreFullError as error:
            channel.send(str(error))
        for key in glutton.keys():
            assert glutton.get_array(key).shape == (100_000,)
        glutton.destroy()
        hungry.put("a", np.zeros(400_000, "u1"))
    channel.send("sound")


def fill_a_stream(channel: Channel, url: str, folder: str) -> None:
    """Write steps on a full file system: refused, and the stream goes on."""
    with (
        dv.open_stream(url, "w", policy=dv.buffered(4), timeout=0.3) as out,
        dv.open_stream(url, "r") as reader,
    ):
        stuff(Path(folder) / "stuffing", leave=50_000)
        refused = 0
        expected = []
        for number in range(20):
            count = 100 if number % 2 else 100_000
            try:
                with out.step(attrs={"number": number}) as step:
                    for name, array in sealed(number, count).items():
                        step[name] = array
                expected.append(number)
            except dv.StoreFullError:
                refused += 1
                continue
            assert unsealed(next(reader)) == number
        assert refused >= 8, refused
        (Path(folder) / "stuffing").unlink()
        with out.step(attrs={"number": 99}) as step:
            for name, array in sealed(99, 20_000).items():
                step[name] = array
        assert unsealed(next(reader)) == 99
    channel.send("sound")
