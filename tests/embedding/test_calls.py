"""``dvt_python_call``: a solver in C, C++ or Fortran calls Python with its own arrays."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from clients import abi, building

import dovetail as dv
from dovetail import native

HERE = Path(__file__).parent
SECONDS = 90


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("calls") / "calls"
    return building.compile_c(HERE / "calls.c", target, "-pthread", "-Wl,--no-as-needed", "-lm")


def run(
    program: Path, *words: object, folder: Path = HERE, code: int = 0, **environment: str
) -> str:
    """What the solver says, run in a folder, whose modules Python finds."""
    done = subprocess.run(
        [program, *map(str, words)],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "DOVETAIL_PYTHON": sys.executable, **environment},
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_python_works_on_the_solvers_own_arrays(program: Path) -> None:
    said = run(program, "functions:scale", '{"by": 10}', "functions:nothing", "{}").splitlines()
    answer = json.loads(said[0].removeprefix("ok: "))
    assert answer == {"sum": 210.0, "k": [[0, 1, 99], [10, 11, 12]], "type": "int16"}
    assert said[1:] == ["ok: null", "u 10 60, k 99"]


def test_the_interpreter_is_the_one_that_was_named(program: Path) -> None:
    prefix, argv, executable = json.loads(
        run(program, "functions:prefix", "{}").splitlines()[0].removeprefix("ok: ")
    )
    assert (prefix, argv, executable) == (sys.prefix, [""], sys.executable)


def test_what_python_prints_is_not_lost(program: Path) -> None:
    assert "said in Python\n" in run(program, "functions:say", "{}")


def test_an_exception_comes_back_as_text_with_its_traceback(program: Path) -> None:
    said = run(program, "functions:fail", "{}")
    assert said.startswith(
        "python failed: functions:fail raised ValueError: 1 bad array é\n"
        "Traceback (most recent call last):\n"
    )
    assert "in fail\n    raise ValueError" in said
    assert "<dovetail>" not in said


def test_a_long_traceback_keeps_its_end(program: Path) -> None:
    said = run(program, "functions:deep", '{"levels": 300}')
    assert said.startswith("python failed: functions:deep raised ZeroDivisionError: division by")
    assert said.splitlines()[-2] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("function", "settings", "expected"),
    [
        ("functions:leave", "{}", "python failed: functions:leave called sys.exit(3)"),
        ("functions:interrupted", "{}", "raised KeyboardInterrupt"),
        ("functions:unspeakable", "{}", "raised UnspeakableError"),
        ("functions:odd", "{}", "returned what is not JSON: a set is not JSON"),
        ("functions:not_a_number", "{}", "returned what is not JSON: Out of range"),
        ("functions:scale", '{"buy": 1}', "unexpected keyword argument 'buy'"),
        ("functions:missing", "{}", "the module functions has no function 'missing'"),
        ("nowhere.at.all:scale", "{}", "there is no module 'nowhere': "),
        ("functions", "{}", "argument: 'functions' names no function"),
        (":scale", "{}", "argument: "),
        ("functions:scale:x", "{}", "argument: "),
        ("functions:scale", "[1]", "argument: the settings are no JSON object: [1]"),
        ("functions:scale", '{"by": ', "argument: the settings are no JSON object"),
        ("functions:scale", '{"u": 1}', "argument: 'u' is given twice"),
        ("functions:keep", "{}", "python failed: functions:keep kept 'u' beyond its call"),
    ],
)
def test_what_cannot_be_is_said_and_the_solver_goes_on(
    program: Path, function: str, settings: str, expected: str
) -> None:
    said = run(program, function, settings, "functions:scale", "{}")
    assert expected in said
    assert said.splitlines()[-1] == "u 2 12, k 99"


def test_a_module_that_fails_to_import_is_told_with_its_traceback(
    program: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit('enough')\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    said = run(program, "broken:f", "{}", "leaves:f", "{}", "syntax:f", "{}", folder=tmp_path)
    assert "broken:f raised ModuleNotFoundError: No module named 'no_such_package'\n" in said
    assert 'broken.py", line 1' in said
    assert "importlib" not in said
    assert "leaves:f called sys.exit('enough')" in said
    assert "syntax:f raised SyntaxError" in said


@pytest.mark.parametrize("function", ["keep_a_copy", "keep_in_a_cycle"])
def test_who_keeps_a_copy_or_forgets_is_not_told_off(program: Path, function: str) -> None:
    assert run(program, f"functions:{function}", "{}").startswith("ok: null")


@pytest.mark.requires("torch")
def test_a_tensor_that_outlives_the_call_is_refused(program: Path) -> None:
    assert "kept 'u' beyond its call" in run(program, "functions:keep_a_tensor", "{}")


def test_the_solvers_traps_of_arithmetic_are_not_pythons(program: Path) -> None:
    assert run(program, "functions:divide", "{}").startswith("ok: true")


def test_threads_take_turns(program: Path) -> None:
    assert run(program, "threads", 8, 100) == "ok: 800\n"


def test_a_forked_child_is_refused(program: Path) -> None:
    assert "this process was forked from one that had started Python" in run(program, "fork")


def test_python_in_the_solver_uses_stores_as_any_other(program: Path, shm_url: str) -> None:
    said = run(program, "functions:stage", json.dumps({"url": shm_url}))
    assert said.startswith("ok: [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]")
    with dv.open_store(shm_url) as store:
        assert store.get_array("u").tolist() == [[1, 2, 3], [4, 5, 6]]


def test_modules_are_found_through_pythonpath_too(program: Path, tmp_path: Path) -> None:
    said = run(program, "functions:nothing", "{}", folder=tmp_path, PYTHONPATH=str(HERE))
    assert said.startswith("ok: null")
    said = run(program, "functions:nothing", "{}", folder=HERE, PYTHONSAFEPATH="1")
    assert "there is no module 'functions'" in said


def test_without_a_python_it_says_what_to_do(program: Path, tmp_path: Path) -> None:
    said = run(program, "functions:say", "{}", DOVETAIL_PYTHON="/nowhere/python")
    assert said.startswith("unavailable: the program /nowhere/python cannot be run")
    (tmp_path / "rubbish").write_text("#!/bin/sh\necho no Python; exit 3\n")
    (tmp_path / "rubbish").chmod(0o755)
    said = run(program, "functions:say", "{}", DOVETAIL_PYTHON=str(tmp_path / "rubbish"))
    assert "ended with status 3" in said
    # A Python that was built without its shared library says so in sysconfig.
    static = tmp_path / "static"
    static.write_text(
        f"#!{sys.executable}\n"
        "import sys, sysconfig\n"
        "sysconfig.get_config_var = lambda name: {'LIBPL': '/nowhere'}.get(name)\n"
        "sys.base_prefix = '/nowhere'\n"
        "exec(sys.argv[2])\n"
    )
    static.chmod(0o755)
    said = run(program, "functions:say", "{}", DOVETAIL_PYTHON=str(static))
    assert "has no shared library" in said
    assert "DOVETAIL_PYTHON" in said


def test_a_python_without_numpy_is_told_what_it_lacks(program: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError('none', name='numpy')\n")
    said = run(program, "functions:nothing", "{}", folder=tmp_path)
    assert said.startswith("unavailable: ")
    assert "cannot import numpy, which arrays for Python take: install it there" in said


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[ctypes.CDLL]:
    """libdovetail in this process, which runs Python already."""
    loaded = ctypes.CDLL(str(native.library_directory() / native.LIBRARY))
    loaded.dvt_python_call.argtypes = [
        ctypes.c_char_p, ctypes.POINTER(abi.Array), ctypes.c_int, ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_char_p),
    ]  # fmt: skip
    loaded.dvt_last_error.restype = ctypes.c_char_p
    return loaded


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of this process alone, which no other interpreter could find."""
    made = types.ModuleType("of_this_process")
    monkeypatch.setitem(sys.modules, "of_this_process", made)
    return made


@pytest.mark.parametrize("dtype", abi.DTYPES)
def test_arrays_of_every_dtype_and_order_are_views_in_a_process_that_runs_python(
    dtype: str, library: ctypes.CDLL, module: types.ModuleType
) -> None:
    whole = np.arange(48).reshape(4, 3, 4).astype(getattr(ml_dtypes, dtype, dtype))
    module.seen = []  # type: ignore[attr-defined]

    def double(a: np.ndarray, b: np.ndarray, none: np.ndarray, one: np.ndarray) -> None:
        assert a.dtype == b.dtype == whole.dtype
        assert none.shape == (0, 3)
        module.seen.append((a.tolist(), b.tolist(), one.tolist()))  # type: ignore[attr-defined]
        a[0, 0] = b[1, 1]

    module.double = double  # type: ignore[attr-defined]
    a, b = whole[0].T, whole[3, ::-1, ::2]
    arrays = [("a", a), ("b", b), ("none", whole[0][:0, :3]), ("one", whole[1, 1, 1:2].reshape(()))]
    before = [array.tolist() for _, array in arrays]
    described = (abi.Array * len(arrays))()
    for place, (name, array) in zip(described, arrays, strict=True):
        place.name = name.encode()
        place.data = array.__array_interface__["data"][0]
        place.dtype = abi.DTYPES.index(dtype) + 1
        place.rank = array.ndim
        place.shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        place.strides = (ctypes.c_int64 * array.ndim)(*array.strides)
    status = library.dvt_python_call(b"of_this_process:double", described, len(arrays), None, None)
    assert status == 0, library.dvt_last_error()
    assert module.seen == [(before[0], before[1], before[3])]  # type: ignore[attr-defined]
    assert a[0, 0] == b[1, 1]


def test_rubbish_gets_a_status_and_a_sentence(library: ctypes.CDLL) -> None:
    call = library.dvt_python_call
    assert call(None, None, 0, None, None) == -1
    assert call(b"a:b", None, 3, None, None) == -1
    assert call(b"a:b", None, -1, None, None) == -1
    assert call(b"a\xff:b", None, 0, None, None) == -1
    assert call(b"a:b", None, 0, b'{"x": "\xff"}', None) == -1
    bad = (abi.Array * 1)()
    assert call(b"a:b", bad, 1, None, None) == -4  # dtype 0
    bad[0].dtype, bad[0].rank = 13, 1
    assert call(b"a:b", bad, 1, None, None) == -1  # no shape
    bad[0].rank = 0
    assert call(b"a:b", bad, 1, None, None) == -1  # no data
    assert b"data is NULL" in library.dvt_last_error()


def test_cpp_calls_python(tmp_path: Path) -> None:
    said = run(building.compile_cpp(HERE / "calls.cpp", tmp_path / "calls")).splitlines()
    assert json.loads(said[0])["sum"] == 63
    assert said[1:3] == ["18 99", "null"]
    assert said[3] == "functions:fail raised ValueError: 1 bad array é"


HERE_PY = """
def fill(u, corner, by):
    assert u.tolist() == [[1, 2, 3], [4, 5, 6]]
    u *= by
    corner[:] = 1
    corner[0, 0] = 7  # field(5, 2)
    corner[2, 2] = 8  # field(1, 4)
    return {"shapes": [u.shape, corner.shape]}

def nothing():
    pass

def fail(k):
    raise ValueError("no")
"""


@pytest.mark.requires("gfortran")
def test_fortran_calls_python_with_sections_of_arrays(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(HERE_PY)
    sources = building.run(
        building.tool("pkg-config"), "--variable=fortran", "dovetail",
        PKG_CONFIG_PATH=os.fspath(native.pkgconfig_directory()),
    ).split()  # fmt: skip
    building.run(
        "gfortran", "-O1", "-g", "-ffpe-trap=invalid,zero,overflow", "-J", tmp_path,
        "-o", tmp_path / "calls", *sources, HERE / "calls.f90", *building.flags(),
    )  # fmt: skip
    assert run(tmp_path / "calls", folder=tmp_path) == "done\n"
