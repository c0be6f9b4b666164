"""A fork in the middle of everything: what parent and child do afterwards.

Each role runs in a process of its own, forks there, and answers once both have checked.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from faults.clearing import clear

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.values import sealed, unsealed


def forked(work: Callable[[], None]) -> None:
    """Fork, do `work` in the child and end it there as a process ends; fail if it failed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the forked child ended with status {status}"


def store_in_use(channel: Channel, url: str, trials: int) -> None:
    """Fork with an open store, values in hand, and much recycled."""
    with dv.open_store(url) as store:
        number = 0
        for trial in range(trials):
            for _ in range(3):
                number += 1
                store.put("a", sealed(number, 4000))
            inhand, current = store.get("a"), number

            def child() -> None:
                assert unsealed(inhand) == current  # noqa: B023
                assert unsealed(store.get("a")) == current  # noqa: B023
                for more in range(3):
                    store.put("child", sealed(more, 4000))
                    store.put("a", sealed(-current, 4000))  # noqa: B023
                assert unsealed(store.get("child")) == 2
                assert unsealed(inhand) == current  # noqa: B023
                store.append("list", f"child{trial}")  # noqa: B023

            forked(child)
            assert unsealed(inhand) == current
            assert unsealed(store.get("child")) == 2
            assert unsealed(store.get("a")) == -current
            for _ in range(3):
                number += 1
                store.put("a", sealed(number, 4000))
                assert unsealed(store.get("a")) == number
            assert unsealed(inhand) == current
            store.append("list", f"parent{trial}")
            assert len(store.items("list")) == 2 * (trial + 1)
            channel.send(trial)


def reservation_open(channel: Channel, url: str, trials: int) -> None:
    """Fork between reserve and publication: it is the parent's to publish."""
    room = {"payload": ((4000,), "i8"), "seal": ((3,), "i8")}
    with dv.open_store(url) as store:
        for trial in range(trials):
            with store.reserve("a", room) as value:
                payload = value["payload"]
                payload[:2000] = trial

                def child() -> None:
                    store.put("child", sealed(trial, 4000))  # noqa: B023

                forked(child)
                payload[2000:] = trial
                value["seal"][:] = sealed(trial, 4000)["seal"]
                del payload
            assert unsealed(store.get("a")) == trial
            assert unsealed(store.get("child")) == trial
            channel.send(trial)


def reservation_published_by_the_child(channel: Channel, url: str) -> None:
    """A forked child cannot publish its parent's reservation, nor drop it."""
    with dv.open_store(url) as store:
        reservation = store.reserve("a", {"value": ((4000,), "f8")})
        with reservation as value:
            value["value"][:] = 1

            def child() -> None:
                try:
                    reservation.__exit__(None, None, None)
                except dv.DovetailError:
                    return
                raise AssertionError("the child published")

            forked(child)
            assert not store.exists("a")
            value["value"][:] = 2
        assert (store.get_array("a") == 2).all()
    channel.send("sound")


def child_closes_everything(channel: Channel, url: str, trials: int) -> None:
    """A child that closes, drops and forgets its copies takes nothing from its parent."""
    with dv.open_store(url) as store:
        for trial in range(trials):
            store.put("a", sealed(trial, 4000))
            inhand = [store.get("a")]

            def child() -> None:
                inhand.clear()  # noqa: B023
                store.close()

            forked(child)
            with dv.open_store(url) as other:
                for number in range(5):
                    other.put("a", sealed(-number, 4000))
            assert unsealed(inhand[0]) == trial
            store.put("b", sealed(trial, 4000))
            assert unsealed(store.get("b")) == trial
            channel.send(trial)


def threads_at_work(channel: Channel, url: str, trials: int) -> None:
    """Fork while threads put and get: the child can use the store at once."""
    stop = threading.Event()
    failures: list[str] = []
    with dv.open_store(url) as store:
        store.put("shared", sealed(0, 2000))

        def work(me: int) -> None:
            try:
                number = 0
                while not stop.is_set():
                    number += 1
                    store.put("shared", sealed(me * 10**6 + number, 2000))
                    unsealed(store.get("shared"))
            except BaseException:
                failures.append(traceback.format_exc())

        threads = [threading.Thread(target=work, args=(me,)) for me in range(3)]
        for thread in threads:
            thread.start()
        for trial in range(trials):

            def child() -> None:
                for number in range(3):
                    store.put("child", sealed(number, 2000))
                    unsealed(store.get("shared"))
                assert unsealed(store.get("child")) == 2

            forked(child)
            channel.send(trial)
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[0]


def stream_in_use(channel: Channel, url: str, trials: int) -> None:
    """Fork with both ends of a stream open: the child's end is nobody's end."""
    with (
        dv.open_stream(url, "w", policy=dv.buffered(2), timeout=30) as out,
        dv.open_stream(url, "r", timeout=30) as reader,
    ):
        held = []
        for trial in range(trials):
            with out.step(attrs={"number": trial}) as step:
                for name, array in sealed(trial, 4000).items():
                    step[name] = array
                forked(lambda: None)
            step_in_hand = next(reader)
            held = [*held[-2:], (trial, step_in_hand)]

            def child() -> None:
                for number, step in held:  # noqa: B023
                    assert unsealed(step) == number
                for end in (out, reader):
                    try:
                        end.close()
                    except dv.DovetailError:
                        continue

            forked(child)
            for number, step in held:
                assert unsealed(step) == number
            description = dv.describe_stream(url)
            assert description.state == "open"
            assert [group.state for group in description.groups] == ["live"]
            channel.send(trial)
    try:
        assert dv.describe_stream(url).state == "ended"
    except dv.KeyNotFoundError:  # it ended and was read
        pass


def orphan_keeps_nothing_alive(channel: Channel, url: str, trials: int) -> None:
    """A writer that is gone is lost, though a child that it forked lives on."""
    for trial in range(trials):
        ready, told = os.pipe()
        gone, left = os.pipe()
        pid = os.fork()
        if pid == 0:
            out = dv.open_stream(url, "w", policy=dv.buffered(2))
            with out.step(attrs={"number": trial}) as step:
                for name, array in sealed(trial, 100).items():
                    step[name] = array
            if os.fork() == 0:
                os.close(left)
                os.read(gone, 1)  # lives until the test is over
                os._exit(0)
            os.write(told, b"x")
            os._exit(0)
        os.read(ready, 1)
        os.waitpid(pid, 0)
        with dv.open_stream(url, "r", timeout=20) as reader:
            assert unsealed(next(reader)) == trial
            try:
                next(reader)
                raise AssertionError("a step of a dead writer")
            except dv.PeerLostError:
                pass
        for end in (ready, told, gone, left):
            os.close(end)
        clear(url)
        channel.send(trial)


def lifelines_of_the_parent(channel: Channel, url: str) -> None:
    """The end of a child removes none of its parent's files."""
    with dv.open_store(url) as store:
        store.put("a", np.zeros(4000))
        assert store.path is not None
        before = sorted(str(item) for item in Path(store.path).rglob("*"))
        forked(lambda: None)
        forked(store.close)
        assert sorted(str(item) for item in Path(store.path).rglob("*")) == before
    channel.send("sound")
