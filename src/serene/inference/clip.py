"""Clips are what a model's front end made of sounds; side by side, by length, they are a network's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

MOST_VALUES = 120 * 16_000  # of a batch's features, padding included: two minutes of samples, eight of Tu et al.'s MFCC


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
        enrolment: float32 (batch, 2, feature) mean and deviation of the speaker's frames, or of the embeddings of the
            speaker's clips, where the model asks for either.
        enrolled: int64 (batch,) how many frames or clips those were.
        voice: float32 (batch, coefficient) the speaker's mean cepstra, where the model asks for them.
    """

    features: np.ndarray
    lengths: np.ndarray
    enrolment: np.ndarray | None = None
    enrolled: np.ndarray | None = None
    voice: np.ndarray | None = None

    @property
    def waveforms(self) -> bool:
        """Whether the features are samples; on a CPU one clip of these keeps a core busy, and batches only cost."""
        return self.features.shape[2] == 1

    def apart(self) -> Iterator[Inputs]:
        """Give the clips one at a time, without padding."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__ if getattr(self, name) is not None}
        for row, length in enumerate(self.lengths):
            own = {name: array[row : row + 1] for name, array in given.items()}
            yield Inputs(**own | {"features": own["features"][:, :length]})


class Network(Protocol):
    """A model at rest, in whatever runs it; safe to call from several threads.

    Attributes:
        what: what runs it, where and in which precision, for people.
    """

    what: str

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Give logits, or values of dimensions, (batch, emotion), and embeddings (batch, feature): float32."""
        ...


def by_length(frames: Sequence[int], width: int, batch_size: int) -> Iterator[list[int]]:
    """Deal clips into batches of like length; a batch's features hold `MOST_VALUES` at most, or a single clip.

    Args:
        frames: of each clip.
        width: features per frame.
        batch_size: clips of a batch, at most.

    Yields:
        Indices of clips, from the shortest to the longest; every clip once.
    """
    order = sorted(range(len(frames)), key=frames.__getitem__)
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) == batch_size or (len(batch) + 1) * frames[index] * width > MOST_VALUES):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def padded(features: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Stack features (frame, feature) of several clips into (batch, frame, feature); with their lengths (batch,)."""
    lengths = np.array([len(own) for own in features], dtype=np.int64)
    stacked = np.zeros((len(features), int(lengths.max()), features[0].shape[1]), dtype=np.float32)
    for row, own in zip(stacked, features, strict=True):
        row[: len(own)] = own
    return stacked, lengths


def joined(answers: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Put logits and embeddings of several batches one after the other."""
    logits, embeddings = zip(*answers, strict=True)
    return np.concatenate(logits), np.concatenate(embeddings)
