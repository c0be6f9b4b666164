"""The ways to call a model, each as an operation that is timed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail import native
from dovetail.bench.measure import Operation
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
def from_c(program: Path, way: str, folder: Path, shape: tuple[int, ...]) -> Iterator[Operation]:
    """The program at work: ``bare`` or ``ours``."""
    extents = [str(extent) for extent in (shape[0], len(shape) - 1, *shape[1:])]
    torch = str(Path(torch_folder()) / "lib" / "libtorch_cpu.so")
    process = subprocess.Popen(
        [str(program), way, str(folder), torch, *extents],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=os.environ | {"DOVETAIL_LIBTORCH": torch},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, answered = process.stdin, process.stdout

    def run(count: int) -> float:
        asked.write(f"{count}\n")
        return float(answered.readline())

    try:
        yield run
    finally:
        asked.close()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()
            answered.close()
