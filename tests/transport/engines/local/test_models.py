"""The local engine beside a plain dict, and plain lists."""

from __future__ import annotations

from pathlib import Path

import pytest

import dovetail as dv
from dovetail.testing import check_store_against_a_dict, check_stream_against_lists


def test_a_store_in_shared_memory_behaves_as_a_dict(shm_url: str) -> None:
    check_store_against_a_dict(shm_url)


def test_a_store_in_a_folder_behaves_as_a_dict(tmp_path: Path) -> None:
    check_store_against_a_dict(f"file://{tmp_path}/store")


def test_a_store_with_hardly_any_room_behaves_as_a_dict(shm_url: str) -> None:
    check_store_against_a_dict(f"{shm_url}?capacity=2MiB")


def test_a_store_that_recycles_nothing_behaves_as_a_dict(shm_url: str) -> None:
    check_store_against_a_dict(f"{shm_url}?recycle=no", examples=20)


def test_a_store_that_polls_behaves_as_a_dict(tmp_path: Path) -> None:
    check_store_against_a_dict(f"file://{tmp_path}/store?wait=poll", examples=20)


every_policy = pytest.mark.parametrize(
    "policy",
    [dv.lockstep(), dv.buffered(1), dv.buffered(3), dv.latest(), dv.work_queue(1),
     dv.work_queue(3)],
    ids=str,
)  # fmt: skip


@every_policy
def test_a_stream_behaves_as_its_policy_says(shm_url: str, policy: dv.Policy) -> None:
    check_stream_against_lists(shm_url, policy)


@every_policy
def test_a_stream_over_a_store_behaves_as_its_policy_says(
    tmp_path: Path, policy: dv.Policy
) -> None:
    check_stream_against_lists(f"file://{tmp_path}/fields?over=store", policy, examples=20)
