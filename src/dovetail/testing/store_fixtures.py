"""What every part of the store contract stands on: a fresh store, and child processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import dovetail as dv
from dovetail.testing.child_fixtures import ChildFixtures
from dovetail.transport.contract import Store


def with_options(url: str, **options: str) -> str:
    """`url` with options added to its query."""
    added = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{url}{'&' if '?' in url else '?'}{added}"


class StoreFixtures(ChildFixtures):
    """Fixtures of the store contract. An engine's suite overrides :meth:`url`."""

    @pytest.fixture
    def url(self) -> str:
        """The URL of a store that does not exist yet."""
        raise NotImplementedError("give the suite a fixture `url`: a store that is not there yet")

    @pytest.fixture
    def small_url(self, url: str) -> str:
        """The same store, with room for about 1 MiB."""
        return with_options(url, capacity="1MiB")

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        """An open, empty store, destroyed after the test."""
        with dv.open_store(url) as store:
            yield store
        dv.open_store(url).destroy()

    @pytest.fixture
    def small_store(self, small_url: str) -> Iterator[Store]:
        """An open, empty store with room for about 1 MiB."""
        with dv.open_store(small_url) as store:
            yield store
        dv.open_store(small_url).destroy()
