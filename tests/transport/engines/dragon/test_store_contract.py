"""The shipped contract of a Store, over the distributed dictionary."""

from __future__ import annotations

import pytest

from dovetail.testing import StoreContract, check_store_against_a_dict

pytestmark = pytest.mark.requires("dragon")


class TestDragonStore(StoreContract):
    """Values in a dictionary of one manager."""

    @pytest.fixture
    def url(self, dragon_url: str) -> str:
        return dragon_url


def test_a_store_behaves_as_a_dict(dragon_url: str) -> None:
    check_store_against_a_dict(dragon_url, examples=30, steps=30)
