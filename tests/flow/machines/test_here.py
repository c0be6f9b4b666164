"""This machine, as the kernel and hwloc see it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dovetail.flow.machines import checking, find_machine, here, hwloc

USABLE = sorted(os.sched_getaffinity(0))


def test_this_machine_has_the_cores_that_this_process_may_use() -> None:
    local = find_machine("local")
    assert sorted(local.node.cores) == USABLE
    assert {core for domain in local.node.domains for core in domain} == {*USABLE}
    assert local.most_nodes == 1


def test_the_limits_of_a_process_are_those_of_its_machine() -> None:
    code = (
        "import os; os.sched_setaffinity(0, [max(os.sched_getaffinity(0))]);"
        "from dovetail.flow.machines import find_machine; print(find_machine('local').node.cores)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"[{USABLE[-1]}]\n"


def test_each_core_comes_before_the_second_thread_of_any() -> None:
    order, seen = find_machine("local").node.cores, set()
    firsts = [core for core in order if here.threads_of(core)[0] == core]
    assert order[: len(firsts)] == firsts
    for core in order:
        assert core not in seen
        seen.add(core)


def test_this_machine_fits_itself() -> None:
    findings = checking.check(find_machine("local"))
    assert "differs" not in {finding.outcome for finding in findings}, findings


def test_another_machine_does_not_fit() -> None:
    findings = {finding.subject: finding for finding in checking.check(find_machine("aurora"))}
    assert findings["cores"].outcome == "differs"
    assert findings["GPUs"].outcome == "differs"


@pytest.mark.requires("lstopo")
def test_hwloc_sees_what_the_kernel_tells() -> None:
    found = hwloc.topology()
    assert found is not None
    threads = {thread for core in found.cores for thread in core}
    assert {*USABLE} <= threads
    for core in found.cores:
        for thread in core:
            assert {*here.threads_of(thread)} >= {*core}


@pytest.mark.requires("lstopo")
def test_hwloc_describes_machines_that_are_larger() -> None:
    found = hwloc.topology(("-i", "pack:2 numa:1 core:20 pu:2"))
    assert found is not None
    assert (found.packages, len(found.cores), len(found.numa)) == (2, 40, 2)
    assert found.cores[0] == (0, 1)
    assert found.numa[1] == tuple(range(40, 80))


@pytest.mark.parametrize("text", [b"", b"no xml", b"<topology><object cpuset='0xzz'/></topology>"])
def test_what_is_no_topology_is_refused(text: bytes) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        hwloc.read(text)


def test_devices_lie_near_the_cores_of_what_they_are_in() -> None:
    found = hwloc.read(
        b"<topology><object type='Package' cpuset='0x00000001,,0x0000000f'>"
        b"<object type='Bridge'><object type='PCIDev'>"
        b"<object type='OSDev' name='cuda0'/></object></object></object></topology>"
    )
    assert found.near == {"cuda0": [0, 1, 2, 3, 64]}
