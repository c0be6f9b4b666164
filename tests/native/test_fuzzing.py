"""Random bytes and mutated values for the reader of the format, for minutes: `make fuzz`.

With a clang that has libFuzzer the mutations follow the branches of the parser; elsewhere they are
those of the driver alone. DOVETAIL_FUZZ_SECONDS says for how long, in place of 600.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from native.test_sanitizers import STRICT, build, run

SECONDS = float(os.environ.get("DOVETAIL_FUZZ_SECONDS", "600"))
BUILDING = 900
ENDING = 120
LONGEST = 4096
"""Bytes of a value that libFuzzer makes."""
MUTATIONS = 300_000
"""Of one run of the driver alone."""
TARGET = "prefixes_and_mutations"

pytestmark = [
    pytest.mark.native,
    pytest.mark.soak,
    pytest.mark.timeout(BUILDING + SECONDS + 2 * ENDING),
]


def has_libfuzzer(compiler: str, folder: Path) -> bool:
    source = folder / "target.cpp"
    source.write_text(
        "#include <cstddef>\n#include <cstdint>\n"
        'extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return 0; }\n'
    )
    command = [compiler, "-fsanitize=fuzzer,address,undefined", "-o", folder / "target", source]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_reader_of_the_format_withstands_minutes_of_mutations(tmp_path: Path) -> None:
    clang = os.environ.get("DOVETAIL_FUZZ_CXX") or shutil.which("clang++")
    if clang is not None and has_libfuzzer(clang, tmp_path):
        executions = follow_branches(clang, tmp_path)
    else:
        executions = mutate(tmp_path)
    print(f"{executions} executions in {SECONDS:.0f} s, and no finding")
    assert executions > 0


def follow_branches(clang: str, folder: Path) -> int:
    """libFuzzer, which fails with a report as soon as it finds something."""
    choices = ("-DDOVETAIL_LIBFUZZER=ON", f"-DCMAKE_CXX_COMPILER={clang}")
    target = build(folder, "address,undefined", TARGET, *choices) / TARGET
    corpus = folder / "corpus"
    corpus.mkdir()
    said = run(
        target, corpus, f"-max_total_time={SECONDS:.0f}", f"-max_len={LONGEST}", "-timeout=10",
        "-print_final_stats=1", f"-artifact_prefix={folder}/",
        timeout=SECONDS + ENDING, **STRICT,
    )  # fmt: skip
    found = re.search(r"number_of_executed_units:\s*(\d+)", said)
    assert found, said[-2000:]
    return int(found[1])


def mutate(folder: Path) -> int:
    """The driver's own mutations, from another seed each time."""
    target = build(folder, "address,undefined", TARGET) / TARGET
    end, seed = time.monotonic() + SECONDS, 0
    while seed == 0 or time.monotonic() < end:
        seed += 1
        run(target, MUTATIONS, seed, timeout=BUILDING, **STRICT)
    return seed * MUTATIONS
