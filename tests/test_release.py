"""What a release promises of the versions it runs with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAD, *PINS = (ROOT / "requirements.lock").read_text().splitlines()
LOCKED = {canonicalize_name(name): version for name, _, version in (pin.partition("==") for pin in PINS)}
TRIED = ("train", "hub", "export", "lora", "track", "serve", "demo", "docs", "dev")  # extras that all tests run with
WANTED = [*PROJECT["dependencies"], *(text for extra in TRIED for text in PROJECT["optional-dependencies"][extra])]
WANTED = [one for one in map(Requirement, WANTED) if one.name != PROJECT["name"]]


def test_every_line_pins_one_version_and_tells_of_no_machine() -> None:
    assert HEAD.startswith("#")
    assert len(LOCKED) == len(PINS) > len(WANTED)
    for pin in PINS:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin), pin


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_the_locked_versions_are_those_that_are_asked_for(wanted: Requirement) -> None:
    assert wanted.specifier.contains(LOCKED[canonicalize_name(wanted.name)])


def test_a_release_builds_tries_audits_and_lists() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    commands = "\n".join(step.get("run", "") for step in jobs["wheel"]["steps"])
    for part in ("make wheel", "pip-audit --requirement requirements.lock", "dist/sbom.json"):
        assert part in commands
    assert jobs["publish"]["needs"] == "wheel"
