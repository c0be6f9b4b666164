"""A store for each test, and what the tests publish."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import dovetail as dv
from dovetail.transport.contract import Store


@pytest.fixture
def store(shm_url: str) -> Iterator[Store]:
    with dv.open_store(f"{shm_url}?capacity=64MiB") as store:
        yield store
