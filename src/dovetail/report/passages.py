"""What both the page and the summary say about a run."""

from __future__ import annotations

from collections.abc import Iterable

from dovetail.quantities import counted, in_bytes, in_count, in_percent, in_seconds
from dovetail.report.account import Account

TIMELINE = (
    "Columns show how each moment was shared: waiting for another process in a call of the main "
    "thread, moving data in the rest of such calls, and everything else, which counts as "
    "computing. The line below a lane is the data that the rank moved in all its threads, up to "
    "its own highest rate. A pale lane recorded nothing."
)
STREAMS = (
    "Steps are those of each rank, added up; a reader's are those that brought data. Shares are "
    "of the time from the first call to the last. A reader in the background waits beside the "
    "program, at no cost to it."
)
LEARNING = (
    "The first wait is, as a rule, the filling of the reservoir; each later one kept the trainer "
    "from a gradient step. Waits below 0.1 ms are left out."
)


CHANGES = ("published", "taken", "refused")
"""What can happen to a version of a model."""


def figures(account: Account) -> list[tuple[str, str]]:
    """The few numbers that say most: what, and how much."""
    run = account.run
    ranks = sum(component.ranks for component in run.components)
    found = [
        ("time", in_seconds(run.seconds)),
        ("components", f"{len(run.components)} ({counted(ranks, 'rank')})"),
    ]
    if account.nbytes:
        found.append(("published data", in_bytes(account.nbytes)))
    if account.starvation:
        worst = max(one.share for one in account.starvation)
        found.append(("trainer starved", in_percent(worst)))
    if account.published:
        found.append(("model versions", in_count(sum(one.versions for one in account.published))))
    refused = sum(count for one in account.followed for _, count in one.refused)
    if refused:
        found.append(("versions refused", in_count(refused)))
    calls = sum(one.calls for one in account.guarded)
    if calls:
        share = sum(one.fallbacks for one in account.guarded) / calls
        found.append(("physics stood in", in_percent(share)))
    restarts = sum(component.restarts for component in run.components)
    if restarts:
        found.append(("restarts", in_count(restarts)))
    return found


def legend(account: Account) -> list[tuple[str, str]]:
    """What the colours and marks of the timeline stand for, those that are used."""
    keys = [("computed", "computed"), ("moved", "moved data"), ("waited", "waited")]
    happened = {mark.what for mark in account.marks}
    keys += [(what, f"model {what}") for what in CHANGES if what in happened]
    if any(component.restarts for component in account.run.components):
        keys.append(("restart", "restart"))
    return keys


def by_reason(counts: Iterable[tuple[str, int]]) -> str:
    """``input range 12, no model 3``."""
    return ", ".join(f"{reason} {in_count(count)}" for reason, count in counts)
