"""Any model of a file as one handle: what kind of file it is decides what runs it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from dovetail import _native
from dovetail.errors import CorruptDataError, EngineUnavailableError, InvalidURLError
from dovetail.model.compiled import CompiledModel
from dovetail.model.compiling import compiled_folder
from dovetail.model.foreign import OnnxModel, TorchScriptModel
from dovetail.model.installed import device_here

LoadedModel = CompiledModel | TorchScriptModel | OnnxModel


def load_model(
    path: str | os.PathLike[str],
    *,
    device: str = "auto",
    threads: int | Literal["auto"] = "auto",
    timeout: float = 600.0,
) -> LoadedModel:
    """Load a model to be called in this process, from a time loop.

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
        Seconds that compiling may take, and that it is waited for if another process does it.

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

    Notes
    -----
    The first load of an exported model on a machine compiles it, which takes half a minute; then
    it is found in ``$DOVETAIL_CACHE``, by default ``~/.cache/dovetail``. Of the ranks that start
    together one compiles and the others wait. With one thread results are the same, bit for bit,
    at each call and in each language; with more, sums may be taken in another order.
    """
    place = _path_of(path)
    most = _native.available_threads() if threads == "auto" else threads
    if most < 1:
        raise ValueError(f"threads={threads}: a model needs at least 1")
    if not place.exists():
        raise FileNotFoundError(f"there is no model {place}: export it with dovetail.export_model")
    kind = _kind_of(place)
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
    if device != "auto" and model.device != device.partition(":")[0]:
        raise EngineUnavailableError(
            f"the model in {folder} was compiled for {model.device}, not for {device}: compile the "
            f"exported model for it, or load this one with device={model.device!r}"
        )
    return model


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


def _kind_of(place: Path) -> str:
    if place.is_dir():
        return "compiled"
    if place.suffix == ".onnx":
        return "onnx"
    try:
        with zipfile.ZipFile(place) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CorruptDataError(
            f"{place} is no model, or only part of one: {error}. Write it with "
            f"dovetail.export_model"
        ) from error
    is_script = any(name.partition("/")[2].startswith("code/") for name in names)
    return "torchscript" if is_script else "exported"
