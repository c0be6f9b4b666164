"""The native core under the address, undefined-behaviour and thread sanitizers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transport.engines.redis.running import on_a_socket

SOURCE = Path(__file__).parents[2] / "native"

pytestmark = [pytest.mark.native, pytest.mark.timeout(900)]


def program(name: str) -> str | None:
    """The path of a build tool: of this environment first, else the system's."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def build(folder: Path, sanitizers: str, target: str = "all", *more: str) -> Path:
    """Configure and build the drivers in `folder`; return where they are."""
    cmake, ninja = program("cmake"), program("ninja")
    if cmake is None:
        pytest.skip("needs cmake: pip install cmake")
    require_sanitizers(folder, sanitizers)
    choices = ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    run(
        cmake, "-S", SOURCE, "-B", folder, f"-DDOVETAIL_SANITIZE={sanitizers}",
        "-DDOVETAIL_PYTHON=OFF", "-DDOVETAIL_NATIVE_TESTS=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        f"-DPython_EXECUTABLE={sys.executable}", *choices, *more,
    )  # fmt: skip
    run(cmake, "--build", folder, "--parallel", "2", "--target", target)
    return folder / "tests"


def require_sanitizers(folder: Path, sanitizers: str) -> None:
    """Skip where the compiler came without the libraries of its sanitizers."""
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n")
    compiler = os.environ.get("CXX", "c++")
    attempt = subprocess.run(
        [compiler, f"-fsanitize={sanitizers}", "-o", folder / "empty", source],
        capture_output=True,
        check=False,
        text=True,
    )
    if attempt.returncode != 0:
        pytest.skip(f"needs the {sanitizers} sanitizers of {compiler}: {attempt.stderr[-200:]}")


def without_random_addresses() -> list[str]:
    """A command prefix that the thread sanitizer needs on some kernels, where it is allowed."""
    prefix = ["setarch", platform.machine(), "--addr-no-randomize"]
    if shutil.which("setarch") is None:
        return []
    works = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if works.returncode == 0 else []


def run(*command: object, timeout: float = 800, **environment: str) -> str:
    """Run a command; fail with all that it said."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
        text=True,
        timeout=timeout,
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{said[-6000:]}"
    return said


@pytest.fixture(scope="module")
def with_address_sanitizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("address"), "address,undefined")


@pytest.fixture(scope="module")
def with_thread_sanitizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("thread"), "thread")


DRIVERS = [
    ("prefixes_and_mutations", "300000"),
    ("ring_threads", "200"),
    ("store_threads", "200"),
    ("client_threads", "100"),
]
STRICT = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


@pytest.mark.parametrize(("driver", "size"), DRIVERS, ids=[name for name, _ in DRIVERS])
def test_the_address_and_undefined_behaviour_sanitizers_find_nothing(
    with_address_sanitizer: Path, driver: str, size: str
) -> None:
    said = run(with_address_sanitizer / driver, size, **STRICT)
    assert "runtime error" not in said
    print(said)


@pytest.mark.parametrize(("driver", "size"), DRIVERS[1:], ids=[name for name, _ in DRIVERS[1:]])
def test_the_thread_sanitizer_finds_nothing(
    with_thread_sanitizer: Path, driver: str, size: str
) -> None:
    print(run(*without_random_addresses(), with_thread_sanitizer / driver, size, **STRICT))


@pytest.mark.requires("redis")
@pytest.mark.requires("hiredis")
@pytest.mark.parametrize("options", ["", "&chunk=1000"])
def test_the_sanitizers_find_nothing_in_a_store_on_a_server(
    with_address_sanitizer: Path, with_thread_sanitizer: Path, tmp_path: Path, options: str
) -> None:
    with on_a_socket(tmp_path / "server", "capacity=256MiB") as server:
        url = server.url + options
        run(with_address_sanitizer / "client_threads", "100", url, **STRICT)
        driver = with_thread_sanitizer / "client_threads"
        run(*without_random_addresses(), driver, "100", url, **STRICT)
