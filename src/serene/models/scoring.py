"""A model scores a part of a split, once for all: validation exactly as the test, and as it is served."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serene.audio.dataset import Dataset
from serene.models.model import EmotionModel
from serene.models.network import Network
from serene.models.torch_network import TorchNetwork

TOGETHER = 64  # clips of a batch, at most


@dataclass(frozen=True)
class Scores:
    """What a model says of some clips.

    Attributes:
        ids: of the clips, in the dataset's order.
        outputs: float64 (utterance, name): probabilities, whose rows sum to 1, or values of dimensions.
        embeddings: float32 (utterance, feature), the vector that heads and probes read.
    """

    ids: tuple[str, ...]
    outputs: np.ndarray
    embeddings: np.ndarray


def score(model: EmotionModel, dataset: Dataset, *, batch_size: int = TOGETHER, device: str = "cpu") -> Scores:
    """Score every clip in full precision; neither order nor batch size changes a number.

    The model is left in the mode (training or evaluation) that it was in.
    """
    was_training = model.training
    model.eval()
    scores = scored(TorchNetwork(model, device=device), dataset, model.temperature, batch_size)
    model.train(was_training)
    return scores


def scored(network: Network, dataset: Dataset, temperature: float, batch_size: int = TOGETHER) -> Scores:
    """Score every clip by a network, whatever runs it; see `score`."""
    rows = {}
    for batch in dataset.in_order(network.clips(dataset.store.front_end.spec, batch_size)):
        outputs, embeddings = network(batch)
        for name, *row in zip(batch.ids, dataset.task.scores(outputs, temperature), embeddings, strict=True):
            rows[name] = row
    ids = tuple(u.id for u in dataset.utterances)
    return Scores(ids, np.stack([rows[i][0] for i in ids]), np.stack([rows[i][1] for i in ids]))
