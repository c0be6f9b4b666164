"""Files and folders of models: what is found, what is refused, and how it is compiled once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model.networks import Closure, eager, inputs_of, tensors_of

import dovetail as dv
from dovetail.model import CompiledModel
from dovetail.model.compiling import compiled_folder, key_of

pytestmark = [pytest.mark.requires("compiler"), pytest.mark.timeout(300)]


@pytest.fixture
def compiled(one_thread: CompiledModel, exported: Path, tmp_path: Path) -> Path:
    """A copy of the folder of a compiled model."""
    folder = compiled_folder(exported, device="cpu", threads="one")
    return Path(shutil.copytree(folder, tmp_path / "compiled"))


def changed(folder: Path, **fields: Any) -> Path:
    description = folder / "dovetail.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | fields))
    return folder


def test_a_folder_of_a_compiled_model_is_loaded_as_it_is(
    compiled: Path, one_thread: CompiledModel
) -> None:
    inputs = inputs_of(3)
    loaded = dv.load_model(compiled)(*inputs)
    assert loaded[0].tobytes() == one_thread(*inputs)[0].tobytes()


def test_a_model_is_found_again_without_torch_being_imported(
    exported: Path, one_thread: CompiledModel
) -> None:
    program = (
        f"import sys, dovetail as dv; model = dv.load_model({exported.as_uri()!r}, threads=1);"
        "print(model.device, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.split() == ["cpu", "False"], done.stderr


def test_ranks_that_start_together_compile_once(tmp_path: Path) -> None:
    path = dv.export_model(Closure(3), tensors_of(inputs_of(2)), tmp_path / "model.pt2")
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import dovetail as dv;"
        "from model.networks import inputs_of;"
        f"model = dv.load_model({str(path)!r}, device='cpu', threads=1);"
        "print(model(*inputs_of(3))[0].tobytes().hex())"
    )
    environment = os.environ | {"DOVETAIL_CACHE": str(tmp_path / "cache")}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(Path(__file__).parents[1])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = [rank.communicate(timeout=200) for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), answers
    assert len({printed for printed, _ in answers}) == 1
    (folder,) = [one for one in (tmp_path / "cache/models").iterdir() if one.is_dir()]
    assert sorted(one.name for one in folder.iterdir()) == ["dovetail.json", "model.so"]
    assert (tmp_path / "cache/models").stat().st_mode & 0o777 == 0o700
    first = np.frombuffer(bytes.fromhex(answers[0][0]), np.float32).reshape(3, 4)
    np.testing.assert_allclose(first, eager(Closure(3), inputs_of(3))[0], rtol=1e-5, atol=1e-5)


def test_waiting_for_another_that_compiles_ends_at_the_deadline(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVETAIL_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir(mode=0o700)
    with (tmp_path / "models" / f"{key_of(exported, 'cpu', 'one')}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(dv.TransportTimeoutError, match="has been compiling .*closure.pt2"):
            dv.load_model(exported, device="cpu", threads=1, timeout=0.2)


@pytest.mark.soak
def test_a_compiler_that_is_killed_leaves_nothing_that_the_next_one_trips_over(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVETAIL_CACHE", str(tmp_path))
    program = "import sys; from dovetail.model.compiling import main; sys.exit(main())"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(exported)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("models/.*/scratch/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(30)
    assert list(tmp_path.glob("models/.*"))
    assert dv.load_model(exported, device="cpu", threads=1)(*inputs_of(1))
    assert not list(tmp_path.glob("models/.*"))


def test_a_missing_file_is_said() -> None:
    with pytest.raises(FileNotFoundError, match="no model nowhere.pt2: export it"):
        dv.load_model("nowhere.pt2")
    with pytest.raises(dv.InvalidURLError, match="from a file"):
        dv.load_model("redis://localhost/model")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_said(share: float, exported: Path, tmp_path: Path) -> None:
    whole = exported.read_bytes()
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(dv.CorruptDataError, match="cut.pt2 is no .*model, or only part of"):
        dv.load_model(cut)


def test_an_archive_of_something_else_is_said(tmp_path: Path) -> None:
    path = tmp_path / "other.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/readme.txt", "no model")
    with pytest.raises(dv.CorruptDataError, match="is no exported model"):
        dv.load_model(path, device="cpu")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/data/aotinductor/model/code.so", "no code")
    with pytest.raises(dv.CorruptDataError, match="package that torch compiled"):
        dv.load_model(path, device="cpu")


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(dv.CorruptDataError, match="no compiled model: it has no dovetail.json"):
        dv.load_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no JSON"),
        ("[1, 2]", "is no JSON"),
        ("{}", "format"),
        ('{"format": 1}', "extents"),
        ('{"format": "1"}', "type must be number"),
    ],
)
def test_a_damaged_description_is_said(text: str, sentence: str, compiled: Path) -> None:
    (compiled / "dovetail.json").write_text(text)
    with pytest.raises(dv.CorruptDataError, match=sentence):
        dv.load_model(compiled)


def test_truncated_code_is_said(compiled: Path) -> None:
    code = compiled / "model.so"
    os.truncate(code, code.stat().st_size // 2)
    with pytest.raises(dv.CorruptDataError, match="model.so has .* bytes and not"):
        dv.load_model(compiled)


def test_a_description_of_another_model_is_said(compiled: Path) -> None:
    described = json.loads((compiled / "dovetail.json").read_text())
    with pytest.raises(dv.CorruptDataError, match="its code and its dovetail.json differ"):
        dv.load_model(changed(compiled, inputs=described["inputs"][:1]))


def test_code_for_a_newer_torch_is_said(compiled: Path) -> None:
    with pytest.raises(dv.FormatVersionError, match=r"compiled with torch 99.1.0, newer than the"):
        dv.load_model(changed(compiled, torch="99.1.0"))


def test_a_newer_format_is_said(compiled: Path) -> None:
    with pytest.raises(dv.FormatVersionError, match="has the format 2, and this Dovetail reads 1"):
        dv.load_model(changed(compiled, format=2))


def test_code_for_another_processor_is_said(compiled: Path) -> None:
    with pytest.raises(dv.EngineUnavailableError, match="for a processor with avx4096, which this"):
        dv.load_model(changed(compiled, processor="sse2 avx4096"))


def test_code_for_another_device_is_said(compiled: Path) -> None:
    with pytest.raises(dv.EngineUnavailableError, match="compiled for cpu, not for cuda"):
        dv.load_model(compiled, device="cuda")
    with pytest.raises(dv.EngineUnavailableError, match="this torch cannot compute on xpu"):
        dv.load_model(changed(compiled, device="xpu"))


def test_a_device_that_is_not_here_is_said(exported: Path) -> None:
    with pytest.raises(dv.EngineUnavailableError, match="there is no device cuda:7 for torch"):
        dv.load_model(exported, device="cuda:7")
    with pytest.raises(ValueError, match="say auto, cpu, cuda, cuda:1 or xpu"):
        dv.load_model(exported, device="gpu")


def test_a_compiler_that_is_missing_is_said(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVETAIL_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(dv.EngineUnavailableError, match=r"there is none: install g\+\+"):
        dv.load_model(exported, device="cpu", threads=1)


def test_a_cache_that_another_user_owns_is_refused(
    exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    (tmp_path / "models").mkdir()
    os.chown(tmp_path / "models", 12345, -1)
    monkeypatch.setenv("DOVETAIL_CACHE", str(tmp_path))
    with pytest.raises(PermissionError, match="belongs to another user.*DOVETAIL_CACHE"):
        dv.load_model(exported, device="cpu", threads=1)


def test_a_libtorch_that_is_not_there_is_said(compiled: Path) -> None:
    program = f"import dovetail as dv; dv.load_model({str(compiled)!r})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"DOVETAIL_LIBTORCH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "EngineUnavailableError: there is no libtorch_cpu.so in DOVETAIL_LIBTORCH" in done.stderr


def test_a_module_that_cannot_be_exported_is_said(tmp_path: Path) -> None:
    import torch

    class Branching(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(dv.ModelFailedError, match="the module cannot be exported: "):
        dv.export_model(Branching(), torch.zeros(2, 3), tmp_path / "branching.pt2")
    assert not list(tmp_path.iterdir())


def test_example_inputs_that_have_no_batch_are_said(tmp_path: Path) -> None:
    import torch

    for inputs, sentence in (
        ((np.zeros((2, 3)), np.zeros((3, 3))), r"has the lengths \[2, 3\]"),
        ((np.zeros(()),), "has no batch: pass batch=False"),
    ):
        with pytest.raises(ValueError, match=sentence):
            dv.export_model(torch.nn.Identity(), inputs, tmp_path / "model.pt2")


def test_exporting_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    net = Closure(1).train()
    dv.export_model(net, tensors_of(inputs_of(2)), tmp_path / "a" / "model.pt2")
    assert net.training
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["model.pt2"]


@pytest.mark.hardware
def test_a_gpu_answers_as_the_processor_does(exported: Path, one_thread: CompiledModel) -> None:
    import torch

    kind = "cuda" if torch.cuda.is_available() else "xpu"
    model = dv.load_model(exported, device=kind)
    inputs = inputs_of(64)
    wanted = one_thread(*inputs)[0]
    np.testing.assert_allclose(model(*inputs)[0], wanted, rtol=1e-3, atol=1e-3)
    there = [one.to(kind) for one in tensors_of(inputs)]
    first, second = torch.empty(64, 4, device=kind), torch.empty(64, device=kind).bfloat16()
    model.run(*there, out=(first, second))
    np.testing.assert_allclose(first.cpu().numpy(), wanted, rtol=1e-3, atol=1e-3)


def test_the_command_compiles_where_the_first_load_would(
    exported: Path, one_thread: CompiledModel, tmp_path: Path
) -> None:
    command = [Path(sys.executable).with_name("dovetail"), "model", "compile"]
    told = [exported, "--device", "cpu", "--threads", "1"]
    done = subprocess.run(
        [*command, *told], capture_output=True, text=True, timeout=100, check=False
    )
    folder = compiled_folder(exported, device="cpu", threads="one")
    assert done.stdout.strip() == str(folder), done.stderr
    copied = tmp_path / "copied"
    done = subprocess.run(
        [*command, *told, "-o", copied, "--json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert json.loads(done.stdout) == {"folder": str(copied), "device": "cpu", "threads": "one"}
    inputs = inputs_of(2)
    assert dv.load_model(copied)(*inputs)[0].tobytes() == one_thread(*inputs)[0].tobytes()
    done = subprocess.run(
        [*command, "nowhere.pt2"], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, "there is no exported model nowhere.pt2" in done.stderr) == (1, True)
