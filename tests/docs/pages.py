"""What the tests of the documentation share: the pages, and the snippets in them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from serene import cli

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
VERBS: dict[str, Any] = typer.main.get_command(cli.app).commands  # pyright: ignore[reportAttributeAccessIssue]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

FENCE = re.compile(
    r"(?:^<!-- not executed: (?P<excuse>\S.*?) -->\n)?"
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """A fence of a page; a title makes it a file, an excuse keeps it from being run."""

    where: str
    language: str
    body: str
    title: str | None = None
    excuse: str | None = None


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body"))
        found.append(Snippet(f"{name(page)}:{line}", *match.group("language", "body", "title", "excuse")))
    return found


def prose(page: Path) -> str:
    """Give a page without its fences and comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.DOTALL)


def commands(script: str) -> list[str]:
    lines = script.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
