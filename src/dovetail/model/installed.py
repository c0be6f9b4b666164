"""Which torch is installed here, and which devices it can use; imported only to ask for a GPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from typing import Any

from dovetail.errors import EngineUnavailableError


def torch_version() -> str:
    """The version of the torch that is installed; it is not imported.

    Raises
    ------
    EngineUnavailableError
    """
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineUnavailableError(
            "an exported model is compiled by torch, which is not installed: pip install torch, or "
            "load a folder that `dovetail model compile` made elsewhere"
        ) from error


def torch_folder() -> str:
    """Where the installed torch lies; empty if there is none."""
    found = importlib.util.find_spec("torch")
    return found.submodule_search_locations[0] if found and found.submodule_search_locations else ""


def device_here(device: str) -> str:
    """The device that is meant: of ``auto``, a GPU where torch can use one.

    Raises
    ------
    EngineUnavailableError
        If it is not here.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "xpu") or not (index == "" or index.isdecimal()):
        raise ValueError(f"device={device!r}: say auto, cpu, cuda, cuda:1 or xpu")
    if kind == "cpu":
        return "cpu"
    if kind == "auto" and not _may_have_gpu():
        return "cpu"
    import torch

    for candidate in ("cuda", "xpu") if kind == "auto" else (kind,):
        if _is_there(torch, candidate, int(index or 0)):
            return device if kind != "auto" else candidate
    if kind == "auto":
        return "cpu"
    raise EngineUnavailableError(
        f"there is no device {device} for torch {torch_version()} here: load the model with "
        f"device='cpu', or install a torch built for it"
    )


def _may_have_gpu() -> bool:
    """Whether it is worth to import torch, which takes seconds, to ask it."""
    if importlib.util.find_spec("torch") is None or torch_version().endswith("+cpu"):
        return False
    return any(map(os.path.exists, ("/dev/nvidiactl", "/dev/kfd", "/dev/dri")))


def _is_there(torch: Any, kind: str, index: int) -> bool:
    module = getattr(torch, kind, None)
    return module is not None and module.is_available() and index < module.device_count()
