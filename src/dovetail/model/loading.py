"""Any model of a file as one handle: what kind of file it is decides what runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from dovetail import _native
from dovetail.errors import CapabilityError, EngineUnavailableError, InvalidURLError
from dovetail.model.compiled import CompiledModel
from dovetail.model.compiling import compiled_folder
from dovetail.model.foreign import OnnxModel, TorchScriptModel
from dovetail.model.installed import device_here
from dovetail.model.kinds import kind_of
from dovetail.model.shared import SharedModel

LoadedModel = CompiledModel | TorchScriptModel | OnnxModel


def load_model(
    path: str | os.PathLike[str],
    *,
    device: str = "auto",
    threads: int | Literal["auto"] = "auto",
    timeout: float = 600.0,
    shared: bool = False,
    gather: float | None = 2e-4,
    fallback: Literal["in_process"] | None = None,
) -> LoadedModel:
    """Load a model to be called from a time loop.

    Parameters
    ----------
    path
        Of a file that :func:`~dovetail.export_model` wrote, of a folder that ``dovetail model
        compile`` made, of a TorchScript file (legacy), or of an ONNX file; or a ``file://`` URL.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``xpu``; or ``auto``: a GPU where torch can use one.
    threads
        The most that a call may use. ``auto``: this process's share of the processors, beside the
        other ranks of the node. What is fastest for a size of input is measured at its first call,
        which therefore takes some more calls' time, and kept beside the compiled model.
    timeout
        Seconds that compiling may take, and that it is waited for if another process does it. Of a
        shared model also those that its server may take to start, and for each answer.
    shared
        Whether one process computes the model for all ranks of this node that load it so; else
        each computes it itself. Whichever rank comes first starts it, and it ends with the last.
        With several GPUs there is one process for each, and ranks that are neighbours share it.
    gather
        Of a shared model: seconds that a call may wait for those of other ranks, to be computed
        in one with them. It never waits for ranks that did not call last time. 0 takes what is
        there at once; ``None`` computes each call by itself. All ranks say the same.
    fallback
        Of a shared model: what happens when its process is gone. ``None``: calls raise
        :class:`PeerLostError`. ``"in_process"``: this rank computes the model itself from then on,
        which is said once by a :class:`RuntimeWarning`.

    Returns
    -------
    LoadedModel
        To be called with arrays: ``model(x)``, or ``model.run(x, out=y)``.

    Raises
    ------
    FileNotFoundError
    CorruptDataError
        If the file is no sound model.
    FormatVersionError
        If it was compiled with a newer torch than is here.
    EngineUnavailableError
        If torch, a compiler, ONNX Runtime or the device is missing here.
    ModelFailedError
        If it cannot be compiled; the message ends with the compiler's last lines.
    TransportTimeoutError
    CapabilityError
        If what is to be shared is no exported model.

    Notes
    -----
    The first load of an exported model on a machine compiles it, which takes half a minute; then
    it is found in ``$DOVETAIL_CACHE``, by default ``~/.cache/dovetail``. Of the ranks that start
    together one compiles and the others wait. With one thread results are the same, bit for bit,
    at each call and in each language; with more, sums may be taken in another order. A shared model
    gives these bits for a call that was computed by itself. Of calls computed in one, the last bits
    may differ: the batch is larger.
    """
    place = _path_of(path)
    most = _native.available_threads() if threads == "auto" else threads
    if most < 1:
        raise ValueError(f"threads={threads}: a model needs at least 1")
    if not place.exists():
        raise FileNotFoundError(f"there is no model {place}: export it with dovetail.export_model")
    kind = kind_of(place)
    if shared:
        return _shared(place, kind, device, threads, timeout, gather, fallback)
    if kind == "onnx":
        return OnnxModel(place, device=device, most_threads=most)
    if kind == "torchscript":
        return TorchScriptModel(place, device=device_here(device), most_threads=most)
    chosen = device_here(device) if place.is_file() else device
    folder = compiled_folder(
        place, device=chosen, threads="one" if most == 1 else "many", timeout=timeout
    )
    model = CompiledModel.load(
        folder, device_index=int(chosen.partition(":")[2] or 0), most_threads=most
    )
    _check_device(model, folder, device)
    return model


def _shared(
    place: Path,
    kind: str,
    device: str,
    threads: int | Literal["auto"],
    timeout: float,
    gather: float | None,
    fallback: Literal["in_process"] | None,
) -> SharedModel:
    if kind in ("onnx", "torchscript"):
        raise CapabilityError(
            f"{place} cannot be shared by the ranks of a node: only what dovetail.export_model "
            f"wrote can; load it without shared=True"
        )
    if gather is not None and not 0 <= gather <= 60:
        raise ValueError(f"gather={gather}: say 0 to 60 seconds, or None")
    if fallback not in (None, "in_process"):
        raise ValueError(f"fallback={fallback!r}: say None or 'in_process'")
    chosen = device_here(device) if place.is_file() else device
    most = _native.threads_of_all_ranks() if threads == "auto" else threads
    folder = compiled_folder(
        place, device=chosen, threads="one" if most == 1 else "many", timeout=timeout
    )
    model = SharedModel.join(
        folder,
        device_index=_shared_index(chosen),
        threads=0 if threads == "auto" else threads,
        gather=gather,
        fallback=fallback,
        timeout=timeout,
    )
    _check_device(model, folder, device)
    return model


def _shared_index(device: str) -> int:
    """Of the device that this rank shares with its neighbours."""
    kind, _, index = device.partition(":")
    if index:
        return int(index)
    if kind in ("cpu", "auto"):
        return 0
    return _native.device_of_rank(_native.devices_here(kind))


def _check_device(model: CompiledModel, folder: Path, device: str) -> None:
    if device != "auto" and model.device != device.partition(":")[0]:
        raise EngineUnavailableError(
            f"the model in {folder} was compiled for {model.device}, not for {device}: compile the "
            f"exported model for it, or load this one with device={model.device!r}"
        )


def _path_of(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme != "file" or parts.netloc:
        raise InvalidURLError(
            f"a model is loaded from a file, not from {text!r}: give a path, or file:///path"
        )
    return Path(unquote(parts.path))
