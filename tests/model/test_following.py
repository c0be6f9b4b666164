"""What a followed model promises: whole versions, between steps, and only those that pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dovetail as dv
from dovetail import observe
from dovetail.model import ValidationGate
from dovetail.transport.contract import Store

Weights = Mapping[str, NDArray[Any]]


def line(slope: float, offset: float = 0.0) -> dict[str, NDArray[Any]]:
    return {"slope": np.full(3, slope, float), "offset": np.array(offset)}


def along(weights: Weights, x: NDArray[Any]) -> NDArray[Any]:
    return weights["slope"] * x + weights["offset"]


def followed(store: Store, **options: Any) -> dv.FollowedModel:
    return dv.FollowedModel(store, "line", line(0.0), apply=along, **options)


ONES = np.ones(3)


def test_a_newer_version_is_taken_by_refresh_and_never_otherwise(store: Store) -> None:
    model = followed(store)
    assert (model.ready, model.version, model.refresh()) == (False, 0, False)
    dv.publish_model(store, "line", line(2.0), {"loss": 0.25})
    assert not model.ready
    assert model.refresh()
    assert (model.version, model.ready, dict(model.attrs)) == (1, True, {"loss": 0.25})
    assert model.published is not None
    assert abs(model.published - time.time()) < 60
    dv.publish_model(store, "line", line(3.0))
    np.testing.assert_equal(model(ONES), 2 * ONES)
    assert model.refresh()
    np.testing.assert_equal(model(ONES), 3 * ONES)
    assert not model.refresh()
    assert model.statistics()[:3] == (4, 2, 0)


def test_before_the_first_version_a_call_is_refused(store: Store) -> None:
    with pytest.raises(dv.ModelNotReadyError, match="no version of the model 'line'"):
        followed(store)(ONES)


def test_weights_of_ones_own_serve_until_the_first_version_if_so_wished(store: Store) -> None:
    model = followed(store, use_initial=True)
    np.testing.assert_equal(model(ONES), 0 * ONES)
    assert (model.ready, model.version) == (True, 0)


def test_several_versions_between_two_refreshes_are_one_step(store: Store) -> None:
    model = followed(store)
    for slope in range(5):
        dv.publish_model(store, "line", line(slope))
    assert model.refresh()
    assert model.version == 5
    assert not model.refresh()


LAYOUTS: list[tuple[dict[str, Any], str]] = [
    ({"slope": ONES}, "offset is missing"),
    ({**line(1.0), "more": ONES}, "more is unknown to the model"),
    ({"slope": np.ones(4), "offset": np.array(0.0)}, r"slope is float64\[4\] and should be"),
    ({"slope": np.ones(3, "f4"), "offset": np.array(0.0)}, r"slope is float32\[3\] and should"),
]


@pytest.mark.parametrize(("weights", "words"), LAYOUTS)
def test_other_names_shapes_and_dtypes_are_refused_counted_and_said(
    store: Store, weights: dict[str, Any], words: str
) -> None:
    model = followed(store)
    dv.publish_model(store, "line", line(2.0))
    model.refresh()
    dv.publish_model(store, "line", weights)
    with pytest.warns(RuntimeWarning, match=f"version 2 .* not taken .layout.: .*{words}"):
        assert not model.refresh()
    assert not model.refresh()  # said once
    np.testing.assert_equal(model(ONES), 2 * ONES)
    assert model.statistics().refused_by_reason == {"layout": 1}
    assert model.last_refusal is not None
    assert model.last_refusal[:2] == (2, "layout")
    dv.publish_model(store, "line", line(3.0))
    assert model.refresh()
    assert model.version == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(store: Store, value: float) -> None:
    model = followed(store)
    dv.publish_model(store, "line", line(1.0, value))
    with pytest.warns(RuntimeWarning, match="offset holds values that are not finite"):
        assert not model.refresh()
    assert not model.ready


def raising(candidate: Any, attrs: Any) -> bool:
    raise ZeroDivisionError("of the gate")


GATES: list[tuple[Any, str]] = [
    (lambda candidate, attrs: False, "the gate refused it"),
    (lambda candidate, attrs: np.bool_(False), "the gate refused it"),
    (lambda candidate, attrs: "too steep", "too steep"),
    (lambda candidate, attrs: attrs["loss"] < 0.1, "the gate refused it"),
    (raising, "ZeroDivisionError: of the gate"),
    (ValidationGate(ONES, 2.5 * ONES, 0.1), "validation error 0.2 is above 0.1"),
    (ValidationGate(ONES, np.ones(4)), r"outputs have shape \(3,\), targets \(4,\)"),
]


@pytest.mark.parametrize(("gate", "words"), GATES)
def test_a_version_that_fails_its_gate_is_not_taken_counted_and_said(
    store: Store, gate: Any, words: str
) -> None:
    model = followed(store, gate=gate)
    dv.publish_model(store, "line", line(2.0), {"loss": 0.5})
    with pytest.warns(RuntimeWarning, match=f"not taken .gate.: {words}"):
        assert not model.refresh()
    assert not model.ready
    assert model.statistics().refused_by_reason == {"gate": 1}


@pytest.mark.parametrize(
    "gate",
    [
        lambda candidate, attrs: True,
        lambda candidate, attrs: None,
        lambda candidate, attrs: candidate(ONES).sum() == 6.0 and attrs["loss"] == 0.5,
        ValidationGate(ONES, 2.1 * ONES, 0.1),
        ValidationGate((ONES,), ONES),
    ],
)
def test_a_version_that_passes_its_gate_is_taken(store: Store, gate: Any) -> None:
    model = followed(store, gate=gate)
    dv.publish_model(store, "line", line(2.0), {"loss": 0.5})
    assert model.refresh()


@pytest.mark.parametrize(
    ("targets", "max_error"), [(np.zeros(3), 1.0), (np.array([np.nan]), 1.0), (ONES, 0.0)]
)
def test_a_gate_that_cannot_judge_is_refused(targets: Any, max_error: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        ValidationGate(ONES, targets, max_error)


def test_the_gate_sees_the_candidate_while_the_old_version_is_in_force(store: Store) -> None:
    seen = []
    model = followed(store, gate=lambda new, attrs: seen.append((new(ONES)[0], model.version)))
    for slope in (2.0, 3.0):
        dv.publish_model(store, "line", line(slope))
        model.refresh()
    assert seen == [(2.0, 0), (3.0, 1)]


def test_a_value_that_nobody_published_as_a_model_is_refused(store: Store) -> None:
    model = followed(store)
    store.put("models/line", line(1.0))
    with pytest.warns(RuntimeWarning, match="is no published model"):
        assert not model.refresh()


def test_damaged_bytes_are_refused_once_and_mended_by_the_next_version(store: Store) -> None:
    model = followed(store)
    dv.publish_model(store, "line", line(1.0))
    assert store.path is not None
    (file,) = store.path.glob("*.safetensors")
    copy = file.with_name("copy")
    copy.write_bytes(b"\xff" * 64)
    copy.rename(file)
    with pytest.warns(RuntimeWarning, match="corrupt"):
        assert not model.refresh()
    assert not model.refresh()
    assert model.statistics().refused_by_reason == {"corrupt": 1}
    dv.publish_model(store, "line", line(2.0))
    assert model.refresh()


def test_a_publisher_that_was_overtaken_does_not_bring_an_older_version_back(store: Store) -> None:
    model = followed(store)
    dv.publish_model(store, "line", line(1.0))
    older = dv.Dataset({name: array.copy() for name, array in store.get("models/line").items()})
    attrs = store.get("models/line").attrs
    dv.publish_model(store, "line", line(2.0))
    model.refresh()
    store.put("models/line", older, attrs)
    with pytest.warns(RuntimeWarning, match="stale"):
        assert not model.refresh()
    assert model.version == 2


def test_a_store_begun_anew_is_followed_again(store: Store) -> None:
    model = followed(store)
    for _ in range(3):
        dv.publish_model(store, "line", line(1.0))
    model.refresh()
    attrs = {"dovetail.version": 1, "dovetail.published": time.time()}
    store.put("models/line", line(2.0), attrs)
    assert model.refresh()
    assert model.version == 1


def test_a_closed_store_is_the_callers_mistake(store: Store) -> None:
    model = followed(store)
    store.close()
    with pytest.raises(dv.TransportClosedError):
        model.refresh()


def test_wait_returns_with_the_first_version_and_says_what_was_refused_meanwhile(
    store: Store,
) -> None:
    model = followed(store)
    with pytest.raises(dv.TransportTimeoutError, match=r"no version .* in 0\.05 s$"):
        model.wait(0.05)
    dv.publish_model(store, "line", line(np.nan))
    with pytest.warns(RuntimeWarning), pytest.raises(dv.TransportTimeoutError, match="not finite"):
        model.wait(0.05)
    publisher = threading.Timer(0.05, dv.publish_model, (store, "line", line(1.0)))
    publisher.start()
    assert model.wait(30) == 2
    publisher.join()
    assert model.wait(0) == 2


def test_the_template_is_copied_and_never_changed(store: Store) -> None:
    template = line(0.0)
    model = dv.FollowedModel(store, "line", template, apply=along)
    dv.publish_model(store, "line", line(2.0))
    model.refresh()
    np.testing.assert_equal(template, line(0.0))


def test_a_mapping_without_a_way_to_call_it_says_so(store: Store) -> None:
    model = dv.FollowedModel(store, "line", line(0.0), use_initial=True)
    with pytest.raises(TypeError, match="apply=lambda"):
        model(ONES)
    assert set(model.model) == {"slope", "offset"}


def test_a_pinned_version_stays_what_it_is(store: Store) -> None:
    model = followed(store)
    with pytest.raises(dv.ModelNotReadyError):
        model.pinned()
    dv.publish_model(store, "line", line(1.0), {"loss": 0.5})
    model.refresh()
    pinned: Any = model.pinned()
    for slope in (2.0, 3.0, 4.0):
        dv.publish_model(store, "line", line(slope))
        assert model.refresh()
        np.testing.assert_equal(pinned(ONES), ONES)
        np.testing.assert_equal(model(ONES), slope * ONES)
    assert (pinned.version, dict(pinned.attrs), pinned.input_range) == (1, {"loss": 0.5}, None)


def test_infinities_that_belong_to_the_model_are_no_fault(store: Store) -> None:
    masked = line(1.0) | {"mask": np.array([0.0, -np.inf, -np.inf])}
    model = dv.FollowedModel(store, "line", masked, apply=along)
    dv.publish_model(store, "line", line(2.0) | {"mask": masked["mask"]})
    assert model.refresh()
    dv.publish_model(store, "line", line(np.inf) | {"mask": masked["mask"]})
    with pytest.warns(RuntimeWarning, match="slope holds values that are not finite"):
        assert not model.refresh()


def test_an_input_range_travels_with_its_version(store: Store) -> None:
    model = followed(store)
    seen = dv.InputRange([0.0, 1.0], [2.0, 3.0], axis=-1)
    dv.publish_model(store, "line", line(1.0), input_range=seen)
    model.refresh()
    assert model.input_range is not None
    np.testing.assert_equal(model.input_range.lower, seen.lower)
    np.testing.assert_equal(model.input_range.upper, seen.upper)
    assert model.input_range.axis == -1
    dv.publish_model(store, "line", line(1.0))
    model.refresh()
    assert model.input_range is None


def test_publications_refreshes_and_refusals_are_in_the_trace(store: Store, tmp_path: Any) -> None:
    model = followed(store)
    observe.start(tmp_path)
    dv.publish_model(store, "line", line(1.0))
    model.refresh()
    dv.publish_model(store, "line", line(np.nan))
    with pytest.warns(RuntimeWarning):
        model.refresh()
    observe.stop()
    events = [(event.kind, event.name) for event in observe.read(tmp_path)]
    assert [event for event in events if "model" in event[0]] == [
        ("publish_model", "line@1"),
        ("take_model", "line@1"),
        ("publish_model", "line@2"),
        ("refuse_model", "line@2: non-finite"),
    ]


class SlowStore:
    """A store across a network, which answers when it is told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.answers = threading.Event()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def capabilities(self) -> Any:
        import dataclasses

        return dataclasses.replace(self._store.capabilities, several_nodes=True)

    def stat(self, key: str) -> Any:
        self.answers.wait(60)
        if self.error is not None:
            raise self.error
        return self._store.stat(key)


@pytest.fixture
def slow(store: Store) -> Iterator[SlowStore]:
    slow = SlowStore(store)
    yield slow
    slow.answers.set()


def test_a_refresh_waits_for_a_network_no_longer_than_its_deadline_and_then_not_at_all(
    slow: SlowStore,
) -> None:
    dv.publish_model(slow, "line", line(1.0))  # type: ignore[arg-type]
    model = dv.FollowedModel(slow, "line", line(0.0), apply=along, deadline=0.2)  # type: ignore[arg-type]
    begun = time.monotonic()
    assert not model.refresh()
    assert 0.2 <= time.monotonic() - begun < 30
    for _ in range(100):
        assert not model.refresh()
    assert model.statistics().seconds_in_refresh < 100 * 0.2
    assert model.statistics().late == 101
    slow.answers.set()
    assert model.wait(30) == 1
    np.testing.assert_equal(model(ONES), ONES)


def test_a_store_out_of_reach_is_said_once_and_followed_again_when_it_is_back(
    slow: SlowStore,
) -> None:
    slow.answers.set()
    model = dv.FollowedModel(slow, "line", line(0.0), apply=along, deadline=30)  # type: ignore[arg-type]
    slow.error = dv.PeerLostError("the server is gone")
    with pytest.warns(RuntimeWarning, match="unreachable.*the server is gone"):
        assert not model.refresh()
    assert not model.refresh()
    slow.error = None
    dv.publish_model(slow, "line", line(1.0))  # type: ignore[arg-type]
    assert model.refresh()
    slow.error = dv.PeerLostError("the server is gone")
    with pytest.warns(RuntimeWarning):
        model.refresh()
    np.testing.assert_equal(model(ONES), ONES)
    assert model.statistics().refused_by_reason == {"unreachable": 2}


def test_the_thread_of_a_network_store_ends_with_its_model(slow: SlowStore) -> None:
    slow.answers.set()
    model = dv.FollowedModel(slow, "line", line(0.0), deadline=30)  # type: ignore[arg-type]
    model.refresh()
    (thread,) = [one for one in threading.enumerate() if one.name == "follow models/line"]
    del model
    thread.join(30)
    assert not thread.is_alive()


HEADINGS: list[tuple[dict[str, Any], str]] = [
    ({"dovetail.version": 0, "dovetail.published": 1.0}, "no published model"),
    ({"dovetail.version": 1, "dovetail.published": 10**400}, "is no time"),
    (
        {
            "dovetail.version": 1,
            "dovetail.published": 1.0,
            "dovetail.input_range": {"lower": [0], "upper": [10**400], "axis": 1},
        },
        "is no input range",
    ),
]


@pytest.mark.parametrize(("attrs", "words"), HEADINGS)
def test_a_heading_of_others_that_says_nonsense_is_refused(
    store: Store, attrs: dict[str, Any], words: str
) -> None:
    model = followed(store)
    store.put("models/line", line(1.0), attrs)
    with pytest.warns(RuntimeWarning, match=words):
        assert not model.refresh()
    assert model.statistics().refused_by_reason == {"layout": 1}


class Rank:
    """A communicator of one rank."""

    def Get_rank(self) -> int:  # noqa: N802
        return 0

    def bcast(self, value: Any) -> Any:
        return value

    def allgather(self, value: Any) -> list[Any]:
        return [value]


@pytest.mark.parametrize("comm", [None, Rank()])
def test_damaged_attributes_are_refused_by_one_rank_as_by_many(store: Store, comm: Any) -> None:
    model = followed(store, comm=comm)
    dv.publish_model(store, "line", line(1.0))
    assert store.path is not None
    (file,) = store.path.glob("*.safetensors")
    attrs = b'"dovetail.attrs":"{'
    content = file.read_bytes()
    assert attrs in content
    with file.open("r+b") as block:
        block.write(content.replace(attrs, b'"dovetail.attrs":"!'))
    with pytest.warns(RuntimeWarning, match="not JSON"):
        assert not model.refresh()
    assert model.statistics().refused == 1


def test_a_mapping_keeps_its_own_names_through_versions(store: Store) -> None:
    model = dv.FollowedModel(
        store,
        "wrapped",
        {"module.slope": np.zeros(3)},
        apply=lambda weights, x: weights["module.slope"] * x,
        use_initial=True,
    )
    np.testing.assert_equal(model(ONES), 0 * ONES)
    dv.publish_model(store, "wrapped", {"module.slope": 2 * ONES})
    assert model.refresh()
    np.testing.assert_equal(model(ONES), 2 * ONES)


def test_an_outage_is_said_once_whatever_words_it_finds(slow: SlowStore) -> None:
    slow.answers.set()
    model = dv.FollowedModel(slow, "line", line(0.0), deadline=30)  # type: ignore[arg-type]
    slow.error = dv.PeerLostError("reset, after 3 s")
    with pytest.warns(RuntimeWarning, match="after 3 s"):
        model.refresh()
    slow.error = dv.PeerLostError("refused, after 4 s")
    model.refresh()
    assert model.statistics().refused == 1


def test_a_gate_says_nothing_of_a_candidate_that_it_could_not_compare() -> None:
    gate = ValidationGate(ONES, 2 * ONES)
    gate(lambda x: x, {})
    assert gate.last_error == 0.5
    gate(lambda x: x[:2], {})
    assert gate.last_error is None
