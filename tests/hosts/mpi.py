"""MPI programs whose ranks are on several hosts, started through ssh."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hosts.host import Hosts, Program
from transport.engines.local import mpi_ranks

PATIENT = 100.0


def start(hosts: Hosts, names: list[str], *programs: list[str]) -> Program:
    """Start one MPI job with a rank on each of `names`, from the first of them.

    Parameters
    ----------
    programs
        Each is the number of its ranks, a script, and its arguments.
    """
    mpiexec = Path(sys.executable).with_name("mpiexec")
    settings = {
        "UCX_TLS": "tcp,self",
        "UCX_NET_DEVICES": "hsn0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [
        *(str(mpiexec), "-launcher", "ssh", "-iface", "hsn0", "-hosts", ",".join(names)),
        *("-ppn", "1"),
        *(word for name, text in settings.items() for word in ("-genv", name, text)),
    ]
    for number, (ranks, *words) in enumerate(programs):
        command += [":"] if number else []
        command += ["-n", ranks, sys.executable, *words]
    return hosts.start(
        names[0], command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def couple(hosts: Hosts, url: str, *cuts: str) -> None:
    """Three writer ranks on three hosts, two reader ranks on two of them: each step arrives.

    Parameters
    ----------
    cuts
        Hosts whose links are cut meanwhile, one after the other.
    """
    script = mpi_ranks.__file__
    with (
        start(hosts, ["n3", "n2"], ["2", script, "read", url]) as reading,
        start(hosts, ["n1", "n2", "n3"], ["3", script, "write", url]) as writing,
    ):
        for name in cuts:
            with hosts.cut(name):
                pass
        finish(writing)
        assert "steps 40" in finish(reading)


def finish(program: Program) -> str:
    """What a program printed, if it ended well."""
    output, _ = program.communicate(timeout=PATIENT)
    assert program.returncode == 0, output
    return str(output)
