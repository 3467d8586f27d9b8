"""Clips that are read for their sound alone: waveforms cut at random, each with its frames' cluster indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from serene.audio.batch import Batch, padded
from serene.audio.clusters import Clusters
from serene.audio.dataset import Dataset, context_of, contexts_of, features, samples_of, tensors
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Utterance
from serene.errors import SereneError
from serene.sound import SAMPLE_RATE

MISFIT, EDGES = 0.1, 3  # share of a clip's indices, and frames at its ends, that may be too many or too few


class Unlabelled(Dataset):
    """Clips for masked prediction; no label is looked at.

    Args:
        utterances: the clips.
        clusters: the store of their cluster indices.
        stride: samples from one of the encoder's frames to the next.
        crop: samples of a clip that are read at once, from a random place; shorter clips are taken whole.
        known: persons with a vector of their own, in the order of their indices.
        groups: of each clip, what it is held out for; for validation.

    Raises:
        SereneError: a batch holds a clip whose indices are of another length than the clip.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        clusters: Store,
        *,
        stride: int,
        crop: int,
        known: Sequence[str] = (),
        groups: Sequence[str] = (),
    ) -> None:
        """Decode nothing yet: lengths come from the manifest."""
        self.utterances, self.groups = tuple(utterances), np.array(groups, dtype=np.str_)
        self.store = Store(clusters.folder.parent, Waveform())
        self.clusters, self.stride, self.crop = clusters, stride, crop
        own = [round((u.duration or len(samples_of(u)) / SAMPLE_RATE) * SAMPLE_RATE) for u in self.utterances]
        self.lengths = np.minimum(np.array(own, dtype=np.int64), crop)
        self.contexts = contexts_of((), (), self.store, known=known)

    def batch(self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Collect clips into a batch; without a generator long clips are cut at their beginning."""
        chosen = [self.utterances[i] for i in indices]
        parts = [self._part(utterance, rng.random() if rng else 0.0) for utterance in chosen]
        inputs, lengths = tensors(padded([samples for samples, _ in parts]))
        clusters = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(labels) for _, labels in parts], batch_first=True, padding_value=-1
        )
        ids, context = tuple(u.id for u in chosen), context_of(chosen, self.contexts)
        return Batch(inputs, lengths, ids=ids, context=context, clusters=clusters)

    def _part(self, utterance: Utterance, place: float) -> tuple[np.ndarray, np.ndarray]:
        samples, front_end = samples_of(utterance), self.clusters.front_end
        assert isinstance(front_end, Clusters)
        labels = features(utterance, self.clusters)
        expected = len(samples) / SAMPLE_RATE * front_end.frame_rate
        if abs(len(labels) - expected) > EDGES + MISFIT * expected:
            raise SereneError(
                f"'{utterance.id}' has {len(labels)} cluster indices, and its {len(samples)} samples have about "
                f"{expected:.0f}: they are of other audio. Delete {self.clusters.folder} and run again."
            )
        start = int(place * (max(0, len(samples) - self.crop) // self.stride + 1)) * self.stride
        part = samples[start : start + self.crop]
        return self.store.front_end(part), front_end.at(labels, start, len(part), self.stride)
