"""``dovetail stream``, on real streams."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dovetail as dv


def test_info_says_who_takes_part_and_how_far_they_are(dovetail: Any, shm_url: str) -> None:
    with (
        dv.open_stream(shm_url, "w", policy=dv.buffered(3)) as out,
        dv.open_stream(shm_url, "r") as steps,
    ):
        for number in range(3):
            with out.step() as step:
                step.put("u", np.full(100, number))
        assert steps.next_step() is not None
        assert steps.next_step() is not None  # which ends the first

        info = dovetail.json("stream", "info", shm_url)
        assert info["url"].startswith(shm_url)
        assert (info["policy"], info["state"], info["epoch"]) == ("buffered(3)", "open", 1)
        assert (info["ranks"], info["steps_complete"]) == (1, 3)
        assert info["steps_held"] == 2
        assert 0 < info["bytes_held"] <= info["capacity"]
        (group,) = info["groups"]
        assert (group["ranks"], group["state"], group["steps_ended"]) == (1, "live", 1)

        text = dovetail.output("stream", "info", shm_url)
        assert "1 rank, buffered(3)" in text
        assert "3 complete, 2 held" in text


@pytest.mark.requires("adios2")
def test_info_says_what_was_found_to_move_a_stream(dovetail: Any, tmp_path: Path) -> None:
    url = f"sst://info?contact={tmp_path}&recipe=async"
    with dv.open_stream(url, "w"):
        assert "moved   by plain ADIOS2 SST over TCP" in dovetail.output("stream", "info", url)
        assert "evpath" in dovetail.json("stream", "info", url)["transport"]


def test_a_stream_that_is_not_there_is_one_sentence(dovetail: Any, shm_url: str) -> None:
    for verb in (["info"], ["rm"], ["tail", "--timeout", "0.1"]):
        text = dovetail.error("stream", *verb, shm_url)
        assert shm_url in text
        assert text.count("\n") == 1


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_tail_follows_without_taking_part(dovetail: Any, shm_url: str, as_json: bool) -> None:
    with dv.open_stream(shm_url, "w", policy=dv.latest()) as out:
        enough = threading.Event()

        def write() -> None:
            number = 0
            while not enough.wait(0.01):
                with out.step(attrs={"time": number / 2}) as step:
                    step["u"] = np.full((2, 3), number, np.float32)
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            flags = ["--json"] if as_json else []
            lines = dovetail.output("stream", "tail", shm_url, "--steps", "3", *flags).splitlines()
        finally:
            enough.set()
            writer.join()
        assert len(lines) == 3
        if not as_json:
            assert "u: float32[2, 3]" in lines[0]
            assert '"time": ' in lines[0]
            return
        steps = [json.loads(line) for line in lines]
        assert [step["attrs"] for step in steps] == [{"time": step["index"] / 2} for step in steps]
        assert [step["index"] for step in steps] == sorted({step["index"] for step in steps})
        assert steps[0]["variables"] == [
            {"name": "u", "dtype": "float32", "shape": [2, 3], "nbytes": 24}
        ]
        assert dv.describe_stream(shm_url).groups == ()


def test_tail_gives_up_after_its_timeout(dovetail: Any, shm_url: str) -> None:
    with dv.open_stream(shm_url, "w"):
        assert "0.2" in dovetail.error("stream", "tail", shm_url, "--timeout", "0.2")


def test_tail_ends_with_the_stream(dovetail: Any, shm_url: str) -> None:
    with dv.open_stream(shm_url, "w", policy=dv.latest()) as out:
        with out.step() as step:
            step["u"] = np.zeros(1)
        with subprocess.Popen(
            [*dovetail.command, "stream", "tail", shm_url, "--json"], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["index"] == 0
            out.close()
            assert process.wait(timeout=30) == 0
            assert process.stdout.read() == b""


def test_rm_removes_a_stream(dovetail: Any, shm_url: str) -> None:
    with dv.open_stream(shm_url, "w", policy=dv.buffered(2)) as out:
        with out.step() as step:
            step["u"] = np.zeros(1)
    assert dovetail.json("stream", "info", shm_url)["state"] == "ended"
    assert dovetail.json("stream", "rm", shm_url) == {"url": shm_url}
    with pytest.raises(dv.KeyNotFoundError):
        dv.describe_stream(shm_url)
