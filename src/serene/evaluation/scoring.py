"""A model scores a part of a split, once for all: validation exactly as the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from serene.audio.dataset import Dataset
from serene.corpora.manifest import Utterance
from serene.evaluation import metrics
from serene.evaluation.predictions import Predictions
from serene.evaluation.ratings import Ratings
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


def predictions_of(
    outputs: np.ndarray,
    clips: Sequence[Utterance],
    emotions: Sequence[str],
    *,
    part: str,
    fold: str,
    seed: int,
    dimensions: bool = False,
) -> Predictions | Ratings:
    """Put what a model says of some clips into a table, beside the clips' own labels.

    Args:
        outputs: probabilities (utterance, emotion), or values of dimensions.
        clips: in the order of the outputs.
        emotions: the classes or dimensions, in the order of the outputs.
        part: `validation` or `test`.
        fold: the fold's name.
        seed: the training's.
        dimensions: whether the outputs are values of dimensions, and the table so `Ratings`.
    """
    shared = {"ids": [u.id for u in clips], "speakers": [u.speaker for u in clips]}
    run = {"part": part, "fold": fold, "seed": seed}
    if dimensions:
        truth = np.array([[u.number(name) for name in emotions] for u in clips], dtype=np.float64)
        return Ratings.from_values(**shared, truth=truth, prediction=outputs, dimensions=emotions, **run)
    labels = [str(u.emotion) for u in clips]
    return Predictions.from_scores(**shared, truth=labels, scores=outputs, classes=emotions, **run)


def measured(model: EmotionModel, dataset: Dataset, *, device: str = "cpu") -> dict[str, float]:
    """Score validation clips; give what a training logs of them and may select on.

    Returns:
        `validation_ua`, `validation_wa` and `validation_loss`; of dimensions `validation_ccc`, the mean over them.
    """
    scores = score(model, dataset, device=device)
    if model.dimensions:
        return {"validation_ccc": float(metrics.ccc(dataset.targets.numpy(), scores.outputs).mean())}
    truth = dataset.targets.argmax(dim=1).numpy()
    tally = metrics.tally(truth, scores.outputs.argmax(axis=1), dataset.targets.shape[1])
    chosen = scores.outputs[np.arange(len(truth)), truth]
    return {
        "validation_ua": float(metrics.ua(tally)),
        "validation_wa": float(metrics.wa(tally)),
        "validation_loss": float(-np.log(np.maximum(chosen, 1e-12)).mean()),
    }


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
        outputs = model.classify(model.hidden(embeddings)).double()
        outputs = outputs if model.dimensions else (outputs / model.temperature).softmax(dim=1)
        for name, *row in zip(batch.ids, outputs.cpu().numpy(), embeddings.cpu().numpy(), strict=True):
            rows[name] = row
    model.train(was_training)
    ids = tuple(u.id for u in dataset.utterances)
    return Scores(ids, np.stack([rows[i][0] for i in ids]), np.stack([rows[i][1] for i in ids]))
