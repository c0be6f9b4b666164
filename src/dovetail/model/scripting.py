"""A TorchScript file as a folder that the native core calls as it calls compiled models.

The code in it is a plug-in of ours, built here with the user's compiler against the user's torch;
the file itself lies beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any, Final

from dovetail import native
from dovetail.errors import CorruptDataError, ModelFailedError, UnsupportedDataError
from dovetail.model.specification import CODE, DESCRIPTION, FORMAT

SCRIPT: Final = "model.pt"
_SINCE_CPP20: Final = (2, 13)
"""The torch whose headers take C++20."""


def plugin_source() -> Path:
    """What is built."""
    return native.home() / "torchscript" / "plugin.cpp"


def plugin_hash() -> str:
    """Tells one version of the plug-in from another."""
    return hashlib.sha256(plugin_source().read_bytes()).hexdigest()[:32]


def build_script(source: Path, folder: Path, device: str) -> None:
    """Fill `folder` with a TorchScript file, the plug-in, and what there is to say of them.

    The plug-in is the same for all files: it is built once, and kept beside `folder`.

    Raises
    ------
    CorruptDataError
        If the file cannot be read.
    UnsupportedDataError
        If it takes or gives what is no tensor.
    ModelFailedError
        If the plug-in cannot be built; the message ends with the compiler's last lines.
    """
    import torch

    inputs, outputs = _signature(torch, source)
    shutil.copyfile(source, folder / SCRIPT)
    plugin = folder.parent / f"torchscript-{torch.__version__}-{plugin_hash()}.so"
    if not plugin.exists():
        _build(torch, folder / CODE)
        (folder / CODE).rename(plugin)
    shutil.copyfile(plugin, folder / CODE)
    description = {
        "format": FORMAT,
        "script": True,
        "torch": str(torch.__version__),
        "device": device.partition(":")[0],
        "threads": "many",
        "processor": "",
        "code_bytes": (folder / CODE).stat().st_size,
        "extents": {},
        "inputs": [_untold(name) for name in inputs],
        "outputs": [_untold(f"output{place}") for place in range(outputs)],
        "weights": [],
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1))


def _untold(name: str) -> dict[str, Any]:
    return {"name": name, "dtype": None, "shape": None}


def _signature(torch: Any, source: Path) -> tuple[list[str], int]:
    """The names of the inputs, and how many outputs there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        try:
            schema = torch.jit.load(str(source), map_location="cpu").forward.schema
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise CorruptDataError(f"{source} cannot be read as TorchScript: {reason}") from error
    arguments = schema.arguments[1:]  # the first is the module
    answer = schema.returns[0].type
    answers = answer.elements() if answer.kind() == "TupleType" else [answer]
    if any(one.kind() != "TensorType" for one in [*(one.type for one in arguments), *answers]):
        raise UnsupportedDataError(
            f"{source} takes or gives what is no tensor ({schema}): wrap the module in one that "
            f"takes and gives tensors, and export that"
        )
    return [one.name for one in arguments], len(answers)


def _build(torch: Any, target: Path) -> None:
    home = Path(torch.__file__).parent
    number = tuple(int(part) for part in torch.__version__.split(".")[:2])
    headers = (home / "include", home / "include" / "torch" / "csrc" / "api" / "include")
    found = [name for name in ("g++", "clang++") if shutil.which(name)]
    command = [
        *os.environ.get("CXX", found[0] if found else "c++").split(),
        f"-std=c++{20 if number >= _SINCE_CPP20 else 17}", "-O1", "-shared", "-fPIC",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        *(part for folder in headers for part in ("-isystem", str(folder))),
        "-o", str(target), str(plugin_source()),
        f"-L{home / 'lib'}", f"-Wl,-rpath,{home / 'lib'}", "-ltorch_cpu", "-lc10",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise ModelFailedError(
            f"the plug-in for TorchScript cannot be built with {command[0]} against torch "
            f"{torch.__version__}: {last}"
        )
