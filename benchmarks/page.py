"""Pages hold parts that scripts write, between a pair of markers: `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations

from pathlib import Path

from serene.files import write_text


def part(page: Path, name: str) -> str:
    """Give a part of a page.

    Raises:
        SystemExit: a marker is missing.
    """
    return _cut(page, page.read_text(), name)[1]


def put(page: Path, parts: dict[str, str]) -> None:
    """Replace parts of a page by their names, all of them or none.

    Raises:
        SystemExit: a marker is missing.
    """
    text = page.read_text()
    for name, written in parts.items():
        before, _, after = _cut(page, text, name)
        text = f"{before}\n{written.rstrip()}\n{after}"
    write_text(page, text)


def _cut(page: Path, text: str, name: str) -> tuple[str, str, str]:
    """Give what stands before a part, with its marker, the part, and what follows."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(begin)
    inside, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page} has no {begin} with {end}.")
    return before + begin, inside.strip(), end + after
