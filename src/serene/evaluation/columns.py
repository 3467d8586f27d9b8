"""How truths, decisions and scores stand in a table of predictions: what a task gives decides.

Classes have the columns `truth`, `prediction` and a score for each class, with 6 significant digits. Dimensions have
`truth_arousal` and `arousal` for the dimension `arousal`, and so on, with 9 digits, which tell any two float32 apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from serene.corpora.columns import Column
from serene.errors import SereneError, unknown
from serene.task import Dimensions, Task

SHARED = ("id", "speaker", "part", "fold", "seed")  # of every table, in this order
DECISIONS = ("truth", "prediction")
TRUTH = "truth_"  # begins the name of a column of true values
MOST_CLASSES = 20  # laid out one by one, in a row of the table, a confusion matrix or beside every speaker
BEST = 10  # scores of a row that are kept where there are more classes


class ClassColumns:
    """Columns of classes, behind those that every table has.

    Above `MOST_CLASSES` classes a row holds its `BEST` scores (more where the last of them is shared) and the true
    class's. The other cells are empty, and are read as 0. Should a score be negative, all cells are written.
    """

    numbers = "scores"  # of a row, as they are called
    words = len(DECISIONS)  # columns before them
    most: float = MOST_CLASSES  # names, above which cells may be left empty
    wanted = f"{','.join(DECISIONS)}' and one column per emotion"

    def header(self, names: Sequence[str]) -> list[str]:
        """Name the columns."""
        return [*DECISIONS, *names]

    def task(self, header: list[str]) -> Task | None:
        """Tell the task by its columns' names, as far as they do; None where they are of another kind."""
        names = tuple(header[len(DECISIONS) :])
        return Task(names) if names and header == self.header(names) else None

    def truth(self, found: Any, task: Task, where: str) -> np.ndarray:
        """Turn names or indices of classes into int64 indices (utterance,), or raise SereneError."""
        if isinstance(found, np.ndarray) and np.issubdtype(found.dtype, np.integer):
            return found.astype(np.int64)
        place = {name: index for index, name in enumerate(task.names)}
        missing = next((str(label) for label in found if str(label) not in place), None)
        if missing is not None:
            raise SereneError(f"{where}: {unknown(task.noun, missing, task.names)}")
        return np.array([place[str(label)] for label in found], dtype=np.int64)

    def check(self, task: Task, labels: np.ndarray) -> None:
        """Raise SereneError where truths or decisions are of no class, or not one value for each dimension."""
        last = len(task.names) - 1
        if len(labels) and not 0 <= labels.min() <= labels.max() <= last:
            raise SereneError(f"A class index is outside 0 to {last} ({list(task.names)}).")

    def reordered(self, labels: np.ndarray, places: Sequence[int]) -> np.ndarray:
        """Bring truths or decisions into the order of the names that have these places at present."""
        return np.argsort(places)[labels]

    def rows(self, task: Task, truth: np.ndarray, prediction: np.ndarray, scores: np.ndarray) -> Iterator[list[str]]:
        """Write the cells of each utterance."""
        whole = len(task.names) <= self.most or scores.min(initial=0.0) < 0
        for true, decided, own in zip(truth, prediction, scores, strict=True):
            cells = [task.names[true], task.names[decided]]
            if whole:
                yield cells + [f"{score:.6g}" for score in own.tolist()]
                continue
            kept = (own >= np.partition(own, -BEST)[-BEST]) & (own > 0)
            kept[true] = True
            yield cells + [f"{score:.6g}" if keep else "" for score, keep in zip(own.tolist(), kept, strict=True)]

    def parsed(self, task: Task, words: Sequence[Iterable[str]], numbers: np.ndarray, where: str) -> dict[str, Any]:
        """Give `truth`, `prediction` and `scores` of the columns of words and of numbers (utterance, place)."""
        truth, prediction = (self.truth(column, task, where) for column in words)
        return {"truth": truth, "prediction": prediction, "scores": numbers}


class ValueColumns(ClassColumns):
    """Columns of dimensions: what is decided is the values themselves."""

    numbers = "values"
    words = 0
    most = math.inf
    wanted = f"{TRUTH}<dimension>,<dimension>' and so on"

    def header(self, names: Sequence[str]) -> list[str]:
        """Name the columns."""
        return [column for name in names for column in (f"{TRUTH}{name}", name)]

    def task(self, header: list[str]) -> Task | None:
        """Tell the dimensions."""
        names = tuple(header[1::2])
        return Dimensions(names) if names and header == self.header(names) else None

    def truth(self, found: Any, task: Task, where: str) -> np.ndarray:
        """Take values as they are."""
        values = np.asarray(found, dtype=np.float64)
        return values if values.size else values.reshape(-1, len(task.names))

    def check(self, task: Task, labels: np.ndarray) -> None:
        """Refuse other values than one for each dimension."""
        if labels.shape[1:] != (len(task.names),):
            raise SereneError(f"Predictions have values {labels.shape} for {len(task.names)} dimensions.")

    def reordered(self, labels: np.ndarray, places: Sequence[int]) -> np.ndarray:
        """Move the values along with their dimensions."""
        return labels[:, places]

    def rows(self, task: Task, truth: np.ndarray, prediction: np.ndarray, scores: np.ndarray) -> Iterator[list[str]]:
        """Write what is true and what was predicted of each dimension beside each other."""
        for values in np.stack([truth, scores], axis=2).reshape(len(truth), -1).tolist():
            yield [f"{value:.9g}" for value in values]

    def parsed(self, task: Task, words: Sequence[Iterable[str]], numbers: np.ndarray, where: str) -> dict[str, Any]:
        """Part what is true from what was predicted."""
        return {"truth": numbers[:, ::2], "prediction": numbers[:, 1::2], "scores": numbers[:, 1::2]}


COLUMNS: dict[str, ClassColumns] = {"probabilities": ClassColumns(), "values": ValueColumns()}  # by what a task gives


def check_names(task: Task) -> None:
    """Raise SereneError where a task's names cannot be told apart in a table: none, or columns of one name."""
    header = [*SHARED, *COLUMNS[task.gives].header(task.names)]
    if not task.names or len(set(header)) != len(header):
        raise SereneError(
            f"The {task.noun}s {list(task.names)} cannot be kept in a table with the columns {header}: there has to be "
            f"a name, and no two columns may have one name. Name the corpus's {task.noun}s otherwise."
        )


def task_of(header: list[str], where: str) -> Task:
    """Tell the task by the header of a table, or raise SereneError."""
    found = (columns.task(header[len(SHARED) :]) for columns in COLUMNS.values() if header[: len(SHARED)] == [*SHARED])
    task = next((task for task in found if task), None)
    if task is None:
        wanted = ", or '".join(f"{','.join(SHARED)},{columns.wanted}" for columns in COLUMNS.values())
        raise SereneError(
            f"{where} is not a table of predictions: its first line is '{','.join(header)[:80]}', expected '{wanted}."
        )
    return task


def parsed(rows: Iterable[list[str]], task: Task, most: int, where: str) -> tuple[list[Iterable[Any]], np.ndarray]:
    """Parse rows, at most so many, or name the bad line: columns of words and seeds; and numbers (utterance, place).

    The first column, of which each word is another, is gone through once.
    """
    columns = COLUMNS[task.gives]
    words, begin = [Column() for _ in range(len(SHARED) + columns.words)], len(SHARED) + columns.words
    width = len(SHARED) + len(columns.header(task.names))
    numbers, sparse = np.zeros((most, width - begin)), len(task.names) > columns.most
    for line, row in enumerate(rows, 2):
        if len(row) != width:
            raise SereneError(f"{where}, line {line}: {len(row)} columns, expected {width}.")
        try:
            for column, word in zip(words, (*row[:4], int(row[4]), *row[len(SHARED) : begin]), strict=True):
                column.append(word)
            kept = {place: float(cell) for place, cell in enumerate(row[begin:]) if cell or not sparse}
        except ValueError as error:
            raise SereneError(
                f"{where}, line {line}: {error}; seeds are whole numbers and {columns.numbers} are numbers."
            ) from error
        numbers[len(words[0]) - 1, list(kept)] = list(kept.values())
    if not len(words[0]):
        raise SereneError(f"{where} holds no predictions.")
    rows = np.arange(len(words[0]))
    return [words[0].values(rows), *(column.at(rows) for column in words[1:])], numbers[: len(rows)]
