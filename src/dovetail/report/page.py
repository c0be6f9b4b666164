"""The account of a run as one page: no scripts, and nothing from a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from importlib.resources import files
from itertools import groupby
from urllib.parse import quote

from dovetail.quantities import (
    counted,
    in_bytes,
    in_count,
    in_percent,
    in_rate,
    in_seconds,
    in_time,
)
from dovetail.report import passages
from dovetail.report.account import Account
from dovetail.report.cells import shorten
from dovetail.report.directory import Component, Exhibit, Picture
from dovetail.report.markup import Markup, element, grouped_table, joined, paragraphs, table
from dovetail.report.timeline import guard_lanes, timeline
from dovetail.report.traffic import StreamSide

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_GOOD = {"succeeded": "good", "done": "good", "failed": "bad", "running": "busy"}
_LATEST_VERSIONS = 12


def page(account: Account) -> str:
    """The page, as HTML."""
    run = account.run
    sections = [section for section in _sections(account) if section is not None]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", f"{run.name}: {run.status}"),
        element("style", Markup(files(__package__).joinpath("page.css").read_text("utf-8"))),
    )
    body = element("body", _header(account), element("main", *sections), _footer(account))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _header(account: Account) -> Markup:
    run = account.run
    status = element("span", run.status, class_=f"status {_GOOD.get(run.status, 'so-so')}")
    figures = (
        element("div", element("dt", name), element("dd", value))
        for name, value in passages.figures(account)
    )
    return element(
        "header",
        element("h1", run.name, " ", status),
        element("p", f"{in_time(run.started)} on {run.host}", class_="quiet"),
        None if run.reason is None else element("p", run.reason, class_="reason"),
        element("dl", *figures, class_="figures"),
    )


def _sections(account: Account) -> Iterable[Markup | None]:
    yield from (_failure(component, account) for component in account.run.components)
    yield _warnings(account)
    yield from (_exhibit(exhibit) for exhibit in account.run.exhibits)
    yield _time(account)
    yield _streams(account)
    yield _stores(account)
    yield _learning(account)
    yield _models(account)
    yield _guards(account)
    yield _components(account)
    yield _troubles(account)


def _section(title: str, *content: Markup | None) -> Markup:
    return element("section", element("h2", title), *content)


def _failure(component: Component, account: Account) -> Markup | None:
    if component.status != "failed":
        return None
    log = None
    if component.log is not None:
        log = element("p", "The whole log: ", _link(component.log))
    return element(
        "section",
        element("h2", f"{component.name} failed"),
        element("p", component.reason or ""),
        element("pre", "\n".join(component.last_lines) or "(it wrote nothing)"),
        log,
        class_="failure",
    )


def _warnings(account: Account) -> Markup | None:
    if not account.run.warnings:
        return None
    items = (element("li", warning) for warning in account.run.warnings)
    return _section("Not as planned", element("ul", *items))


def _exhibit(exhibit: Exhibit) -> Markup:
    return _section(
        exhibit.title,
        paragraphs(exhibit.text),
        None if exhibit.picture is None else _figure(exhibit.picture, exhibit.title),
        table(exhibit.columns, exhibit.rows) if exhibit.columns else None,
    )


def _figure(picture: Picture, title: str) -> Markup:
    content = b64encode(picture.content).decode("ascii")
    image = element("img", src=f"data:{picture.media_type};base64,{content}", alt=title)
    return element("figure", image)


def _time(account: Account) -> Markup:
    legend = element(
        "p",
        *(
            element("span", element("i", class_=f"key {kind}"), text)
            for kind, text in passages.legend(account)
        ),
        class_="legend",
    )
    return _section("How the time went", legend, timeline(account), element("p", passages.TIMELINE))


def _streams(account: Account) -> Markup | None:
    if not account.run.streams and not account.streams:
        return None
    columns = ("component", "", "ranks", "steps", "data", "rate", "in calls", "waited", "longest")
    groups = {
        joined((name, " ", element("code", url) if url != name else None)): [
            _stream_row(side) for side in sides
        ]
        for (name, url), sides in groupby(account.streams, key=lambda one: (one.stream, one.url))
    }
    silent = [
        name for name in account.run.streams if name not in {s.stream for s in account.streams}
    ]
    return _section(
        "Streams",
        grouped_table(columns, groups) if groups else None,
        element("p", f"Nothing was recorded of {', '.join(silent)}.") if silent else None,
        element("p", passages.STREAMS),
    )


def _stream_row(side: StreamSide) -> tuple[object, ...]:
    return (
        side.component,
        f"{side.side}, in the background" if side.background else side.side,
        side.ranks,
        side.steps,
        in_bytes(side.nbytes),
        in_rate(side.nbytes * side.ranks, side.seconds),
        _part(side.calling_seconds, side.seconds),
        _part(side.waiting_seconds, side.seconds),
        in_seconds(side.longest_wait),
    )


def _part(seconds: float, of: float) -> Markup:
    """A duration, and what share it is."""
    share = in_percent(min(seconds / of, 1.0)) if of > 0 else ""
    return joined((share, " ", element("small", in_seconds(seconds))))


def _stores(account: Account) -> Markup | None:
    if not account.run.stores and not account.stores:
        return None
    places = table(
        ("store", "used by", "URL"),
        (
            (name, ", ".join(store.users), element("code", store.url))
            for name, store in account.run.stores.items()
        ),
    )
    columns = ("component", "keys", "puts", "written", "gets", "read", "in calls", "waited")
    uses = table(
        columns,
        (
            (
                use.component,
                element("code", shorten(use.keys)),
                use.puts or None,
                in_bytes(use.put_bytes) if use.puts else None,
                use.gets or None,
                in_bytes(use.got_bytes) if use.gets else None,
                in_seconds(use.calling_seconds),
                in_seconds(use.waiting_seconds) if use.waiting_seconds else None,
            )
            for use in account.stores
        ),
    )
    return _section(
        "Stores",
        places if account.run.stores else None,
        uses if account.stores else element("p", "Nothing was recorded of them."),
    )


def _learning(account: Account) -> Markup | None:
    if not account.starvation and not account.stalls:
        return None
    trainers = table(
        ("trainer", "first wait", "later waits", "starved", "of its time"),
        (
            (
                one.component,
                in_seconds(one.first_wait),
                one.waits,
                in_seconds(one.seconds),
                in_percent(one.share),
            )
            for one in account.starvation
        ),
    )
    stalls = table(
        ("producer", "held up by", "times", "stalled", "longest"),
        (
            (
                one.producer,
                one.component,
                one.waits,
                in_seconds(one.seconds),
                in_seconds(one.longest),
            )
            for one in account.stalls
        ),
    )
    return _section(
        "Starvation and stalls",
        trainers if account.starvation else None,
        stalls if account.stalls else element("p", "No producer waited for room in a reservoir."),
        element("p", passages.LEARNING),
    )


def _models(account: Account) -> Markup | None:
    if not account.published and not account.followed:
        return None
    published = table(
        ("model", "published by", "versions", "every", "size"),
        (
            (
                one.model,
                one.component,
                one.versions,
                in_seconds(one.interval) if one.versions > 1 else "",
                in_bytes(one.nbytes),
            )
            for one in account.published
        ),
    )
    followed = table(
        ("model", "followed by", "taken", "last", "in force after", "refused"),
        (
            (
                one.model,
                one.component,
                one.taken,
                one.last,
                "" if one.delay is None else in_seconds(one.delay),
                passages.by_reason(one.refused) or "0",
            )
            for one in account.followed
        ),
    )
    latest = account.marks[-_LATEST_VERSIONS:]
    events = table(
        ("at", "model", "version", "what", "by", "why"),
        (
            (
                in_seconds(max(mark.seconds - account.clock.started, 0.0)),
                mark.model,
                mark.version,
                mark.what,
                mark.component,
                mark.reason,
            )
            for mark in latest
        ),
    )
    title = f"The last {len(latest)} of {counted(len(account.marks), 'change')}"
    return _section(
        "Models",
        published if account.published else None,
        followed if account.followed else None,
        element("details", element("summary", title), events),
    )


def _guards(account: Account) -> Markup | None:
    if not account.guarded:
        return None
    rows = (
        (
            one.component,
            one.guard,
            in_count(one.calls),
            in_count(one.fallbacks),
            in_percent(one.share),
            passages.by_reason(one.reasons),
            in_seconds(one.seconds / one.calls) if one.calls else "",
        )
        for one in account.guarded
    )
    legend = element(
        "p",
        element("span", element("i", class_="key model"), "the model"),
        element("span", element("i", class_="key physics"), "the physics stood in"),
        class_="legend",
    )
    return _section(
        "Guards",
        table(("component", "guard", "calls", "physics", "share", "reasons", "a call"), rows),
        legend,
        guard_lanes(account),
    )


def _components(account: Account) -> Markup:
    rows = []
    for one in account.run.components:
        lived = (one.ended or account.run.ended) - one.started if one.started else None
        rows.append(
            (
                one.name,
                element("span", one.status, class_=f"status {_GOOD.get(one.status, 'so-so')}"),
                one.ranks,
                one.restarts,
                "" if lived is None else in_seconds(lived),
                in_seconds(one.cpu_seconds),
                in_bytes(one.memory_peak) if one.memory_peak else "",
            )
        )
    columns = ("component", "status", "ranks", "restarts", "time", "processor time", "memory")
    return _section("Components", table(columns, rows), *map(_last_lines, account.run.components))


def _last_lines(component: Component) -> Markup:
    return element(
        "details",
        element("summary", component.name, ": last lines, and logs"),
        None if component.reason is None else element("p", component.reason),
        element("pre", "\n".join(component.last_lines) or "(it wrote nothing)"),
        element("p", *(joined((_link(log), " ")) for log in component.logs)),
    )


def _link(path: str) -> Markup:
    return element("a", path, href=quote(path))


def _troubles(account: Account) -> Markup | None:
    if not account.troubles:
        return None
    items = (element("li", trouble) for trouble in account.troubles)
    return _section("What could not be read", element("ul", *items))


def _footer(account: Account) -> Markup:
    run = account.run
    return element(
        "footer",
        element(
            "p",
            f"Dovetail {run.dovetail}. Drawn from {run.directory}: ",
            *(joined((_link(name), " ")) for name in ("plan.json", "flow.json", "run.json")),
            f"and {counted(account.events, 'trace event')}.",
        ),
    )
