"""Ordinary ADIOS2 programs, in Python and in C++, that know nothing of Dovetail."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(importlib.util.find_spec("adios2").origin).parent  # type: ignore[union-attr,arg-type]

WRITER = """
import os, sys
sys.modules["torch"] = None  # adios2 would import it
import numpy as np
import adios2
engine, name, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
gap, dies = "gap" in sys.argv, "dies" in sys.argv
adios = adios2.Adios()
io = adios.declare_io("w")
io.set_engine(engine)
if engine == "SST":
    io.set_parameters({"NetworkInterface": "lo", "RendezvousReaderCount": "1"})
io.define_attribute("units", "K")
io.define_attribute("spacing", np.array([0.5, 0.25]))
with adios2.Stream(io, name, "w") as out:
    for number in out.steps(steps):
        k = number.current_step()
        field = np.arange(12.0).reshape(3, 4) + k
        out.write("u", np.ascontiguousarray(field[:2]), [3, 4], [0, 0], [2, 4])
        if not gap:
            out.write("u", np.ascontiguousarray(field[2:]), [3, 4], [2, 0], [1, 4])
        out.write("count", np.array(k, np.int32))
        out.write("note", f"step {k}")
        out.write("local", np.full(2, k, np.int64), [], [], [2])
        if dies and k == steps - 1:
            out.end_step()
            os._exit(0)
"""

READER = """
import json, sys
sys.modules["torch"] = None  # adios2 would import it
import numpy as np
import adios2
engine, name = sys.argv[1:]
adios = adios2.Adios()
io = adios.declare_io("r")
io.set_engine(engine)
if engine == "SST":
    io.set_parameters({"NetworkInterface": "lo"})
with adios2.Stream(io, name, "r") as stream:
    for step in stream.steps():
        attrs = json.loads(step.read("dovetail/attrs"))
        u = step.read("u")
        f = step.read("f")
        assert f.shape == (3, 2) and (f.T == [[0, 1, 2], [3, 4, 5]]).all(), f
        part = step.read("u", start=[1, 1], count=[2, 2])
        assert (part == u[1:3, 1:3]).all()
        bits = step.read("h")
        assert bits.dtype == np.uint16 and (bits.view(np.float16) == 0.5).all()
        print(attrs["k"], u.shape, float(u.sum()), complex(step.read("z")), flush=True)
"""

CPP_WRITER = """
#include <adios2.h>
#include <iostream>
#include <string>
#include <vector>
int main(int, char **argv)
{
    adios2::ADIOS adios;
    adios2::IO io = adios.DeclareIO("w");
    io.SetEngine(argv[1]);
    if (std::string(argv[1]) == "SST")
        io.SetParameters({{"NetworkInterface", "lo"}, {"RendezvousReaderCount", "1"}});
    auto u = io.DefineVariable<double>("u", {3, 4}, {0, 0}, {3, 4});
    auto count = io.DefineVariable<int32_t>("count");
    auto note = io.DefineVariable<std::string>("note");
    auto local = io.DefineVariable<int64_t>("local", {}, {}, {2});
    io.DefineAttribute<std::string>("units", "K");
    const double spacing[] = {0.5, 0.25};
    io.DefineAttribute<double>("spacing", spacing, 2);
    adios2::Engine engine = io.Open(argv[2], adios2::Mode::Write);
    for (int k = 0; k < std::stoi(argv[3]); ++k)
    {
        std::vector<double> field(12);
        for (int i = 0; i < 12; ++i)
            field[i] = i + k;
        engine.BeginStep();
        engine.Put(u, field.data());
        engine.Put(count, int32_t(k));
        engine.Put(note, "step " + std::to_string(k));
        std::vector<int64_t> mine(2, k);
        engine.Put(local, mine.data());
        engine.EndStep();
    }
    engine.Close();
}
"""

CPP_READER = """
#include <adios2.h>
#include <iostream>
#include <string>
#include <vector>
int main(int, char **argv)
{
    adios2::ADIOS adios;
    adios2::IO io = adios.DeclareIO("r");
    io.SetEngine(argv[1]);
    if (std::string(argv[1]) == "SST")
        io.SetParameters({{"NetworkInterface", "lo"}});
    adios2::Engine engine = io.Open(argv[2], adios2::Mode::Read);
    while (engine.BeginStep() == adios2::StepStatus::OK)
    {
        auto u = io.InquireVariable<double>("u");
        auto z = io.InquireVariable<std::complex<double>>("z");
        auto attrs = io.InquireVariable<std::string>("dovetail/attrs");
        std::vector<double> field;
        std::complex<double> number;
        std::string text;
        engine.Get(u, field);
        engine.Get(z, number);
        engine.Get(attrs, text);
        engine.PerformGets();
        double sum = 0;
        for (double value : field)
            sum += value;
        std::cout << text << " " << u.Shape()[0] << "x" << u.Shape()[1] << " " << sum << " "
                  << number.imag() << std::endl;
        engine.EndStep();
    }
    engine.Close();
}
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python program under way."""
    return _start([sys.executable, "-c", code, *map(str, arguments)])


def compiled(code: str, folder: Path) -> Path:
    """A C++ program built against the headers and libraries of the adios2 wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    source, program = folder / "program.cpp", folder / "program"
    source.write_text(code, encoding="utf-8")
    bundled = PACKAGE.parent / "adios2.libs"
    subprocess.run(
        ["c++", "-std=c++17", str(source), "-o", str(program), f"-I{PACKAGE / 'include'}",
         f"-L{PACKAGE}", "-ladios2_cxx", "-ladios2_core", "-Wl,--allow-shlib-undefined",
         f"-Wl,-rpath,{PACKAGE}:{bundled}"],
        check=True, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    return program


def run(program: Path, *arguments: object) -> subprocess.Popen[str]:
    """A compiled program under way."""
    return _start([str(program), *map(str, arguments)])


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process: subprocess.Popen[str]) -> list[str]:
    """What a program has printed, once it has ended well."""
    try:
        printed, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, printed
    return printed.splitlines()
