"""The languages whose clients are tested, as parameters of tests."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet
from clients.engine import LANGUAGES

SCHEMES = ("shm", *(f"{language}+shm" for language in LANGUAGES))
NEEDS = {"fortran": "gfortran", "fortran+shm": "gfortran"}


def _param(*values: str) -> ParameterSet:
    needed = {NEEDS[value] for value in values if value in NEEDS}
    marks = [pytest.mark.requires(program) for program in sorted(needed)]
    return pytest.param(*values, marks=marks, id="-".join(values))


def between(writer: str, reader: str) -> ParameterSet:
    """A pair of schemes."""
    return _param(writer, reader)


every_language = pytest.mark.parametrize("language", [_param(name) for name in LANGUAGES])
