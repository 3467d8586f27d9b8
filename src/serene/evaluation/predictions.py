"""Predictions: the class that a model decided for and its score for each, utterance by utterance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from serene.errors import SereneError, unknown
from serene.evaluation.answers import COLUMNS, Answers, shared_columns

DECISIONS = ("truth", "prediction")
MOST_CLASSES = 20  # laid out one by one, in a row of the table, a confusion matrix or beside every speaker
BEST = 10  # scores of a row that are kept where there are more classes


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions(Answers):
    """Scores and decisions of one or more runs, a row per utterance, part, fold and seed.

    Above `MOST_CLASSES` classes a row of the table on disk holds its `BEST` scores (more where the last of them is
    shared) and the true class's. The other cells are empty, and are read as 0. Should a score be negative, all cells
    are written. Scores are written with 6 significant digits.

    Attributes:
        truth: the label as an index into `classes` (utterance,).
        prediction: the decision as an index into `classes` (utterance,).
        scores: float64 (utterance, emotion); usually probabilities, larger is likelier.
        classes: name of each emotion.

    Raises:
        SereneError: what `Answers` refuses, a score that is not finite, an unknown class, or a class named like a
            column.
    """

    kind = "predictions"
    numbers = "scores"
    labels = "emotions"
    words = len(DECISIONS)
    wanted = f"{','.join(DECISIONS)}' and one column per emotion"

    scores: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check what the docstring promises."""
        super().__post_init__()
        if self.scores.shape != (len(self), len(self.classes)):
            raise SereneError(f"Predictions have scores {self.scores.shape} for {len(self.classes)} classes.")
        taken = (*COLUMNS, *DECISIONS)
        if set(self.classes) & set(taken) or len(set(self.classes)) != len(self.classes):
            raise SereneError(f"The classes {list(self.classes)} must differ from each other and from {list(taken)}.")
        self._check_finite(self.scores)
        for column in (self.truth, self.prediction):
            if len(self) and not 0 <= column.min() <= column.max() < len(self.classes):
                raise SereneError(f"A class index is outside 0 to {len(self.classes) - 1} ({list(self.classes)}).")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @classmethod
    def from_scores(
        cls,
        *,
        ids: Sequence[str],
        speakers: Sequence[str],
        truth: Sequence[str] | np.ndarray,
        scores: np.ndarray,
        classes: Sequence[str],
        part: str,
        fold: str | int,
        seed: int,
    ) -> Predictions:
        """Decide for the highest score of each row (utterance, emotion).

        Args:
            ids: names of the utterances (utterance,).
            speakers: who speaks (utterance,).
            truth: labels as names, or as indices into `classes` (utterance,).
            scores: (utterance, emotion).
            classes: name of each emotion.
            part: `validation` or `test`.
            fold: the fold's name or number.
            seed: the run's seed.
        """
        n, classes = len(ids), tuple(classes)
        scores = np.asarray(scores, dtype=np.float64).reshape(n, -1)
        return cls(
            **shared_columns(ids, speakers, [part] * n, [fold] * n, [int(seed)] * n),
            truth=_indices(truth, classes, "predictions"),
            prediction=scores.argmax(axis=1) if scores.size else np.zeros(0, dtype=np.int64),
            scores=scores,
            classes=classes,
        )

    def _reordered(self, places: list[int]) -> Self:
        new = np.argsort(places)
        return replace(
            self,
            truth=new[self.truth],
            prediction=new[self.prediction],
            scores=self.scores[:, places],
            classes=tuple(self.classes[place] for place in places),
        )

    def _header(self) -> list[str]:
        return [*DECISIONS, *self.classes]

    def _cells(self) -> Iterator[list[str]]:
        """Write label, decision and the scores of each row, or those that are kept of it."""
        whole = not self._sparse(len(self.classes)) or self.scores.min(initial=0.0) < 0
        for truth, prediction, scores in zip(self.truth, self.prediction, self.scores, strict=True):
            decided = [self.classes[truth], self.classes[prediction]]
            if whole:
                yield decided + [f"{score:.6g}" for score in scores.tolist()]
                continue
            kept = (scores >= np.partition(scores, -BEST)[-BEST]) & (scores > 0)
            kept[truth] = True
            cells = [""] * len(scores)
            for place in np.flatnonzero(kept).tolist():
                cells[place] = f"{scores[place]:.6g}"
            yield decided + cells

    @classmethod
    def _named(cls, header: list[str]) -> tuple[str, ...]:
        return tuple(header[cls.words :]) if tuple(header[: cls.words]) == DECISIONS else ()

    @classmethod
    def _sparse(cls, width: int) -> bool:
        return width > MOST_CLASSES

    @classmethod
    def _made(
        cls,
        shared: dict[str, np.ndarray],
        texts: list[tuple[str, ...]],
        numbers: np.ndarray,
        names: tuple[str, ...],
        where: str,
    ) -> Self:
        truth, prediction = (_indices(column, names, where) for column in texts)
        return cls(**shared, truth=truth, prediction=prediction, scores=numbers, classes=names)


def _indices(labels: Sequence[str] | np.ndarray, classes: tuple[str, ...], where: str) -> np.ndarray:
    if isinstance(labels, np.ndarray) and np.issubdtype(labels.dtype, np.integer):
        return labels.astype(np.int64)
    place = {name: index for index, name in enumerate(classes)}
    strange = next((str(label) for label in labels if str(label) not in place), None)
    if strange is not None:
        raise SereneError(f"{where}: {unknown('emotion', strange, classes)}")
    return np.array([place[str(label)] for label in labels], dtype=np.int64)
