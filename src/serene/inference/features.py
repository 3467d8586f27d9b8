"""Samples become what a model's network reads, by the front end that its folder names, after a check for speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serene.inference.clip import Clip


@dataclass(frozen=True)
class Listener:
    """Turns sounds into clips for one model, without the model: picklable, thread-safe, free of torch for MFCC.

    Attributes:
        front_end: makes the features.
        hears_voices: whether the model asks for the speaker's mean cepstra.
        longest: seconds of the longest sound that is taken.
    """

    front_end: Any
    hears_voices: bool
    longest: float

    def __call__(self, sound: Any, rate: int | None = None) -> Clip:
        """Decode a sound, look for speech in it, and make its features."""
        raise NotImplementedError
