"""The ways to call a model, each as an operation that is timed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dovetail import native
from dovetail.bench.measure import Operation
from dovetail.bench.peers.redis import redis_client
from dovetail.errors import EngineUnavailableError
from dovetail.model.installed import torch_folder


def timed(call: Callable[[], Any]) -> Operation:
    """The operation that calls so many times in this process."""

    def run(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            call()
        return time.perf_counter() - begun

    return run


def eager(module: Any, inputs: NDArray[Any]) -> Operation:
    """PyTorch as it is, in inference mode."""
    import torch

    tensor = torch.from_numpy(inputs)

    def run(count: int) -> float:
        with torch.inference_mode():
            return timed(lambda: module(tensor))(count)

    return run


def script(module: Any, inputs: NDArray[Any]) -> Operation:
    """TorchScript, traced and frozen, called from Python."""
    import torch

    tensor = torch.from_numpy(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        frozen = torch.jit.freeze(torch.jit.trace(module, tensor))

    def run(count: int) -> float:
        with torch.inference_mode():
            return timed(lambda: frozen(tensor))(count)

    return run


def python(model: Any, inputs: NDArray[Any]) -> Operation:
    """Ours from Python, into an array of the caller's."""
    out = np.empty_like(model(inputs))
    return timed(lambda: model.run(inputs, out=out))


def built(folder: Path) -> Path:
    """The program in C that calls a model, built now.

    Raises
    ------
    EngineUnavailableError
        If there is no C compiler.
    """
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise EngineUnavailableError("there is no C compiler to measure calls from C: install gcc")
    program = folder / "caller"
    subprocess.run(
        [compiler, "-O2", f"-I{native.include_directory()}",
         Path(__file__).with_name("caller.c"), "-o", program,
         f"-L{native.library_directory()}", f"-Wl,-rpath,{native.library_directory()}",
         "-ldovetail", "-ldl"],
        check=True, timeout=100,
    )  # fmt: skip
    return program


@contextmanager
def through_redis(module: Any, inputs: NDArray[Any]) -> Iterator[Operation]:
    """The least that a model beside a database costs: inputs there, eager PyTorch, outputs back.

    The outputs that are fetched were put there before.
    """
    import torch

    tensor = torch.from_numpy(inputs)
    with redis_client() as client, torch.inference_mode():
        client.set("outputs", module(tensor).numpy().tobytes())

        def call() -> None:
            client.set("inputs", inputs.data.cast("B"))
            module(tensor)
            client.get("outputs")

        def run(count: int) -> float:
            with torch.inference_mode():
                return timed(call)(count)

        yield run


class Caller:
    """The program at work: ``bare``, ``ours`` or ``shared``."""

    def __init__(self, program: Path, way: str, folder: Path, shape: tuple[int, ...]) -> None:
        extents = [str(extent) for extent in (shape[0], len(shape) - 1, *shape[1:])]
        torch = str(Path(torch_folder()) / "lib" / "libtorch_cpu.so")
        self._process = subprocess.Popen(
            [str(program), way, str(folder), torch, *extents],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {"DOVETAIL_LIBTORCH": torch, "DOVETAIL_PYTHON": sys.executable},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked, self._answered = self._process.stdin, self._process.stdout

    def begin(self, count: int) -> None:
        """Call the model so many times."""
        self._asked.write(f"{count}\n")

    def seconds(self) -> float:
        """That it took."""
        return float(self._answered.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._answered.close()


def at_once(callers: Sequence[Caller]) -> Operation:
    """Every one of them calls so many times, all at the same time; the slowest counts."""

    def run(count: int) -> float:
        for caller in callers:
            caller.begin(count)
        return max([caller.seconds() for caller in callers])

    return run
