"""Trust: what files name beside the tables is imported, or fetched, only where their user has named it too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from serene.errors import SereneError, quoted

Names = str | Iterable[str] | None
_trusted: set[str] = set()
_authored: ContextVar[bool] = ContextVar("_authored", default=False)


def accept(names: Names) -> None:
    """Trust code (`package.module:Name`) or weights (a folder or hub name) that files name, in this process."""
    _trusted.update([names] if isinstance(names, str) else names or ())


def trusted() -> frozenset[str]:
    """Give all names that are trusted, for a process that is started to do a part of the work."""
    return frozenset(_trusted)


@contextlib.contextmanager
def authored() -> Iterator[None]:
    """Trust the code that is named inside: by a recipe or a program, whose author runs it. Read no folder there."""
    before = _authored.set(True)
    try:
        yield
    finally:
        _authored.reset(before)


def need_trust(name: str, what: str) -> None:
    """Refuse a name that is not trusted.

    Raises:
        SereneError: nobody who uses this process has named it.
    """
    if _authored.get():
        _trusted.add(name)
    elif name not in _trusted:
        raise SereneError(
            f"{what} '{quoted(name)}' is not serene's own, and no file decides what is imported or fetched. If you "
            f"trust it, add --trust {quoted(name, 100)}; in Python, trust=."
        )


def placed(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Give settings that a model folder brings; their weights lie inside the folder, or are trusted.

    Raises:
        SereneError: they lie elsewhere, or are to be fetched.
    """
    settings = dict(settings)
    name = settings.get("weights")
    if name is None:
        return settings
    home = folder.resolve()
    inside = (home / str(name)).resolve()
    if inside.is_dir() and home in inside.parents:
        return {**settings, "weights": str(inside)}
    need_trust(str(name), f"{folder} reads weights that do not lie in it, and")
    return settings
