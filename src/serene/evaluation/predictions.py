"""Predictions: what a model answered for each utterance, and the table it is kept in (CSV, or CSV in gzip)."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from serene.errors import SereneError, unknown
from serene.files import whole_file

COLUMNS = ("id", "speaker", "part", "fold", "seed", "truth", "prediction")
PARTS = ("validation", "test")
MOST_CLASSES = 20  # laid out one by one, in a row of the table, a confusion matrix or beside every speaker
BEST = 10  # scores of a row that are kept where there are more classes


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Scores and decisions of one or more runs, a row per utterance, part, fold and seed.

    Attributes:
        id: name of each utterance (utterance,).
        speaker: who speaks (utterance,).
        part: `validation` or `test` (utterance,).
        fold: name of the fold (utterance,), text.
        seed: seed of the run (utterance,), integers.
        truth: the label as an index into `classes` (utterance,).
        prediction: the decision as an index into `classes` (utterance,).
        scores: float64 (utterance, emotion); usually probabilities, larger is likelier.
        classes: name of each emotion.

    Raises:
        SereneError: columns of different lengths, a score that is not finite, an unknown part or class, a class named
            like a column, or an utterance that occurs twice in one part of one run.
    """

    id: np.ndarray
    speaker: np.ndarray
    part: np.ndarray
    fold: np.ndarray
    seed: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check what the docstring promises."""
        n = len(self.id)
        lengths = {name: len(getattr(self, name)) for name in (*COLUMNS, "scores")}
        if set(lengths.values()) != {n} or self.scores.shape != (n, len(self.classes)):
            raise SereneError(
                f"Predictions have columns of different lengths: {lengths}, scores {self.scores.shape} "
                f"for {len(self.classes)} classes."
            )
        clash = set(self.classes) & set(COLUMNS)
        if clash or len(set(self.classes)) != len(self.classes):
            raise SereneError(f"The classes {list(self.classes)} must differ from each other and from {list(COLUMNS)}.")
        if not np.isfinite(self.scores).all():
            row = int(np.argmin(np.isfinite(self.scores).all(axis=1)))
            raise SereneError(f"The scores of utterance '{self.id[row]}' are not finite numbers.")
        for column in (self.truth, self.prediction):
            if n and not 0 <= column.min() <= column.max() < len(self.classes):
                raise SereneError(f"A class index is outside 0 to {len(self.classes) - 1} ({list(self.classes)}).")
        for part in set(self.part.tolist()) - set(PARTS):
            raise SereneError(unknown("part", part, PARTS))
        self._check_repeats()

    def _check_repeats(self) -> None:
        seen: set[tuple] = set()
        for key in zip(self.id.tolist(), self.part.tolist(), self.fold.tolist(), self.seed.tolist(), strict=True):
            if key in seen:
                raise SereneError(
                    f"Utterance '{key[0]}' occurs twice in the {key[1]} part of fold {key[2]}, seed {key[3]}."
                )
            seen.add(key)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.id)

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
        classes = tuple(classes)
        scores = np.asarray(scores, dtype=np.float64).reshape(len(ids), -1)
        return cls(
            id=_texts(ids),
            speaker=_texts(speakers),
            part=_texts([part] * len(ids)),
            fold=_texts([fold] * len(ids)),
            seed=np.full(len(ids), int(seed)),
            truth=_indices(truth, classes, "predictions"),
            prediction=scores.argmax(axis=1) if scores.size else np.zeros(0, dtype=np.int64),
            scores=scores,
            classes=classes,
        )

    @staticmethod
    def concatenate(parts: Iterable[Predictions]) -> Predictions:
        """Put the rows of several runs under each other; their classes must be the same, in any order."""
        parts = list(parts)
        if not parts:
            raise SereneError("There are no predictions to put together: no run has finished.")
        parts = [part.ordered(parts[0].classes) for part in parts]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*COLUMNS, "scores")}
        return Predictions(**columns, classes=parts[0].classes)

    def select(self, *, part: str | None = None, fold: str | int | None = None, seed: int | None = None) -> Predictions:
        """Keep the rows of a part, a fold, a seed, or any combination; there may be none."""
        keep = np.ones(len(self), dtype=bool)
        if part is not None:
            keep &= self.part == part
        if fold is not None:
            keep &= self.fold == str(fold)
        if seed is not None:
            keep &= self.seed == seed
        return self.rows(keep)

    def rows(self, which: np.ndarray) -> Predictions:
        """Keep rows by a mask or by their indices (utterance,)."""
        columns = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name != "classes"}
        return replace(self, **columns)

    def ordered(self, classes: Sequence[str]) -> Predictions:
        """Bring the classes into another order.

        Raises:
            SereneError: the two sets of classes differ.
        """
        classes = tuple(classes)
        if classes == self.classes:
            return self
        if set(classes) != set(self.classes):
            raise SereneError(
                f"The predictions are over different emotions: {sorted(self.classes)} and {sorted(classes)}. "
                "Only runs with the same `labels` can be put together."
            )
        old = [self.classes.index(name) for name in classes]
        new = np.argsort(old)
        return replace(
            self,
            truth=new[self.truth],
            prediction=new[self.prediction],
            scores=self.scores[:, old],
            classes=classes,
        )

    def write(self, path: str | Path) -> None:
        """Write the table whole or not at all: scores with 6 significant digits, gzip where the name ends in `.gz`.

        Above `MOST_CLASSES` classes a row holds its `BEST` scores (more where the last of them is shared) and the true
        class's. The other cells are empty, and are read as 0. Should a score be negative, all cells are written.

        The same predictions give the same bytes, and so do the predictions that are read back.
        """
        table = io.BytesIO()  # a byte a letter, where a StringIO takes four
        text = io.TextIOWrapper(table, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*COLUMNS, *self.classes])
        names = np.array(self.classes)
        columns = (self.id, self.speaker, self.part, self.fold, self.seed, names[self.truth], names[self.prediction])
        rows = zip(*(column.tolist() for column in columns), self._cells(), strict=True)
        writer.writerows((*row, *cells) for *row, cells in rows)
        text.flush()
        data = table.getvalue()
        with whole_file(path) as temporary:
            temporary.write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)

    def _cells(self) -> Iterator[list[str]]:
        """Write the scores of each row, or those that are kept of it."""
        whole = len(self.classes) <= MOST_CLASSES or self.scores.min(initial=0.0) < 0
        for truth, scores in zip(self.truth, self.scores, strict=True):
            if whole:
                yield [f"{score:.6g}" for score in scores.tolist()]
                continue
            kept = (scores >= np.partition(scores, -BEST)[-BEST]) & (scores > 0)
            kept[truth] = True
            cells = [""] * len(scores)
            for place in np.flatnonzero(kept).tolist():
                cells[place] = f"{scores[place]:.6g}"
            yield cells

    @classmethod
    def read(cls, path: str | Path) -> Predictions:
        """Read a table that `write` made.

        Raises:
            SereneError: no such file, not such a table, or a bad row (named by its line).
        """
        path = Path(path)
        try:
            data = path.read_bytes()
            data = gzip.decompress(data) if path.name.endswith(".gz") else data
            rows = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="\n"))
            header = next(rows, [])
            if tuple(header[: len(COLUMNS)]) != COLUMNS or len(header) < len(COLUMNS) + 2:
                raise SereneError(
                    f"{path} is not a table of predictions: its first line is '{','.join(header)[:80]}', "
                    f"expected '{','.join(COLUMNS)}' and one column per emotion."
                )
            columns, scores = _parsed(rows, len(header), data.count(b"\n"), str(path))
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
            raise SereneError(f"Cannot read the predictions {path}: {error}") from error
        classes = tuple(header[len(COLUMNS) :])
        return cls(
            **{name: _texts(column) for name, column in zip(COLUMNS[:4], columns, strict=False)},
            seed=np.array(columns[4]),
            truth=_indices(columns[5], classes, str(path)),
            prediction=_indices(columns[6], classes, str(path)),
            scores=scores,
            classes=classes,
        )


def _parsed(rows: Iterable[list[str]], width: int, most: int, where: str) -> tuple[list[tuple], np.ndarray]:
    """Parse a table's rows, at most so many: its first columns, seeds as numbers, and scores (utterance, emotion)."""
    first, scores = [], np.zeros((most, width - len(COLUMNS)))
    sparse = scores.shape[1] > MOST_CLASSES
    for number, row in enumerate(rows, 2):
        if len(row) != width:
            raise SereneError(f"{where}, line {number}: {len(row)} columns, expected {width}.")
        cells = enumerate(row[len(COLUMNS) :])
        try:
            first.append((*row[:4], int(row[4]), *row[5 : len(COLUMNS)]))
            kept = {place: float(cell) for place, cell in cells if cell or not sparse}
        except ValueError as error:
            raise SereneError(
                f"{where}, line {number}: {error}; seeds are whole numbers and scores are numbers."
            ) from error
        scores[len(first) - 1, list(kept)] = list(kept.values())
    if not first:
        raise SereneError(f"{where} holds no predictions.")
    return list(zip(*first, strict=True)), scores[: len(first)]


def _texts(values: Iterable[object]) -> np.ndarray:
    return np.array([str(value) for value in values], dtype=np.str_)


def _indices(labels: Sequence[str] | np.ndarray, classes: tuple[str, ...], where: str) -> np.ndarray:
    if isinstance(labels, np.ndarray) and np.issubdtype(labels.dtype, np.integer):
        return labels.astype(np.int64)
    place = {name: index for index, name in enumerate(classes)}
    strange = next((str(label) for label in labels if str(label) not in place), None)
    if strange is not None:
        raise SereneError(f"{where}: {unknown('emotion', strange, classes)}")
    return np.array([place[str(label)] for label in labels], dtype=np.int64)
