"""What is said in several places is the same in all of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_package_that_the_commands_ask_for_is_pinned_within_its_range(
    project: dict[str, Any], pins: dict[str, str]
) -> None:
    extras = project["project"]["optional-dependencies"]
    asked = (
        project["build-system"]["requires"]
        + project["project"]["dependencies"]
        + [line for extra in ("dev", "docs", "examples", "redis") for line in extras[extra]]
    )
    for requirement in map(Requirement, asked):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} has no line in constraints.txt"
        assert requirement.specifier.contains(pin), f"{requirement} excludes its pin {pin}"


def test_core_dependencies_are_ranges_without_an_upper_end(project: dict[str, Any]) -> None:
    for requirement in map(Requirement, project["project"]["dependencies"]):
        assert [part.operator for part in requirement.specifier] == [">="]


def test_the_citation_names_the_version_of_the_project(project: dict[str, Any]) -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [project["project"]["version"]]


def test_every_extra_and_core_dependency_is_justified_in_the_docs(project: dict[str, Any]) -> None:
    page = (ROOT / "docs/explanation/dependencies.md").read_text()
    extras = project["project"]["optional-dependencies"]
    named = [Requirement(line).name for line in project["project"]["dependencies"] + extras["dev"]]
    missing = [name for name in [*named, *extras] if f"`{name}`" not in page]
    assert not missing
