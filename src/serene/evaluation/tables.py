"""What a model says of some clips becomes a table, beside the clips' own labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serene.corpora.manifest import Utterance
from serene.evaluation.predictions import Predictions
from serene.evaluation.ratings import Ratings
from serene.evaluation.ratings import check_names as check_dimensions
from serene.task import Task


def predictions_of(
    outputs: np.ndarray,
    clips: Sequence[Utterance],
    task: Task,
    *,
    part: str,
    fold: str,
    seed: int,
) -> Predictions | Ratings:
    """Put what a model says of some clips into a table, beside the clips' own labels.

    Args:
        outputs: probabilities (utterance, emotion), or values of dimensions.
        clips: in the order of the outputs.
        task: what they are answers to.
        part: `validation` or `test`.
        fold: the fold's name.
        seed: the training's.
    """
    shared = {"ids": [u.id for u in clips], "speakers": [u.speaker for u in clips]}
    run = {"part": part, "fold": fold, "seed": seed}
    if task.gives == "values":
        truth = np.array([[u.number(name) for name in task.names] for u in clips], dtype=np.float64)
        return Ratings.from_values(**shared, truth=truth, prediction=outputs, dimensions=task.names, **run)
    labels = [str(u.emotion) for u in clips]
    return Predictions.from_scores(**shared, truth=labels, scores=outputs, classes=task.names, **run)


def check_names(task: Task) -> None:
    """Raise SereneError where a task's names cannot be told apart in a table."""
    if task.gives == "values":
        check_dimensions(task.names)
