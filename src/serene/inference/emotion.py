"""Emotion: what a model says of one sound, or why it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Segment:
    """A part of a long sound.

    It begins and ends so many seconds from the sound's beginning; label, scores and note are as an Emotion's.
    """

    start: float
    end: float
    label: str | None
    scores: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**vars(self), "scores": dict(self.scores)}


@dataclass(frozen=True, eq=False)
class Emotion:
    """What a model says of one sound.

    Attributes:
        label: the class with the highest score; None where `note` says why there is none, and for models of dimensions.
        scores: each class's probability, or each dimension's value on its native scale; empty where nothing was scored.
        duration: of the sound, in seconds.
        embedding: float32 (feature,), the vector that the head reads; None where nothing was scored.
        segments: the parts of a long sound, where a timeline was asked for.
        note: `too short`, `silence` or `no speech` where there is nothing to score, `uncertain` where the highest
            score is below the threshold that was asked for.
        remark: what there is to say of a sound that was scored nonetheless; `serene.inference.features.REMARKS`.
        adapted_to: whose clips the model was adapted to: how many of a speaker, a folder or a recording; None for none.
    """

    label: str | None
    scores: Mapping[str, float]
    duration: float
    embedding: np.ndarray | None = field(default=None, repr=False)
    segments: tuple[Segment, ...] = ()
    note: str | None = None
    remark: str | None = None
    adapted_to: str | None = None

    def abstaining(self, threshold: float | None) -> Emotion:
        """Return the same without a label, noted `uncertain`, if the highest score is below a threshold."""
        if threshold is None or self.label is None or self.scores[self.label] >= threshold:
            return self
        return replace(self, label=None, note="uncertain")

    def to_dict(self, *, embedding: bool = False) -> dict[str, Any]:
        """Return plain data that `json` writes; without a note the remark is its note, the embedding is asked for."""
        plain = {"label": self.label, "scores": dict(self.scores), "duration": self.duration}
        plain["note"] = self.note or self.remark
        if self.adapted_to:
            plain["adapted_to"] = self.adapted_to
        if self.segments:
            plain["segments"] = [segment.to_dict() for segment in self.segments]
        if embedding:
            plain["embedding"] = None if self.embedding is None else self.embedding.tolist()
        return plain
