"""Run the whole example: two simulations, a trainer, and what came of them.

    python examples/closure/run.py [--minutes M] [--output DIR] [--url shm://NAME] [--quick]

Three programs, two streams::

    dns.py --seed 1 ──training──────┐
                                    ├── train.py ── training.json, fields.npz, closure.pt
    dns.py --seed 2 ──held-out──────┘

The second simulation is short and ends before the training begins, so two cores are enough. If
one of the programs fails, the others are stopped, its last lines are shown, and the exit status
is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figure
import summary

import dovetail as dv

HERE = Path(__file__).resolve().parent

FULL = {"--points": 256, "--spin-up": 36}
QUICK = {"--points": 128, "--spin-up": 18, "--viscosity": 1.2e-3, "--time-step": 0.012}
"""The two sizes of the simulations: the small one resolves four times the viscosity."""


class PartFailedError(RuntimeError):
    """One of the programs ended with an error."""


@dataclass
class Part:
    """One program of the run."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    shown: int = 0

    def news(self) -> list[str]:
        """The whole lines that it printed since the last call."""
        text = self.log.read_bytes()[self.shown :]
        text = text[: text.rfind(b"\n") + 1]
        self.shown += len(text)
        return text.decode(errors="replace").splitlines()

    def last_lines(self, count: int = 15) -> str:
        """The end of what it printed."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines)


def main() -> int:
    """Read the command line and run. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Learn a subgrid closure from a running DNS.")
    parser.add_argument("--minutes", type=float, default=1.9, help="of training (1.9)")
    parser.add_argument("--output", type=Path, help="folder for the results (runs/closure-TIME)")
    parser.add_argument("--url", help="where the streams are (shm://closure-PID)")
    parser.add_argument("--quick", action="store_true", help="a small flow, 20 s in all")
    arguments = parser.parse_args()
    output = arguments.output or Path("runs") / time.strftime("closure-%Y%m%d-%H%M%S")
    url = arguments.url or f"shm://closure-{os.getpid()}"

    begun = time.perf_counter()
    try:
        with interruptions() as interrupted, streams(url) as (training_url, held_out_url):
            output.mkdir(parents=True, exist_ok=True)
            print(f"results go to {output}; the flows spin up first", flush=True)
            commands = (
                quick_commands(training_url, held_out_url, output)
                if arguments.quick
                else full_commands(training_url, held_out_url, output, 60 * arguments.minutes)
            )
            run(commands, output, interrupted)
        picture = figure.draw(output)
    except PartFailedError as error:
        print(error, file=sys.stderr)
        return 1
    except dv.DovetailError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: all programs are stopped", file=sys.stderr)
        return 130
    print(summary.text(summary.Results.read(output)))
    print(f"\n{time.perf_counter() - begun:.0f} s in all. Picture: {picture}")
    return 0


def full_commands(
    training_url: str, held_out_url: str, output: Path, seconds: float
) -> dict[str, list[str]]:
    """The programs of the whole example, by name."""
    return {
        "dns": _dns(training_url, output / "dns.json", FULL, {"--seed": 1}),
        "held-out": [
            *_dns(held_out_url, output / "held-out.json", FULL, {"--seed": 2}),
            *_options({"--samples": 24, "--every": 40}),
            "--unfiltered",
        ],
        "trainer": _trainer(
            training_url, held_out_url, output, {"--points": 256, "--seconds": seconds}
        ),
    }


def quick_commands(training_url: str, held_out_url: str, output: Path) -> dict[str, list[str]]:
    """The same with a smaller flow and ten seconds of training."""
    size = {**QUICK, "--coarse-points": 32}
    return {
        "dns": _dns(training_url, output / "dns.json", size, {"--seed": 1}),
        "held-out": [
            *_dns(held_out_url, output / "held-out.json", size, {"--seed": 2}),
            *_options({"--samples": 12, "--every": 25}),
            "--unfiltered",
        ],
        "trainer": _trainer(
            training_url,
            held_out_url,
            output,
            {"--points": 128, "--seconds": 10, "--evaluations": 5},
        ),
    }


@contextlib.contextmanager
def interruptions() -> Iterator[list[int]]:
    """A list that grows by each Ctrl-C and termination signal, instead of an exception.

    An exception between starting a program and noting it down would leave it behind.
    """
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def streams(url: str) -> Iterator[tuple[str, str]]:
    """The URLs of the two streams, which are new, and of which nothing is left afterwards.

    Raises
    ------
    dv.StreamBusyError
        There is such a stream already.
    """
    location, mark, options = url.partition("?")
    urls = tuple(f"{location}-{name}{mark}{options}" for name in ("training", "held-out"))
    for each in urls:
        with contextlib.suppress(dv.KeyNotFoundError):
            raise dv.StreamBusyError(
                f"the stream {dv.describe_stream(each).url} exists already: choose another --url"
            )
    try:
        yield urls
    finally:
        for each in urls:
            with contextlib.suppress(dv.KeyNotFoundError):  # one that was read to its end is gone
                dv.destroy_stream(each)


def run(commands: dict[str, list[str]], output: Path, interrupted: list[int]) -> None:
    """Start the programs, show what they say, and wait for all of them.

    Raises
    ------
    PartFailedError
        One failed; the others have been stopped.
    KeyboardInterrupt
        `interrupted` is no longer empty; all have been stopped.
    """
    parts: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="closure-") as scratch:
        try:
            for name, command in commands.items():
                parts.append(start(name, command, output, scratch))
            while any(part.process.poll() is None for part in parts):
                for part in parts:
                    show(part)
                if interrupted:
                    raise KeyboardInterrupt
                time.sleep(0.1)
            for part in parts:
                show(part)
        finally:
            stop(parts)


def show(part: Part) -> None:
    """Print what a program has said since the last call, if it has not failed."""
    if part.process.poll():
        raise PartFailedError(
            f"{part.name} failed (exit status {part.process.returncode}). "
            f"The last lines of {part.log}:\n{part.last_lines()}"
        )
    for line in part.news():
        print(f"{part.name:>9} | {line}", flush=True)


def start(name: str, command: list[str], output: Path, scratch: str) -> Part:
    """Start one program on one core, its output in a file, what it caches in `scratch`.

    It gets a session of its own: Ctrl-C reaches this program alone, which then stops the others.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": scratch,
        "FLUIDSIM_PATH": scratch,
        "FLUIDDYN_PATH_WARNING": scratch,
    }
    log = output / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    return Part(name, log, process)


def stop(parts: list[Part], patience: float = 5.0) -> None:
    """End every program that still runs: by a signal first, by force after some seconds."""
    for part in parts:
        if part.process.poll() is None:
            part.process.terminate()
    deadline = time.monotonic() + patience
    for part in parts:
        try:
            part.process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            part.process.kill()
            part.process.wait()


def _dns(url: str, output: Path, size: dict[str, Any], more: dict[str, Any]) -> list[str]:
    return [str(HERE / "dns.py"), *_options({"--url": url, "--output": output, **size, **more})]


def _trainer(url: str, held_out_url: str, output: Path, more: dict[str, Any]) -> list[str]:
    options = {"--url": url, "--held-out-url": held_out_url, "--output": output, **more}
    return [str(HERE / "train.py"), *_options(options)]


def _options(options: dict[str, Any]) -> list[str]:
    return [str(word) for option in options.items() for word in option]


if __name__ == "__main__":
    sys.exit(main())
