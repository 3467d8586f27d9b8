"""Recognizer: a model folder answers for sounds, one or many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from serene.inference.clip import Clip
from serene.inference.emotion import Emotion
from serene.inference.features import Listener
from serene.inference.profile import Profile

Precision = Literal["fp32", "bf16", "int8"]


class Recognizer:
    """A model that answers for sounds; safe to use from several threads."""

    listener: Listener
    labels: tuple[str, ...]

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        profile: Profile | str | Path | None = None,
        batch_size: int = 16,
        abstain: float | None = None,
        threads: int = 1,
    ) -> Recognizer:
        """Read a model: the bundled one, a folder, or a name on the Hugging Face hub."""
        raise NotImplementedError

    @property
    def info(self) -> dict[str, Any]:
        """name, classes, dimensions (bool), rate, longest, runs_on, personal (bool: uses profiles), metrics."""
        raise NotImplementedError

    @overload
    def __call__(self, sound: list[Any], rate: int | None = None, *, profile: Profile | None = None) -> list[Emotion]: ...
    @overload
    def __call__(self, sound: Any, rate: int | None = None, *, profile: Profile | None = None) -> Emotion: ...
    def __call__(self, sound: Any, rate: int | None = None, *, profile: Profile | None = None) -> Emotion | list[Emotion]:
        """Answer for a path, bytes, file, array with its rate, (array, rate) or tensor; or for a list of them."""
        raise NotImplementedError

    def hear(self, sound: Any, rate: int | None = None) -> Clip:
        """Decode, look for speech, make features; no network: for threads that run ahead. Same as `self.listener`."""
        return self.listener(sound, rate)

    def answer(
        self, clips: Sequence[Clip], *, profile: Profile | Sequence[Profile | None] | None = None
    ) -> list[Emotion]:
        """Answer for clips in their order, batched by length; one profile for all, or one for each."""
        raise NotImplementedError

    def enrol(self, sounds: Iterable[Any], rate: int | None = None) -> Profile:
        """Make a speaker's profile from their unlabelled clips."""
        raise NotImplementedError
