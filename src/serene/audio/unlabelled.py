"""Clips that are heard for their sound alone: waveforms cut at random, each with its frames' cluster indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from serene.audio.batch import Batch
from serene.audio.clusters import Clusters
from serene.audio.dataset import Dataset, features, known_indices, padded, samples_of
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Utterance
from serene.errors import SereneError
from serene.sound import SAMPLE_RATE

SHORTEST_SHARE = 0.9  # of the encoder's frames that must have an index, or the labels are of other audio


class Unlabelled(Dataset):
    """Clips for masked prediction; no label is looked at.

    Args:
        utterances: the clips.
        clusters: the store of their cluster indices.
        stride: samples from one of the encoder's frames to the next.
        crop: samples of a clip that are heard at once, from a random place; shorter clips are taken whole.
        known: persons with a vector of their own, in the order of their indices.
        groups: of each clip, what it is held out for; for validation.

    Raises:
        SereneError: the indices of a clip are of another length than the clip.
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
        waveform: Any = Waveform()
        self.store = Store(clusters.folder.parent, waveform)
        self.clusters, self.stride, self.crop = clusters, stride, crop
        own = [round((u.duration or len(samples_of(u)) / SAMPLE_RATE) * SAMPLE_RATE) for u in self.utterances]
        self.lengths = np.minimum(np.array(own, dtype=np.int64), crop)
        self.known = known_indices(self.utterances, known)

    def batch(self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Collect clips into a batch; without a generator long clips are cut at their beginning."""
        chosen = [self.utterances[i] for i in indices]
        parts = [self._part(utterance, rng.random() if rng else 0.0) for utterance in chosen]
        inputs, lengths = padded([samples for samples, _ in parts])
        clusters = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(labels) for _, labels in parts], batch_first=True, padding_value=-1
        )
        nobody, nothing = torch.full((len(chosen),), -1), torch.zeros(len(chosen), 0)
        ids = tuple(u.id for u in chosen)
        return Batch(inputs, lengths, nothing, nobody, ids, known=self.known[indices], clusters=clusters)

    def _part(self, utterance: Utterance, place: float) -> tuple[np.ndarray, np.ndarray]:
        samples, maker = samples_of(utterance), self.clusters.maker
        assert isinstance(maker, Clusters)
        labels = features(utterance, self.clusters)
        start = int(place * (max(0, len(samples) - self.crop) // self.stride + 1)) * self.stride
        heard = samples[start : start + self.crop]
        indices = maker.at(labels, start, len(heard), self.stride)
        if (indices >= 0).mean() < SHORTEST_SHARE:
            raise SereneError(
                f"'{utterance.id}' has {len(labels)} cluster indices, too few for its {len(samples)} samples: they are "
                f"of other audio. Delete {self.clusters.folder} and run again."
            )
        return self.store.maker(heard), indices
