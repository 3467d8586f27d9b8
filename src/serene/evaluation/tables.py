"""What a model says of some clips becomes a table, beside the clips' own labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serene.corpora.manifest import Utterance
from serene.evaluation.predictions import Predictions
from serene.evaluation.ratings import Ratings


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
