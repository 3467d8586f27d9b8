"""Mistakes a user can mend, each one message: what is wrong, what was expected, what to do.

::

    SereneError            every mistake that ends in exit code 2 without a traceback
    ├── AudioError         a sound that cannot be decoded or holds nothing
    │   └── FrontEndError  a sound that a front end does not take
    └── MissingExtra       an optional dependency that is not installed
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

# control characters but tab and line feed, overrides of the direction of writing, and halves of characters
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class SereneError(Exception):
    """A mistake in what the user gave; its text is shown as it is, without a traceback."""


class AudioError(SereneError):
    """A sound that cannot be decoded, is empty or is not finite."""


class FrontEndError(AudioError):
    """A front end does not take a sound; whoever knows which file it is names that."""


class MissingExtra(SereneError):
    """A part of serene whose optional dependencies are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        """Name what is missing and the command that installs it."""
        super().__init__(f"{what} is not installed. Install it with: pip install 'serene-ser[{extra}]'")
        self.what, self.extra = what, extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        """Travel between processes: an exception is made again from its message alone otherwise."""
        return type(self), (self.what, self.extra)


def quoted(content: object, most: int = 300) -> str:
    """Quote what a file holds: as it is, or its first characters and how many there are in all.

    >>> quoted("neutral"), quoted("x" * 5000, 24)
    ('neutral', 'xxxxxxx... (5000 in all)')
    """
    text = str(content)
    end = f"... ({len(text)} in all)"
    return text if len(text) <= most else text[: most - len(end)] + end


def first_line(error: BaseException) -> str:
    """Give what another library's error begins with, without a full stop; its kind where it says nothing."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def printable(text: str, instead: Callable[[re.Match[str]], str] | str = "\N{REPLACEMENT CHARACTER}") -> str:
    """Replace in a text what would steer a terminal: control characters, and those that turn its direction."""
    return STEERING.sub(instead, text)


def unknown(kind: str, name: object, choices: Iterable[str]) -> str:
    """Say that a name is not among the choices, suggest the nearest one and list them all."""
    choices = sorted(choices)
    near = difflib.get_close_matches(str(name), choices, n=1)
    suggestion = f" Did you mean '{near[0]}'?" if near else ""
    return f"Unknown {kind} '{quoted(name)}'.{suggestion} Choices: {', '.join(choices)}."
