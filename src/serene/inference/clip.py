"""Clip: a sound as a model reads it, or why there is nothing to read; plain arrays, which travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound as a model reads it.

    Attributes:
        duration: of the sound, in seconds.
        features: float32 (frame, feature); None where `note` says that there is no speech.
        cepstra: float32 (coefficient,) the clip's mean cepstra, where the model asks for them.
        note: why there is nothing to score: `too short`, `silence` or `noise`.
    """

    duration: float
    features: np.ndarray | None = None
    cepstra: np.ndarray | None = None
    note: str | None = None
