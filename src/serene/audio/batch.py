"""Batch: what a model reads, clips padded to the longest of them; and which clips share a batch.

Its arrays are of numpy where a model answers without torch, and tensors where it learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from serene.speaker import SpeakerContext

MOST_VALUES = 120 * 16_000  # of a batch that is scored, padding included: two minutes of samples
JITTER = 0.08  # how far (in log length) clips may stray from the order of their lengths, so that batches vary


@dataclass(frozen=True, eq=False)
class Batch:
    """A few clips side by side.

    Attributes:
        inputs: (batch, frame, feature); a waveform's samples are frames of one feature. Zeros after each clip's end.
        lengths: (batch,) valid frames.
        target: (batch, name) what is to be learnt: shares of classes, or values of dimensions.
        speaker: (batch,) index among the training speakers, -1 for anybody else.
        ids: the utterances, in order.
        own_lengths: (batch,) valid frames of the clips themselves: fewer where a front end fills clips up.
        context: what is known of each clip's speaker, where the model asks for it.
        clusters: (batch, frame) index of each frame's cluster, -1 where it has none, for masked prediction.
        encoded: whether the inputs are what the encoder's frozen part gives, instead of the front end.
    """

    inputs: Any
    lengths: Any
    target: Any = None
    speaker: Any = None
    ids: tuple[str, ...] = ()
    own_lengths: Any = None
    context: SpeakerContext | None = None
    clusters: Any = None
    encoded: bool = False

    def mapped(self, change: Callable[[Any], Any]) -> Batch:
        """Change every array, such as to a tensor."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("ids", "context", "encoded")}
        made = {name: change(array) for name, array in arrays.items() if array is not None}
        return replace(self, **made, context=self.context and self.context.mapped(change))

    def to(self, device: Any) -> Batch:
        """Return the batch with its tensors on a device."""
        return self.mapped(lambda tensor: tensor.to(device))


def padded(features: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Stack features (frame, feature) of several clips into (batch, frame, feature); with their lengths (batch,)."""
    lengths = np.array([len(own) for own in features], dtype=np.int64)
    stacked = np.zeros((len(features), int(lengths.max()), features[0].shape[1]), dtype=np.float32)
    for row, own in zip(stacked, features, strict=True):
        row[: len(own)] = own
    return stacked, lengths


def by_length(lengths: Sequence[int] | np.ndarray, width: int, batch_size: int) -> Iterator[list[int]]:
    """Yield indices of clips to be scored in batches of like length, the shortest first; no score depends on how.

    A batch has at most `batch_size` clips, and its inputs of `width` features per frame at most `MOST_VALUES` values,
    padding included, but for a clip that has more alone.
    """
    batch: list[int] = []
    for index in np.argsort(lengths, kind="stable").tolist():
        if batch and (len(batch) == batch_size or (len(batch) + 1) * lengths[index] * width > MOST_VALUES):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def length_buckets(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Put every training clip once into batches of like length (the last may be smaller), the batches in random order.

    Lengths (clip,) are jittered by a few per cent before they are sorted, so that a small corpus does not give the same
    batches every epoch; `benchmarks/padding.py` measures what that costs.
    """
    order = _jittered(lengths, rng)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:  # a clip on its own has no batch statistics
        batches[-2:] = [np.concatenate(batches[-2:])]
    return [batches[i] for i in rng.permutation(len(batches))]


def duration_batches(lengths: np.ndarray, most: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Put every training clip once into batches of like length and of at most so many frames, padding included.

    A clip that is longer makes a batch of its own; the batches come in random order.
    """
    batches, longest = list[list[int]]([[]]), 0
    for clip in _jittered(lengths, rng).tolist():
        longest = max(int(lengths[clip]), longest if batches[-1] else 0)
        if batches[-1] and longest * (len(batches[-1]) + 1) > most:
            batches.append([])
            longest = int(lengths[clip])
        batches[-1].append(clip)
    return [np.array(batches[i]) for i in rng.permutation(len(batches))]


def _jittered(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.argsort(np.log(lengths) + rng.uniform(-JITTER, JITTER, len(lengths)))
