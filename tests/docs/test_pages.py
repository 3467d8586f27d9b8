"""The pages hold together: links, navigation, words, sizes, versions, figures, and a site that builds."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tree
import yaml
from pages import DOCS, PAGES, PROJECT, README, ROOT, name, prose

import serene
from page import part

# What the field calls otherwise, as a regular expression, and what to say instead.
BANNED = {
    r"stranger": "unseen speaker",
    r"acquaint": "training-speaker record",
    r"\bleak": "speaker probe (of a model), overlap (of a split)",
    r"portrait": "corpus report",
    r"\bcrossings?\b": "cross-corpus",
    r"\bhear(s|d|ing)?\b|heard_|hearing_": "use, read, or enrolled with unlabelled clips",
    r"\bin_turn\b|\bdealt?\b|\bdealing\b|\bhalving\b": "leave-one-group-out, partition, split-half",
}
OF_PAGES = {r"listener": "rater", r"\bcells?\b": "trial, or figure"}
ALLOWED = (  # said of something else, or of an old name
    "the other cells are empty",
    "empty cells",
    "`leak`",
    "heard.json",
    "Nothing to hear",
)
TEXTS = [
    *(
        file
        for folder in ("src", "benchmarks", "results")
        for end in ("py", "md")
        for file in (ROOT / folder).rglob(f"*.{end}")
    ),
    *(ROOT / "recipes").rglob("*.yaml"),
]


def misnamed(file: Path, banned: dict[str, str]) -> list[str]:
    """Find the words of a text that the field does not use, with what is around them."""
    text = " ".join(file.read_text(encoding="utf-8").split())
    for phrase in ALLOWED:
        text = text.replace(phrase, "")
    places = ((instead, re.search(word, text, re.IGNORECASE)) for word, instead in banned.items())
    return [
        f"{name(file)}: say {instead}: ...{text[max(0, place.start() - 40) : place.end() + 40]}..."
        for instead, place in places
        if place
    ]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "mkdocs.yml"], ids=name)
def test_words_are_those_of_the_field(page: Path) -> None:
    assert misnamed(page, BANNED | OF_PAGES) == []


def test_words_of_the_code_and_of_results_are_those_of_the_field() -> None:
    assert [place for file in TEXTS for place in misnamed(file, BANNED)] == []


def test_whoever_is_enrolled_is_enrolled_with_unlabelled_clips() -> None:
    for page in (README, DOCS / "index.md"):
        for paragraph in page.read_text(encoding="utf-8").split("\n\n"):
            assert "enrolled" not in paragraph or "unlabelled" in paragraph, f"{name(page)}: {paragraph}"


def test_the_readme_is_short() -> None:
    assert len(README.read_bytes()) <= 10_000


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.is_file(), f"{name(page)} links to {target}"
        if anchor and aim.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", prose(aim), re.MULTILINE)
            slugs = {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
            assert anchor in slugs, f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_and_files_that_are_mentioned_exist(page: Path) -> None:
    text = prose(page)
    for mentioned in re.findall(r"`(serene(?:\.\w+)+)", text):
        pkgutil.resolve_name(mentioned)
    for mentioned in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|yaml|md))`", text):
        there = mentioned.endswith("/x.py") or any((folder / mentioned).exists() for folder in (ROOT, tree.SOURCE))
        assert there, f"{name(page)} names {mentioned}"


def test_every_page_is_in_the_navigation() -> None:
    text = re.search(r"^nav:\n(.*?)^\w", (ROOT / "mkdocs.yml").read_text(), re.M | re.S)
    listed = re.findall(r"\S+\.md", text[1] if text else "")
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_versions_agree() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == serene.__version__ == PROJECT["project"]["version"]
    assert serene.__version__ in (ROOT / "CHANGELOG.md").read_text()
    assert cited["license"] == PROJECT["project"]["license"]


def test_first_page_shows_what_was_measured() -> None:
    measured = importlib.import_module("random_split")
    assert part(DOCS / "index.md", measured.PART) == measured.table()


def test_padding_costs_what_the_benchmarks_page_says() -> None:
    padding = importlib.import_module("padding")
    page = (ROOT / "benchmarks" / "README.md").read_text()
    shown = {
        int(size): (float(a), float(b))
        for size, a, b in re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|", page, re.M)
    }
    measured = {row["batch_size"]: (row["length_buckets"], row["random"]) for row in padding.measure()["overhead"]}
    assert shown.keys() == measured.keys()
    for size, (bucketed, at_random) in measured.items():
        assert bucketed <= 1.10
        assert shown[size] == pytest.approx((bucketed, at_random), abs=0.01)


@pytest.mark.slow
def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    for needed in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(needed)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "serene.protocols.split.Split" in (tmp_path / "site" / "reference" / "protocols" / "index.html").read_text()
