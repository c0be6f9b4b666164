"""An exported model compiled for the machine at hand, once, and kept.

The cache is ``$DOVETAIL_CACHE/models``, by default ``$XDG_CACHE_HOME/dovetail/models``: one folder
for each model, torch, device, processor and way to use threads. A folder appears whole or not at
all. Of several processes that want the same one, one compiles and the others wait.

A process of its own compiles, for programs in any language: torch's compiler changes much in the
process that it runs in. It runs :func:`main`, and its last line is JSON: ``{"folder": …}``, or
``{"error": …, "message": …}``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import dovetail.errors
from dovetail.errors import (
    CorruptDataError,
    DovetailError,
    EngineUnavailableError,
    ModelFailedError,
    TransportTimeoutError,
)
from dovetail.model.installed import device_here, torch_version
from dovetail.model.kinds import kind_of
from dovetail.model.scripting import build_script, plugin_hash
from dovetail.model.specification import CODE, DESCRIPTION, FORMAT, described

Threads = Literal["one", "many"]

_FEATURES: Final = re.compile(
    r"(sse|ssse|avx|amx|fma|bmi|f16c|sha_ni|vaes|gfni|vpclmul|pclmul|aes|adx|popcnt|movbe|abm"
    r"|asimd|sve|fphp|bf16|i8mm)"
)
_TIMEOUT: Final = 600.0
_PROGRAM: Final = "import sys; from dovetail.model.compiling import main; sys.exit(main())"
"""What the native core runs, too."""


def compiled_folder(
    path: str | os.PathLike[str], *, device: str, threads: Threads, timeout: float = _TIMEOUT
) -> Path:
    """The folder of a compiled model, compiled now if it is not there yet.

    Parameters
    ----------
    path
        Of an exported model, or of such a folder, which is given back.
    device
        ``cpu``, ``cuda`` or ``xpu``.
    threads
        ``one``: the code never uses a second one. ``many``: as many as each call is given.
    timeout
        Seconds to wait for the compiler, or for another process that compiles the same.

    Raises
    ------
    FileNotFoundError
    CorruptDataError
        If the file is no sound exported model.
    EngineUnavailableError
        If torch or a C++ compiler is missing.
    ModelFailedError
        If the compiler fails; the message ends with its last lines.
    TransportTimeoutError
    """
    source = Path(path)
    if source.is_dir():
        return source
    folder = cache_folder() / key_of(source, device, threads)
    if (folder / DESCRIPTION).exists():
        return folder
    return _compiled_by_a_child(source, device, threads, timeout)


def cache_folder() -> Path:
    """Where compiled models are kept; made if it is not there, for this user alone."""
    told = os.environ.get("DOVETAIL_CACHE")
    base = Path(told) if told else _user_cache() / "dovetail"
    folder = base / "models"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} belongs to another user, who could put code there: name a folder of your "
            f"own with DOVETAIL_CACHE"
        )
    return folder


def key_of(source: Path, device: str, threads: Threads) -> str:
    """What a compiled model is called: all that its code depends on, as a hash."""
    parts = [FORMAT, _hash_of(source), torch_version(), device, threads, processor(), _gpu(device)]
    kind = kind_of(source)
    if kind == "onnx":
        raise EngineUnavailableError(
            f"{source} is ONNX, which is run from Python alone, by dovetail.load_model: for C, C++ "
            f"and Fortran write the module with dovetail.export_model"
        )
    if kind == "torchscript":
        parts.append(plugin_hash())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def processor() -> str:
    """What this processor can do beyond what all of its family can, as the kernel names it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                words = line.partition(":")[2].split()
                return " ".join(sorted(word for word in words if _FEATURES.match(word)))
    return ""


def compile_here(source: Path, device: str, threads: Threads, timeout: float) -> Path:
    """Compile in this process, if no other has meanwhile. See :func:`compiled_folder`."""
    cache = cache_folder()
    key = key_of(source, device, threads)
    with _locked(cache / f"{key}.lock", source, timeout):
        if not (cache / key / DESCRIPTION).exists():
            for left in cache.glob(f".{key}.*"):  # by one that was killed
                shutil.rmtree(left, ignore_errors=True)
            made = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=cache))
            try:
                with _scratch_in(made):
                    _compile(source, made, device, threads)
                made.rename(cache / key)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return cache / key


@contextlib.contextmanager
def _scratch_in(folder: Path) -> Iterator[None]:
    """Nothing of the compiler's is left anywhere, or lies where other users could change it."""
    scratch = folder / "scratch"
    scratch.mkdir()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["TMPDIR"] = str(scratch)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    tempfile.tempdir = str(scratch)
    yield
    shutil.rmtree(scratch)


def _check_compiler() -> None:
    if "CXX" not in os.environ and not any(map(shutil.which, ("g++", "clang++"))):
        raise EngineUnavailableError(
            "a model is compiled by a C++ compiler, and there is none: install g++, or load a "
            "folder that `dovetail model compile` made on a machine like this one"
        )


def _user_cache() -> Path:
    told = os.environ.get("XDG_CACHE_HOME")
    return Path(told) if told else Path.home() / ".cache"


def _hash_of(source: Path) -> str:
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gpu(device: str) -> str:
    if device == "cpu":
        return ""
    import torch

    kind = device.partition(":")[0]
    return str(getattr(torch, kind).get_device_name(0))


@contextlib.contextmanager
def _locked(path: Path, source: Path, timeout: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TransportTimeoutError(
                        f"another process has been compiling {source} for {timeout} s: wait "
                        f"longer with timeout=, or compile it beforehand with: dovetail model "
                        f"compile {source}"
                    ) from None
                time.sleep(0.05)
        yield


def _compile(source: Path, folder: Path, device: str, threads: Threads) -> None:
    if kind_of(source) == "torchscript":
        build_script(source, folder, device)
        return
    import torch

    program = _exported(torch, source)
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    description = described(program)
    package = folder / "model.pt2"
    settings = {
        # A weight that the compiler writes into the code as numbers could never be replaced.
        "always_keep_tensor_constants": True,
        "aot_inductor.precompile_headers": False,
        "cpp.threads": 1 if threads == "one" else -1,
        "cpp.dynamic_threads": threads == "many",
    }
    try:
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(package), inductor_configs=settings
        )
    except Exception as error:
        raise ModelFailedError(f"{source} cannot be compiled: {_last_lines(str(error))}") from error
    _unpack(package, folder)
    package.unlink()
    code = (folder / CODE).read_bytes()
    if b"aoti_torch_proxy_executor_call_function" in code:
        raise ModelFailedError(
            f"{source} uses operators that torch {torch.__version__} cannot call without Python "
            f"or C++ ({', '.join(_foreign_operators(program)) or 'custom ones'}): write the module "
            f"without them"
        )
    description |= {
        "format": FORMAT,
        "torch": str(torch.__version__),
        "device": device.partition(":")[0],
        "threads": threads,
        "processor": processor(),
        "code_bytes": len(code),
        "source": _hash_of(source),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1))


def _exported(torch: Any, source: Path) -> Any:
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CorruptDataError(
            f"{source} is no exported model, or only part of one: {error}. Write it with "
            f"dovetail.export_model"
        ) from error
    if any("/data/aotinductor/" in name for name in names):
        raise CorruptDataError(
            f"{source} is a package that torch compiled, which does not say what it takes: load "
            f"the exported model it was made of, or a folder that `dovetail model compile` made"
        )
    if not any(
        re.search(r"(^|/)(models/.*\.json|serialized_exported_program\.json)$", name)
        for name in names
    ):
        raise CorruptDataError(
            f"{source} is no exported model, or only part of one: write it with "
            f"dovetail.export_model"
        )
    try:
        return torch.export.load(source)
    except Exception as error:
        raise CorruptDataError(f"{source} cannot be read as an exported model: {error}") from error


def _unpack(package: Path, folder: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        for entry in archive.infolist():
            _, inside, name = entry.filename.partition("/data/aotinductor/model/")
            if not inside or "/" in name or name.endswith((".cpp", ".json")):
                continue
            target = folder / (CODE if name.endswith(".so") else name)
            with archive.open(entry) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)


def _foreign_operators(program: Any) -> list[str]:
    return sorted(
        {
            str(node.target)
            for node in program.graph.nodes
            if node.op == "call_function" and not str(node.target).startswith("aten.")
        }
    )


def _last_lines(text: str, count: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


def _compiled_by_a_child(source: Path, device: str, threads: Threads, timeout: float) -> Path:
    command = [
        sys.executable, "-c", _PROGRAM, str(source), "--device", device, "--threads", threads,
        "--timeout", str(timeout),
    ]  # fmt: skip
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={name: text for name, text in os.environ.items() if not _tells_a_rank(name)},
    )
    try:
        printed, complaints = child.communicate(timeout=timeout + 5)
    except subprocess.TimeoutExpired:
        raise TransportTimeoutError(
            f"{source} was not compiled within {timeout} s: wait longer with timeout=, or compile "
            f"it beforehand with: dovetail model compile {source}"
        ) from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return _answer_in(printed, complaints, source)


def _answer_in(printed: str, complaints: str, source: Path) -> Path:
    try:
        answer = json.loads(printed.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise ModelFailedError(
            f"{source} cannot be compiled: the compiler ended with\n{_last_lines(complaints)}"
        ) from None
    if "folder" in answer:
        return Path(answer["folder"])
    builtin = {"FileNotFoundError": FileNotFoundError, "PermissionError": PermissionError}
    kind = getattr(dovetail.errors, answer["error"], builtin.get(answer["error"]))
    if kind is None:
        raise ModelFailedError(f"{source} cannot be compiled: {answer['message']}")
    raise kind(answer["message"])


def _tells_a_rank(variable: str) -> bool:
    """Whether a launcher says by it which rank this is: a child that took itself for one waits."""
    return variable.startswith(("PMI", "OMPI_", "PMIX_", "MPI_", "HYDRA", "SLURM_PROCID"))


def main() -> int:
    """Compile, or find, one model, and print where it is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", choices=("one", "many"), default="one")
    parser.add_argument("--timeout", type=float, default=_TIMEOUT)
    told = parser.parse_args()
    # Compilers print on the standard output, too; the answer is its last line.
    try:
        device = device_here(told.device)
        folder = cache_folder() / key_of(told.path, device, told.threads)
        if not (folder / DESCRIPTION).exists():
            _check_compiler()
            folder = compile_here(told.path, device, told.threads, told.timeout)
    except (DovetailError, OSError, ValueError) as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), flush=True)
        return 1
    print(json.dumps({"folder": str(folder)}), flush=True)
    return 0
