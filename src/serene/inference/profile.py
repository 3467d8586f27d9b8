"""Profile: what a model has to know of a speaker, from their unlabelled clips; nothing that gives the audio back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, eq=False)
class Profile:
    """A speaker's statistics, made by `Recognizer.enrol`; `clips`, `seconds`, `model` (the model's identity), ..."""

    model: str
    clips: int
    seconds: float

    @classmethod
    def read(cls, path: str | Path) -> Profile:
        """Read a file that `write` wrote."""
        raise NotImplementedError

    def write(self, path: str | Path) -> None:
        """Write the profile as JSON, whole or not at all."""
        raise NotImplementedError
