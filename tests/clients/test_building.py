"""A build finds the library as its page says: by pkg-config, by CMake, by a question."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clients import building

import dovetail as dv
from dovetail import native

C_PROGRAM = r"""
#include <dovetail/dovetail.h>
#include <stdio.h>

int main(int count, char** words) {
  double u[] = {1, 2, 3};
  int64_t shape[] = {3};
  dvt_array array = {.name = NULL, .data = u, .dtype = DVT_FLOAT64, .rank = 1, .shape = shape};
  dvt_store* store = NULL;
  if (count != 2) return 2;
  if (dvt_store_open(words[1], &store) < 0 ||
      dvt_store_put(store, "u", &array, 1, "{\"from\": \"C\"}", NULL) < 0) {
    fprintf(stderr, "%s\n", dvt_last_error());
    return 1;
  }
  dvt_store_close(store);
  printf("%s\n", dvt_version());
  return 0;
}
"""
CPP_PROGRAM = r"""
#include <dovetail/dovetail.hpp>
#include <iostream>
#include <vector>

int main(int, char** words) {
  try {
    dovetail::Store store(words[1]);
    const std::vector<double> u{1, 2, 3};
    store.put("u", u, R"({"from": "C++"})");
    const auto value = store.get("u");
    const auto again = value.array<double>();
    if (again(2) != 3 || again.rank() != 1) return 2;
#if defined(__cpp_lib_span)
    if (again.span().size() != 3) return 3;
    store.put("u", std::span<const double>(u), R"({"from": "C++"})");
#endif
#if defined(__cpp_lib_mdspan)
    if (again.mdspan<1>().extent(0) != 3) return 4;
    store.put("u", dovetail::View<const double>(std::mdspan(u.data(), 3)), R"({"from": "C++"})");
#endif
    std::cout << dvt_version() << "\n";
  } catch (const dovetail::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
"""
CMAKE_PROJECT = """
cmake_minimum_required(VERSION 3.18)
project(user LANGUAGES C CXX)
find_package(dovetail 0.1 CONFIG REQUIRED)
add_executable(in_c program.c)
add_executable(in_cpp program.cpp)
target_compile_features(in_cpp PRIVATE cxx_std_17)
target_link_libraries(in_c PRIVATE dovetail::dovetail)
target_link_libraries(in_cpp PRIVATE dovetail::dovetail)
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "program.c").write_text(C_PROGRAM)
    (tmp_path / "program.cpp").write_text(CPP_PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE_PROJECT)
    return tmp_path


def check(program: Path, url: str, language: str) -> None:
    """What a program put is there, and a URL that is none makes it say so."""
    assert building.run(program, url).strip() == dv.__version__
    with dv.open_store(url) as store:
        assert store.get_array("u").tolist() == [1, 2, 3]
        assert store.get("u").attrs == {"from": language}
    wrong = subprocess.run(
        [program, "shn://x"], capture_output=True, check=False, text=True, timeout=60
    )
    assert (wrong.returncode, "did you mean 'shm'" in wrong.stderr) == (1, True)


def test_pkg_config_finds_the_library(sources: Path, shm_url: str) -> None:
    in_c = building.compile_c(sources / "program.c", sources / "in_c")
    check(in_c, shm_url, "C")
    in_cpp = building.compile_cpp(sources / "program.cpp", sources / "in_cpp")
    check(in_cpp, shm_url, "C++")


@pytest.mark.parametrize("standard", ["c++20", "c++23"])
def test_newer_standards_of_cpp_bring_their_spans(
    sources: Path, shm_url: str, standard: str
) -> None:
    program = building.compile_cpp(
        sources / "program.cpp", sources / "newer", f"-std={standard}", "-Wno-error=pedantic"
    )
    check(program, shm_url, "C++")


def test_cmake_finds_the_library(sources: Path, shm_url: str) -> None:
    cmake = building.tool("cmake")
    folder = native.cmake_directory()
    building.run(cmake, "-S", sources, "-B", sources / "build", f"-Ddovetail_DIR={folder}")
    building.run(cmake, "--build", sources / "build")
    check(sources / "build" / "in_c", shm_url, "C")
    check(sources / "build" / "in_cpp", shm_url, "C++")


def test_the_header_is_plain_c_and_plain_cpp(tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text("#include <dovetail/dovetail.h>\nint nothing;\n")
    for compiler, standard, language in (
        ("cc", "c99", "c"), ("cc", "c11", "c"), ("c++", "c++17", "c++"),
    ):  # fmt: skip
        building.run(
            building.tool(compiler), f"-std={standard}", "-pedantic-errors", *building.STRICT,
            f"-I{native.include_directory()}", "-x", language, "-c", tmp_path / "one.c",
            "-o", os.devnull,
        )  # fmt: skip


def test_the_module_says_where_everything_is() -> None:
    questions = ["--cmake-dir", "--include-dir", "--pkgconfig-dir", "--library-dir", "--version"]
    said = building.run(sys.executable, "-m", "dovetail.native", *questions).splitlines()
    cmake, include, pkgconfig, library, version = said
    assert (Path(cmake) / "dovetailConfig.cmake").is_file()
    assert (Path(include) / "dovetail" / "dovetail.h").is_file()
    assert (Path(include) / "dovetail" / "dovetail.hpp").is_file()
    assert (Path(pkgconfig) / "dovetail.pc").is_file()
    assert (Path(library) / native.LIBRARY).is_file()
    assert version == dv.__version__


def test_only_what_is_recorded_is_exported() -> None:
    building.run(sys.executable, Path(__file__).parents[2] / "native" / "abi" / "symbols.py")
    recorded = Path(__file__).parents[2] / "native" / "abi" / "symbols.txt"
    names = [name for name in recorded.read_text().split() if "@@" in name]
    assert names
    assert all(name.startswith("dvt_") for name in names)
    headers = "".join(
        header.read_text() for header in (native.include_directory() / "dovetail").glob("*.h")
    )
    assert all(f"{name.partition('@@')[0]}(" in headers for name in names)
