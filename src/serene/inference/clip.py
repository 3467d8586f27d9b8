"""Clips are what a model's front end made of sounds; like lengths side by side they are a network's inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

MOST_VALUES = 120 * 16_000  # of a batch, padding included: two minutes of samples, or some of MFCC's eight


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound as a model hears it; plain arrays, which travel between processes.

    Attributes:
        duration: of the sound, in seconds.
        features: float32 (frame, feature); None where `note` says that there is no speech.
        voice: float32 (coefficient,) the clip's mean cepstra, where the model asks for them.
        note: why there is nothing to score: `too short`, `silence` or `noise`.
    """

    duration: float
    features: np.ndarray | None = None
    voice: np.ndarray | None = None
    note: str | None = None


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch for a network.

    Attributes:
        features: float32 (batch, frame, feature), zeros after each clip's end.
        lengths: int64 (batch,) valid frames.
        enrolment: float32 (batch, 2, feature) mean and deviation of the speaker's frames, where the model asks for it.
        enrolled: int64 (batch,) how many frames those were.
        voice: float32 (batch, coefficient) the speaker's mean cepstra, where the model asks for them.
    """

    features: np.ndarray
    lengths: np.ndarray
    enrolment: np.ndarray | None = None
    enrolled: np.ndarray | None = None
    voice: np.ndarray | None = None


class Network(Protocol):
    """A model at rest, in whatever runs it; safe to call from several threads.

    Attributes:
        what: for people: "ONNX, fp32, cpu".
    """

    what: str

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Give logits, or values of dimensions, (batch, emotion), and embeddings (batch, feature): float32."""
        ...
