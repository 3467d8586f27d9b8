"""A model scores a part of a split, once for all: validation exactly as the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from serene.audio.dataset import Dataset
from serene.models.model import EmotionModel


@dataclass(frozen=True)
class Scores:
    """What a model says of some clips.

    Attributes:
        ids: of the clips, in the dataset's order.
        outputs: float64 (utterance, emotion): probabilities, whose rows sum to 1, or values of dimensions.
        embeddings: float32 (utterance, feature), the pooled vector that heads and probes read.
    """

    ids: tuple[str, ...]
    outputs: np.ndarray
    embeddings: np.ndarray


@torch.no_grad()
def score(model: EmotionModel, dataset: Dataset, *, batch_size: int = 64, device: str = "cpu") -> Scores:
    """Score every clip in full precision; neither order nor batch size changes a number.

    The model is left in the mode (training or evaluation) that it was in.
    """
    was_training = model.training
    model.eval()
    rows = {}
    for batch in dataset.in_order(batch_size):
        embeddings = model.embed(batch.to(device))
        outputs = model.classify(model.hidden(embeddings)).cpu().numpy()
        scores = model.task.scores(outputs, model.temperature)
        for name, *row in zip(batch.ids, scores, embeddings.cpu().numpy(), strict=True):
            rows[name] = row
    model.train(was_training)
    ids = tuple(u.id for u in dataset.utterances)
    return Scores(ids, np.stack([rows[i][0] for i in ids]), np.stack([rows[i][1] for i in ids]))
