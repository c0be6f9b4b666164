"""What a run looked like: a summary for the terminal, and a page that needs no network.

- :mod:`dovetail.report.directory`: what a run left in its directory.
- :mod:`dovetail.report.activity`, :mod:`~dovetail.report.traffic`, :mod:`~dovetail.report.learning`
  and :mod:`~dovetail.report.models`: what its recordings come to, one question each.
- :mod:`dovetail.report.account`: all of that, of one run.
- :mod:`dovetail.report.text`, :mod:`dovetail.report.page`: the account for people.

Only the directory is read: a report can be drawn again, elsewhere, and long after the run.
"""

from __future__ import annotations

import os
from pathlib import Path

from dovetail.report.account import Account, account_of
from dovetail.report.page import page
from dovetail.report.text import text

FILE = "report.html"


def write(run: str | os.PathLike[str] | Account) -> Path:
    """Draw the report of a run as ``report.html`` in its directory.

    Parameters
    ----------
    run
        The directory of the run, or the account of it. A run that goes on can be drawn as well.

    Returns
    -------
    Path
        The page: one file, which opens without a network. It appears whole.

    Raises
    ------
    FileNotFoundError
        If this is no directory of a run.
    CorruptDataError
        If ``run.json`` is damaged. Damaged recordings and exhibits are only named on the page.
    OSError
        If the page cannot be written.
    """
    account = _account(run)
    path = account.run.directory / FILE
    aside = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        aside.write_text(page(account), encoding="utf-8", errors="backslashreplace")
        return aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def summary(run: str | os.PathLike[str] | Account) -> str:
    """What matters most about a run, in lines of at most 100 characters.

    Parameters and errors are those of :func:`write`.
    """
    return text(_account(run))


def _account(run: str | os.PathLike[str] | Account) -> Account:
    return run if isinstance(run, Account) else account_of(run)


__all__ = ["Account", "account_of", "summary", "write"]
