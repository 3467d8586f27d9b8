"""Real speech of any length: clips of the package's sample, one speaker's after another."""

from __future__ import annotations

from functools import cache
from itertools import cycle, islice

import numpy as np

from serene import sound
from serene.corpora.sample import read
from serene.sound import SAMPLE_RATE


def speech(number: int, seconds: float) -> np.ndarray:
    """Join a speaker's clips from the numbered one on, at 16 kHz, until so many seconds are full: float32 (sample,)."""
    clips = _clips()
    own = list(clips.values())[number % len(clips)]
    samples = np.concatenate(list(islice(cycle(own), number % len(own), number % len(own) + len(own))))
    return np.resize(samples, round(seconds * SAMPLE_RATE))


@cache
def _clips() -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    for utterance in read():
        found.setdefault(utterance.speaker, []).append(sound.read(utterance.audio))
    return found
