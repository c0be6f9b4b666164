"""The process that computes a model for the ranks of a node, in whatever language they are.

The native core starts it, of whichever rank comes first, and it ends with its last rank. Its
standard output is a pipe on which the core announces how the start goes; its standard error is the
file ``log`` of its folder.
"""

from __future__ import annotations

import argparse
import os
import signal

from dovetail import _native
from dovetail.errors import DovetailError
from dovetail.model.installed import torch_folder

_OF_A_RANK = ("OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""How a rank's own threads are bound is not how those of its server are."""


def main() -> int:
    """Serve one model until the last rank has left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--place", required=True)
    parser.add_argument("--device-index", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gather", type=float, default=0.0)
    parser.add_argument("--join", action="store_true")
    parser.add_argument("--apart", dest="join", action="store_false")
    told = parser.parse_args()
    for variable in _OF_A_RANK:
        os.environ.pop(variable, None)
    # A terminal's or a launcher's signal is for the ranks: with them, it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    announce = os.dup(1)
    os.dup2(2, 1)  # what torch prints is no announcement
    os.set_inheritable(announce, False)
    try:
        _native.serve_model(
            told.folder, torch_folder(), told.device_index, told.threads, told.place, told.gather,
            told.join, announce,
        )  # fmt: skip
    except (DovetailError, OSError, ValueError):
        return 1  # it has been announced
    return 0
