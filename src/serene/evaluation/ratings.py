"""Ratings: the value of each dimension, true and as a model gave it, utterance by utterance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from serene.errors import SereneError
from serene.evaluation.answers import COLUMNS, Answers, shared_columns

TRUTH = "truth_"  # begins the name of a column of true values


@dataclass(frozen=True, eq=False, kw_only=True)
class Ratings(Answers):
    """Values of dimensions, true and predicted, of one or more runs, a row per utterance, part, fold and seed.

    Its table on disk has a column `truth_arousal` and a column `arousal` for the dimension `arousal`, and so on; values
    are written with 9 significant digits, which tell any two float32 apart.

    Attributes:
        truth: float64 (utterance, dimension), on the native scale of each.
        prediction: float64 (utterance, dimension), what the model gave.
        dimensions: name of each.

    Raises:
        SereneError: what `Answers` refuses, a value that is not finite, or dimensions whose columns would have a name
            twice.
    """

    kind = "ratings"
    numbers = "values"
    labels = "dimensions"
    wanted = f"{TRUTH}<dimension>,<dimension>' and so on"

    dimensions: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check what the docstring promises."""
        super().__post_init__()
        for column in (self.truth, self.prediction):
            if column.shape != (len(self), len(self.dimensions)):
                raise SereneError(f"Ratings have values {column.shape} for {len(self.dimensions)} dimensions.")
            self._check_finite(column)
        check_names(self.dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions."""
        return self.dimensions

    @classmethod
    def from_values(
        cls,
        *,
        ids: Sequence[str],
        speakers: Sequence[str],
        truth: np.ndarray | Sequence[Sequence[float]],
        prediction: np.ndarray | Sequence[Sequence[float]],
        dimensions: Sequence[str],
        part: str,
        fold: str | int,
        seed: int,
    ) -> Ratings:
        """Put the values of one part of one run into a table.

        Args:
            ids: names of the utterances (utterance,).
            speakers: who speaks (utterance,).
            truth: true values (utterance, dimension).
            prediction: what the model gave (utterance, dimension).
            dimensions: name of each.
            part: `validation` or `test`.
            fold: the fold's name or number.
            seed: the run's seed.
        """
        n, dimensions = len(ids), tuple(dimensions)
        both = (np.asarray(values, dtype=np.float64) for values in (truth, prediction))
        true, given = (values if values.size else values.reshape(n, len(dimensions)) for values in both)
        shared = shared_columns(ids, speakers, [part] * n, [fold] * n, [int(seed)] * n)
        return cls(**shared, truth=true, prediction=given, dimensions=dimensions)

    def _reordered(self, places: list[int]) -> Self:
        names = tuple(self.dimensions[place] for place in places)
        return replace(self, truth=self.truth[:, places], prediction=self.prediction[:, places], dimensions=names)

    def _header(self) -> list[str]:
        return _columns(self.dimensions)

    def _cells(self) -> Iterator[list[str]]:
        pairs = np.stack([self.truth, self.prediction], axis=2).reshape(len(self), -1)
        for values in pairs.tolist():
            yield [f"{value:.9g}" for value in values]

    @classmethod
    def _named(cls, header: list[str]) -> tuple[str, ...]:
        names = tuple(header[1::2])
        return names if header == _columns(names) else ()

    @classmethod
    def _made(
        cls,
        shared: dict[str, np.ndarray],
        texts: list[tuple[str, ...]],
        numbers: np.ndarray,
        names: tuple[str, ...],
        where: str,
    ) -> Self:
        return cls(**shared, truth=numbers[:, ::2], prediction=numbers[:, 1::2], dimensions=names)


def check_names(dimensions: Sequence[str]) -> None:
    """Raise SereneError where dimensions cannot be told apart in a table: none, or columns of one name."""
    header = [*COLUMNS, *_columns(dimensions)]
    if not dimensions or len(set(header)) != len(header):
        raise SereneError(
            f"The dimensions {list(dimensions)} cannot be kept in a table with the columns {header}: there has to be a "
            "dimension, and no two columns may have one name. Name the corpus's columns otherwise."
        )


def _columns(dimensions: Sequence[str]) -> list[str]:
    return [column for name in dimensions for column in (f"{TRUTH}{name}", name)]
