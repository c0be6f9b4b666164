"""What is said in a log is what is read there; anything else is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dovetail as dv
from dovetail.transport.ledger import entries
from dovetail.transport.ledger.entries import LONGEST_NAME, parse, read_name, spelled

ids = st.text("0123456789abcdef", min_size=12, max_size=12)
numbers = st.integers(0, 2**60)
policies = st.sampled_from([dv.lockstep(), dv.buffered(1), dv.buffered(4096), dv.latest(),
                            dv.work_queue(7)])  # fmt: skip
spoken: st.SearchStrategy[Any] = st.one_of(
    st.builds(entries.Opened, ids, numbers, numbers, policies, numbers),
    st.builds(
        entries.Ended, ids, numbers, numbers, numbers, numbers, st.text("AZaz09_-", max_size=40)
    ),
    st.builds(entries.Closed, ids, st.booleans()),
    st.builds(entries.Joined, ids, numbers, numbers, st.text(max_size=20).map(spelled)),
    st.builds(entries.Picked, ids, numbers),
    st.builds(entries.Done, ids, numbers),
    st.builds(entries.Left, ids, st.booleans()),
    st.builds(entries.Stopped, ids),
    st.builds(entries.Dead, ids),
    st.builds(entries.Expelled, ids, numbers),
    st.builds(entries.Continued, ids),
    st.builds(entries.Sealed, ids),
    st.builds(entries.Removed, ids, st.booleans()),
)


@given(spoken)
def test_an_entry_comes_back(entry: Any) -> None:
    text = str(entry)
    assert parse(text) == entry
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", text)


@given(st.text(max_size=LONGEST_NAME))
def test_any_name_can_be_spelled(name: str) -> None:
    assert read_name(spelled(name)) == name


def test_a_long_name_is_refused() -> None:
    with pytest.raises(ValueError, match="65 letters"):
        spelled("x" * 65)


@pytest.mark.parametrize(
    "text",
    ["", "W", "W.a.0.1.b0.0", "W.a.0.1.b4097.0", "W.a.0.1.q1.0", "E.a.1.2.3", "E.a.-1.0.0.0",
     "E.a.1.2.3.4.x.y", "E.a.²..0.0", "D.a.x", "Q.a", "C.a", "hello world", "E." * 1000],
)  # fmt: skip
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(dv.CorruptDataError, match="dovetail stream rm"):
        parse(text)
