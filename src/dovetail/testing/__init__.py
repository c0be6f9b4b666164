"""The contracts as test suites: what an engine must pass, ours or a third party's.

::

    from dovetail.testing import StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def url(self):
            return "mine://a-store-that-does-not-exist-yet"

Needs pytest (and, for the model-based machines, Hypothesis).
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovetail.testing.store_contract import StoreContract
    from dovetail.testing.store_model import check_store_against_a_dict
    from dovetail.testing.stream_contract import StreamContract
    from dovetail.testing.stream_model import check_stream_against_lists

__all__ = [
    "StoreContract",
    "StreamContract",
    "check_store_against_a_dict",
    "check_stream_against_lists",
]

_HOME = {
    "StoreContract": "store_contract",
    "check_store_against_a_dict": "store_model",
    "StreamContract": "stream_contract",
    "check_stream_against_lists": "stream_model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    # Their assertions then print what they compared, as those of a test module do.
    for module in (*_SUITES, *_HOME.values()):
        if f"{__name__}.{module}" not in sys.modules:  # too late for one that is there already
            pytest.register_assert_rewrite(f"{__name__}.{module}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


_SUITES = (
    "store_values",
    "store_keys",
    "store_changes",
    "store_sharing",
    "stream_steps",
    "stream_policies",
    "stream_groups",
    "stream_endings",
    "stream_onlookers",
)
