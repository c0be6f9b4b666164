"""What kind of model a file is: that decides what runs it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from dovetail.errors import CorruptDataError

Kind = Literal["compiled", "exported", "torchscript", "onnx"]


def kind_of(place: Path) -> Kind:
    """The kind of a file, or of a folder that a compiled model lies in.

    Raises
    ------
    CorruptDataError
        If it is none, or only part of one.
    """
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
