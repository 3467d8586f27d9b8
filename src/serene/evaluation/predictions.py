"""Predictions: what models said of each utterance beside what is true; and their table on disk (CSV, also in gzip)."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from serene.errors import SereneError, unknown
from serene.evaluation.columns import COLUMNS, SHARED, check_names, parsed, task_of
from serene.files import regular, whole_file
from serene.task import Task

PARTS = ("validation", "test")
AT_ONCE = 4096  # words that are put into an array
TEXT = np.dtypes.StringDType()  # a byte a letter, where `str_` takes four for each of the longest word's


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Scores and decisions of one or more runs, a row per utterance, part, fold and seed.

    Attributes:
        task: what was predicted.
        id: name of each utterance (utterance,).
        speaker: who speaks (utterance,).
        part: `validation` or `test` (utterance,).
        fold: name of the fold (utterance,), text.
        seed: seed of the run (utterance,), integers.
        truth: index of the true class (utterance,), or float64 (utterance, dimension) on the native scale of each.
        prediction: what was decided, in the same way.
        scores: float64 (utterance, name): of classes usually probabilities, larger is likelier; or the values of
            dimensions, which are the decision too.

    Raises:
        SereneError: columns of different lengths, an unknown part, an utterance that occurs twice in one part of one
            run, names that the columns of a table could not tell apart, a number that is not finite, or a class that
            there is not.
    """

    task: Task
    id: np.ndarray
    speaker: np.ndarray
    part: np.ndarray
    fold: np.ndarray
    seed: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        """Check what the docstring promises."""
        columns = COLUMNS[self.task.gives]
        lengths = {name: len(getattr(self, name)) for name in self._arrays()}
        if set(lengths.values()) != {len(self.id)}:
            raise SereneError(f"Predictions have columns of different lengths: {lengths}.")
        for part in set(self.distinct("part")) - set(PARTS):
            raise SereneError(unknown("part", part, PARTS))
        self._check_once()
        check_names(self.task)
        if self.scores.shape != (len(self), len(self.names)):
            raise SereneError(
                f"Predictions have {columns.numbers} {self.scores.shape} for {len(self.names)} {self.task.noun}s."
            )
        for labels in (self.truth, self.prediction):
            columns.check(self.task, labels)
        for numbers in (self.scores, self.truth):
            finite = np.isfinite(numbers).all(axis=tuple(range(1, numbers.ndim)))
            if not finite.all():
                name = self.id[int(np.argmin(finite))]
                raise SereneError(f"The {columns.numbers} of utterance '{name}' are not finite numbers.")

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.id)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes or the dimensions."""
        return self.task.names

    @classmethod
    def from_scores(
        cls,
        *,
        ids: Sequence[str],
        speakers: Sequence[str],
        truth: Sequence[Any] | np.ndarray,
        scores: np.ndarray | Sequence[Sequence[float]],
        task: Task,
        part: str,
        fold: str | int,
        seed: int,
    ) -> Self:
        """Make the table of one part of one run; of classes, the highest score of each row is decided for.

        Truths are labels as names or indices of classes (utterance,), or values (utterance, dimension); scores are
        (utterance, name).
        """
        n, given = len(ids), np.asarray(scores, dtype=np.float64)
        given = given if given.size else given.reshape(n, len(task.names))
        return cls(
            task=task,
            **_shared(ids, speakers, [part] * n, [fold] * n, [int(seed)] * n),
            truth=COLUMNS[task.gives].truth(truth, task, "predictions"),
            prediction=task.decide(given),
            scores=given,
        )

    @classmethod
    def of_clips(
        cls, clips: Sequence[Any], scores: np.ndarray, task: Task, *, part: str, fold: str | int, seed: int
    ) -> Self:
        """Put what a model says of some clips (utterance, name) beside the clips' own labels."""
        where: dict[str, Any] = {"part": part, "fold": fold, "seed": seed}
        ids, speakers = ([getattr(clip, name) for clip in clips] for name in ("id", "speaker"))
        return cls.from_scores(ids=ids, speakers=speakers, truth=task.truth(clips), scores=scores, task=task, **where)

    @staticmethod
    def concatenate(parts: Iterable[Predictions]) -> Predictions:
        """Put the rows of several runs, of the same names in any order, under each other, or raise SereneError."""
        parts = list(parts)
        if not parts:
            raise SereneError("There are no predictions to put together: no run has finished.")
        parts = [part.like(parts[0]) for part in parts]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0]._arrays()}
        return replace(parts[0], **columns)

    def select(self, *, part: str | None = None, fold: str | int | None = None, seed: int | None = None) -> Self:
        """Keep the rows of a part, a fold, a seed, or any combination; there may be none."""
        wanted = ((self.part, part), (self.fold, None if fold is None else str(fold)), (self.seed, seed))
        kept = [column == value for column, value in wanted if value is not None]
        return self.rows(np.logical_and.reduce([np.ones(len(self), dtype=bool), *kept]))

    def distinct(self, column: str) -> list[Any]:
        """List the values of a column of words or seeds, each once, in the order of their first rows."""
        values, first = np.unique(getattr(self, column), return_index=True)
        return values[np.argsort(first)].tolist()

    def rows(self, which: np.ndarray) -> Self:
        """Keep rows by a mask or by their indices (utterance,)."""
        if which.dtype == bool and which.all():
            return self
        return replace(self, **{name: getattr(self, name)[which] for name in self._arrays()})

    def rescored(self, scores: np.ndarray) -> Self:
        """Decide again, by other scores of the same utterances (utterance, name)."""
        return replace(self, scores=scores, prediction=self.task.decide(scores))

    def ordered(self, names: Sequence[str]) -> Self:
        """Bring the names into another order, or raise SereneError where they are others."""
        names, columns = tuple(names), COLUMNS[self.task.gives]
        if names == self.names:
            return self
        if set(names) != set(self.names):
            raise SereneError(
                f"The predictions are over different {self.task.noun}s: {sorted(self.names)} and {sorted(names)}. "
                "Only runs with the same `labels` can be put together."
            )
        places = [self.names.index(name) for name in names]
        return replace(
            self,
            task=replace(self.task, names=names),
            truth=columns.reordered(self.truth, places),
            prediction=columns.reordered(self.prediction, places),
            scores=self.scores[:, places],
        )

    def like(self, other: Predictions) -> Self:
        """Bring the names into another's order, or raise SereneError where it is of another kind or other names."""
        if self.task.gives != other.task.gives:
            raise SereneError(
                f"Some of these runs give {other.task.noun}s and some {self.task.noun}s: they answer different "
                "questions, and cannot be put together or compared."
            )
        return self.ordered(other.names)

    def write(self, path: str | Path) -> None:
        """Write the table whole or not at all; in gzip where the name ends in `.gz`."""
        data = self.to_bytes()
        with whole_file(path) as temporary:
            temporary.write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)

    def to_bytes(self) -> bytes:
        """Give the table as CSV in UTF-8.

        The same predictions give the same bytes, and so do the predictions that are read back.
        """
        table = io.BytesIO()  # a byte a letter, where a StringIO takes four
        text, columns = io.TextIOWrapper(table, encoding="utf-8", newline=""), COLUMNS[self.task.gives]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*SHARED, *columns.header(self.names)])
        shared = (getattr(self, name).tolist() for name in SHARED)
        own = columns.rows(self.task, self.truth, self.prediction, self.scores)
        writer.writerows((*row, *cells) for *row, cells in zip(*shared, own, strict=True))
        text.flush()
        return table.getvalue()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a table that `write` made; its header tells the task, as far as whether it is of classes or dimensions.

        Raises:
            SereneError: no such file, not such a table, or a bad row (named by its line).
        """
        try:
            opened: Any = gzip.open if str(path).endswith(".gz") else open
            with opened(regular(path), "rt", encoding="utf-8", newline="\n") as file:
                most = sum(1 for _ in file)
                file.seek(0)
                rows = csv.reader(file)
                task = task_of(next(rows, []), str(path))
                words, numbers = parsed(rows, task, most, str(path))
            columns = COLUMNS[task.gives]
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
            raise SereneError(f"Cannot read the predictions {path}: {error}") from error
        shared, own = _shared(*words[: len(SHARED)]), words[len(SHARED) :]
        return cls(task=task, **shared, **columns.parsed(task, own, numbers, str(path)))

    def _arrays(self) -> list[str]:
        """Name the columns that have a row per utterance."""
        return [field.name for field in fields(self) if field.name != "task"]

    def _check_once(self) -> None:
        """Refuse an utterance that occurs twice in one part of one run."""
        runs = zip(*(np.unique(getattr(self, name), return_inverse=True)[1] for name in SHARED[2:]), strict=True)
        keys = np.fromiter(map(hash, zip(self.id, runs, strict=True)), np.int64, len(self))
        order = np.argsort(keys, kind="stable")
        same = np.diff(keys[order]) == 0
        alike = order[np.r_[False, same] | np.r_[same, False]] if len(self) else order
        columns = (getattr(self, name)[np.sort(alike)].tolist() for name in ("id", *SHARED[2:]))
        for (name, part, fold, seed), times in Counter(zip(*columns, strict=True)).items():
            if times > 1:
                raise SereneError(f"Utterance '{name}' occurs twice in the {part} part of fold {fold}, seed {seed}.")


def _shared(ids: Iterable[str], *others: Iterable[Any]) -> dict[str, Any]:
    """Make the columns of every table (utterance,): words, and seeds as integers."""
    *words, seeds = others
    columns = (_texts(ids, TEXT), *(_texts(column, np.str_) for column in words), np.array(seeds, dtype=np.int64))
    return dict(zip(SHARED, columns, strict=True))


def _texts(column: Iterable[Any], kind: Any) -> np.ndarray:
    """Make an array of words, some thousand at a time: as a list they would take more memory than the array does."""
    left = map(str, column)
    parts = [np.array(some, dtype=kind) for some in iter(lambda: [*itertools.islice(left, AT_ONCE)], [])]
    return np.concatenate(parts) if parts else np.array([], dtype=kind)
