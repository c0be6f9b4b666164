"""The report of a real run: what it says is what happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report import parts
from report.conftest import run

from dovetail import report

FIELD = parts.CELLS * 8


def only(found: Any, **wanted: Any) -> Any:
    (one,) = [
        entry
        for entry in found
        if all(getattr(entry, name) == value for name, value in wanted.items())
    ]
    return one


def test_both_sides_of_a_stream_are_counted(learned: Path) -> None:
    account = report.account_of(learned)
    assert account.run.status == "succeeded", account.run.reason
    written = only(account.streams, side="writes")
    assert written.stream == "fields"
    assert (written.component, written.ranks) == ("simulation", 2)
    assert written.steps == 2 * parts.STEPS
    assert written.nbytes == 2 * parts.STEPS * FIELD
    read = only(account.streams, side="reads")
    assert (read.component, read.steps) == ("trainer", parts.STEPS)
    assert read.nbytes == written.nbytes
    assert not read.background


def test_what_went_into_stores_is_counted_by_kinds_of_keys(learned: Path) -> None:
    stores = report.account_of(learned).stores
    taken = only(stores, component="trainer", keys="taken/*.*")
    assert (taken.puts, taken.gets) == (3, 0)
    assert taken.stores == ("models",)
    seen = only(stores, component="trainer", keys="seen/*.*")
    assert (seen.puts, seen.gets) == (0, 3)
    assert seen.waiting_seconds > 0


def test_versions_of_a_model_are_followed_from_publication_to_force(learned: Path) -> None:
    account = report.account_of(learned)
    published = only(account.published)
    assert (published.model, published.component, published.versions) == ("closure", "trainer", 3)
    followed = only(account.followed)
    assert (followed.component, followed.taken, followed.last) == ("user", 2, "3")
    assert followed.refused == (("gate", 1),)
    assert followed.delay is not None
    assert followed.delay < account.run.seconds
    assert [(mark.what, mark.version) for mark in account.marks] == [
        ("published", "1"),
        ("taken", "1"),
        ("published", "2"),
        ("refused", "2"),
        ("published", "3"),
        ("taken", "3"),
    ]


def test_decisions_of_a_guard_are_counted(learned: Path) -> None:
    guarded = only(report.account_of(learned).guarded)
    assert (guarded.component, guarded.guard) == ("user", "closure")
    assert (guarded.calls, guarded.fallbacks) == (7, 4)
    assert dict(guarded.reasons) == {"input range": 3, "no model": 1}
    assert guarded.calling.sum() == pytest.approx(7)
    assert guarded.falling.sum() == pytest.approx(4)


def test_every_rank_has_a_lane_and_shares_that_make_a_whole(learned: Path) -> None:
    account = report.account_of(learned)
    names = [lane.name for lane in account.lanes]
    assert names == ["simulation.0", "simulation.1", "trainer", "user", "shaky"]
    for lane in account.lanes:
        assert sum(lane.shares) == pytest.approx(1)
        whole = lane.computing + lane.moving + lane.waiting
        assert ((abs(whole - 1) < 1e-9) | (whole < 1e-9)).all()
        assert whole.sum() > 0
    assert only(account.lanes, component="trainer").waiting_seconds > 0


def test_the_page_is_whole_and_needs_no_network(learned: Path, parse: Callable[..., Any]) -> None:
    path = report.write(learned)
    assert path == learned / "report.html"
    page = parse(path)
    assert page.open == []
    assert not {"script", "link", "iframe", "object"} & {*page.tags}
    for link in page.links:
        assert link.startswith("data:image/") or (learned / link).exists(), link
    text = "".join(page.texts)
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    for name in ("simulation", "trainer", "user", "shaky", "fields", "closure", "Later"):
        assert name in {said.strip() for said in page.texts}, name
    assert list(learned.glob(".report*")) == []


def test_what_components_say_is_text_and_not_markup(
    learned: Path, parse: Callable[..., Any]
) -> None:
    page = parse(report.write(learned))
    assert page.texts.count(parts.HOSTILE) == 4  # title, text, heading and cell of the table
    assert "A second one." in page.texts
    assert "2.5" in page.texts


def test_exhibits_come_in_order_with_their_pictures(learned: Path) -> None:
    first, second = report.account_of(learned).run.exhibits
    assert (first.title, second.title) == (parts.HOSTILE, "Later")
    assert second.picture is not None
    assert second.picture.media_type == "image/svg+xml"
    assert second.picture.content.startswith(b"<svg")


def test_the_summary_is_of_lines_that_fit(learned: Path) -> None:
    lines = report.summary(learned).splitlines()
    assert lines[0].startswith("test: succeeded after ")
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "In the report also: Later" in text
    assert "trainer published 3 versions of closure" in text
    assert "user took 2 of closure; refused: gate 1" in text
    assert "in 4 of 7 calls (input range 3, no model 1)" in text


def test_the_account_is_a_json_document(learned: Path) -> None:
    document = json.loads(json.dumps(report.account_of(learned).document(), allow_nan=False))
    assert document["status"] == "succeeded"
    shaky = document["components"][-1]
    assert (shaky["name"], shaky["restarts"]) == ("shaky", 1)
    assert document["guarded"][0]["reasons"] == {"input range": 3, "no model": 1}
    assert document["troubles"] == []


def test_a_report_can_be_drawn_elsewhere_and_again(learned: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (moved / "trace").mkdir(parents=True)
    for path in (learned / "run.json", *(learned / "trace").iterdir()):
        (moved / path.relative_to(learned)).write_bytes(path.read_bytes())
    assert report.account_of(moved).streams == report.account_of(learned).streams
    report.write(moved)
    report.write(moved)


def test_a_failure_comes_first_with_its_last_lines(
    tmp_path: Path, parse: Callable[..., Any]
) -> None:
    failed = run(tmp_path / "failed", {"solver": {"function": "parts:fail"}})
    page = parse(report.write(failed))
    assert "solver failed" in page.texts
    assert page.tags.count("script") == 0
    (lines,) = {text for text in page.texts if "Traceback" in text}
    assert f"ValueError: {parts.HOSTILE}" in lines
    assert report.summary(failed).startswith("test: failed after ")
