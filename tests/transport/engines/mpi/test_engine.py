"""What ``mpi://`` is asked for and refuses, each with what to do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

import dovetail as dv
from dovetail.testing import check_stream_against_lists
from dovetail.transport.registry import engines

pytestmark = pytest.mark.requires("mpi")


@pytest.mark.parametrize(
    "policy",
    [dv.lockstep(), dv.buffered(1), dv.buffered(3), dv.latest(), dv.work_queue(3)],
    ids=str,
)
def test_a_stream_behaves_as_its_policy_says(policy: dv.Policy) -> None:
    check_stream_against_lists("mpi://model", policy, examples=15)


def test_it_is_listed_with_what_it_offers() -> None:
    (status,) = [status for status in engines() if status.scheme == "mpi"]
    assert status.available
    assert status.detail.startswith("mpi4py ")
    assert status.capabilities.stream
    assert not status.capabilities.store
    assert not status.capabilities.started_apart


def test_there_is_no_store_on_it() -> None:
    with pytest.raises(dv.CapabilityError, match=r"offers no store.*redis://"):
        dv.open_store("mpi://fields")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mpi://", "needs a name"),
        ("mpi://a/b", "needs a name"),
        ("mpi://fields?leader=last", "no rank"),
        ("mpi://fields?leader=-1", "no rank"),
        ("mpi://fields?leader=7", "there is no rank 7 among the 1"),
        ("mpi://fields?context=own", "choose world or private"),
        ("mpi://fields?lader=1", "did you mean 'leader'"),
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str, said: str) -> None:
    for mode in ("w", "r"):
        with pytest.raises(dv.InvalidURLError, match=said):
            dv.open_stream(url, mode, timeout=1)


def test_a_block_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail.transport.deadlines import Deadline
    from dovetail.transport.engines.mpi.office import office

    blocks = office("world", Deadline(1)).blocks
    with dv.open_stream("mpi://full", "w", policy=dv.buffered(4)) as out:
        monkeypatch.setattr(blocks, "capacity", 5000)
        with out.step() as step:
            step["u"] = bytearray(2000)
        with pytest.raises(dv.StoreFullError, match=r"\?capacity="), out.step() as step:
            step["u"] = bytearray(4000)
        with dv.open_stream("mpi://full", "r") as reader:
            next(reader).end()
            with out.step() as step:
                step["u"] = bytearray(2000)


def test_a_workflow_that_would_start_its_components_apart_is_refused() -> None:
    flow = dv.Workflow(
        "coupled",
        streams={"fields": "mpi://fields"},
        components=[
            dv.Component("sim", command=["true"], writes=["fields"]),
            dv.Component("trainer", command=["true"], reads=["fields"]),
        ],
    )
    with pytest.raises(dv.InvalidWorkflowError, match="mpiexec -n 4 sim : -n 2 trainer"):
        flow.plan()


def without_mpi4py(work: str) -> str:
    """What a program writes in an interpreter that has no mpi4py."""
    program = f"import sys; sys.modules['mpi4py'] = None; import dovetail as dv\n{work}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60
    ).stdout


def test_without_mpi4py_it_says_what_to_install() -> None:
    status = "from dovetail.transport.registry import engines; print(*engines(), sep='\\n')"
    (line,) = [line for line in without_mpi4py(status).splitlines() if "scheme='mpi'" in line]
    assert "available=False" in line
    assert "pip install mpi4py" in line
    assert "pip install mpi4py" in without_mpi4py(
        "try: dv.open_stream('mpi://fields', 'w')\nexcept dv.EngineUnavailableError as e: print(e)"
    )


def test_mpi_is_not_loaded_before_a_stream_needs_it() -> None:
    assert importlib.util.find_spec("mpi4py") is not None
    program = (
        "import sys, dovetail; from dovetail.transport.registry import engines; engines(); "
        "print([name for name in sys.modules if name.startswith('mpi4py.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
