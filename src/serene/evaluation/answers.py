"""Answers: what runs gave for each utterance, whatever its kind; and their tables on disk (CSV, or CSV in gzip)."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from serene.errors import SereneError, unknown
from serene.files import whole_file

COLUMNS = ("id", "speaker", "part", "fold", "seed")  # of every table, in this order
PARTS = ("validation", "test")

A = TypeVar("A", bound="Answers")


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """Answers of one or more runs, a row per utterance, part, fold and seed; a subclass says what an answer is.

    Attributes:
        id: name of each utterance (utterance,).
        speaker: who speaks (utterance,).
        part: `validation` or `test` (utterance,).
        fold: name of the fold (utterance,), text.
        seed: seed of the run (utterance,), integers.
        truth: what is true (utterance, ...).
        prediction: what was answered, in the same way (utterance, ...).

    Raises:
        SereneError: columns of different lengths, an unknown part, or an utterance that occurs twice in one part of one
            run.
    """

    kind: ClassVar[str] = "answers"
    numbers: ClassVar[str] = "answers"  # what the numbers of a row are called
    labels: ClassVar[str] = "labels"  # what its names are called
    words: ClassVar[int] = 0  # columns of words between the shared ones and the numbers
    wanted: ClassVar[str] = ""  # of a header, behind the shared columns

    id: np.ndarray
    speaker: np.ndarray
    part: np.ndarray
    fold: np.ndarray
    seed: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray

    def __post_init__(self) -> None:
        """Check what the docstring promises."""
        lengths = {name: len(getattr(self, name)) for name in self._arrays()}
        if set(lengths.values()) != {len(self.id)}:
            raise SereneError(f"{self.kind.capitalize()} have columns of different lengths: {lengths}.")
        for part in set(self.part.tolist()) - set(PARTS):
            raise SereneError(unknown("part", part, PARTS))
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

    @property
    def names(self) -> tuple[str, ...]:
        """What is answered: the classes or the dimensions."""
        raise NotImplementedError

    @staticmethod
    def concatenate(parts: Iterable[A]) -> A:
        """Put the rows of several runs under each other; their names must be the same, in any order.

        Raises:
            SereneError: there is none, or they are of different kinds or names.
        """
        parts = list(parts)
        if not parts:
            raise SereneError("There are no predictions to put together: no run has finished.")
        parts = [alike(part, parts[0]) for part in parts]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0]._arrays()}
        return replace(parts[0], **columns)

    def select(self, *, part: str | None = None, fold: str | int | None = None, seed: int | None = None) -> Self:
        """Keep the rows of a part, a fold, a seed, or any combination; there may be none."""
        keep = np.ones(len(self), dtype=bool)
        if part is not None:
            keep &= self.part == part
        if fold is not None:
            keep &= self.fold == str(fold)
        if seed is not None:
            keep &= self.seed == seed
        return self.rows(keep)

    def rows(self, which: np.ndarray) -> Self:
        """Keep rows by a mask or by their indices (utterance,)."""
        return replace(self, **{name: getattr(self, name)[which] for name in self._arrays()})

    def ordered(self, names: Sequence[str]) -> Self:
        """Bring the names into another order.

        Raises:
            SereneError: the two sets of names differ.
        """
        names = tuple(names)
        if names == self.names:
            return self
        if set(names) != set(self.names):
            raise SereneError(
                f"The {self.kind} are over different {self.labels}: {sorted(self.names)} and {sorted(names)}. "
                "Only runs with the same `labels` can be put together."
            )
        return self._reordered([self.names.index(name) for name in names])

    def write(self, path: str | Path) -> None:
        """Write the table whole or not at all; in gzip where the name ends in `.gz`.

        The same answers give the same bytes, and so do the answers that are read back.
        """
        table = io.BytesIO()  # a byte a letter, where a StringIO takes four
        text = io.TextIOWrapper(table, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*COLUMNS, *self._header()])
        shared = (getattr(self, name).tolist() for name in COLUMNS)
        writer.writerows((*row, *cells) for *row, cells in zip(*shared, self._cells(), strict=True))
        text.flush()
        data = table.getvalue()
        with whole_file(path) as temporary:
            temporary.write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a table that `write` made.

        Raises:
            SereneError: no such file, not such a table, or a bad row (named by its line).
        """
        try:
            data = Path(path).read_bytes()
            data = gzip.decompress(data) if str(path).endswith(".gz") else data
            rows = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="\n"))
            header = next(rows, [])
            names = cls._named(header[len(COLUMNS) :]) if tuple(header[: len(COLUMNS)]) == COLUMNS else ()
            if not names:
                raise SereneError(
                    f"{path} is not a table of {cls.kind}: its first line is '{','.join(header)[:80]}', "
                    f"expected '{','.join(COLUMNS)},{cls.wanted}."
                )
            columns, numbers = cls._parsed(rows, len(header), data.count(b"\n"), str(path))
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
            raise SereneError(f"Cannot read the {cls.kind} {path}: {error}") from error
        shared = shared_columns(*columns[: len(COLUMNS)])
        return cls._made(shared, columns[len(COLUMNS) :], numbers, names, str(path))

    @classmethod
    def heads(cls, path: str | Path) -> bool:
        """Say whether a file begins with the header of such a table; False too where it cannot be read."""
        try:
            opened = gzip.open if str(path).endswith(".gz") else open
            with opened(path, "rt", encoding="utf-8", newline="\n") as file:
                header = next(csv.reader(file), [])
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error):
            return False
        return tuple(header[: len(COLUMNS)]) == COLUMNS and bool(cls._named(header[len(COLUMNS) :]))

    @classmethod
    def _parsed(cls, rows: Iterable[list[str]], width: int, most: int, where: str) -> tuple[list[tuple], np.ndarray]:
        """Parse a table's rows, at most so many: the columns of words and seeds; and numbers (utterance, place).

        Where cells may be left empty they are 0.
        """
        first, begin = [], len(COLUMNS) + cls.words
        numbers = np.zeros((most, width - begin))
        sparse = cls._sparse(width - begin)
        for line, row in enumerate(rows, 2):
            if len(row) != width:
                raise SereneError(f"{where}, line {line}: {len(row)} columns, expected {width}.")
            try:
                first.append((*row[:4], int(row[4]), *row[len(COLUMNS) : begin]))
                kept = {place: float(cell) for place, cell in enumerate(row[begin:]) if cell or not sparse}
            except ValueError as error:
                raise SereneError(
                    f"{where}, line {line}: {error}; seeds are whole numbers and {cls.numbers} are numbers."
                ) from error
            numbers[len(first) - 1, list(kept)] = list(kept.values())
        if not first:
            raise SereneError(f"{where} holds no {cls.kind}.")
        return list(zip(*first, strict=True)), numbers[: len(first)]

    def _arrays(self) -> list[str]:
        """Name the columns that have a row per utterance."""
        return [f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)]

    def _check_finite(self, numbers: np.ndarray) -> None:
        """Raise SereneError for the first utterance with a number (utterance, place) that is not finite."""
        if not np.isfinite(numbers).all():
            row = int(np.argmin(np.isfinite(numbers).all(axis=1)))
            raise SereneError(f"The {self.numbers} of utterance '{self.id[row]}' are not finite numbers.")

    def _reordered(self, places: list[int]) -> Self:
        """Bring the names into the order of their present places."""
        raise NotImplementedError

    def _header(self) -> list[str]:
        """Name the columns behind the shared ones."""
        raise NotImplementedError

    def _cells(self) -> Iterator[list[str]]:
        """Write each row's cells behind the shared ones."""
        raise NotImplementedError

    @classmethod
    def _named(cls, header: list[str]) -> tuple[str, ...]:
        """Find the names in what a header has behind the shared columns; none where it is of another kind."""
        raise NotImplementedError

    @classmethod
    def _sparse(cls, width: int) -> bool:
        """Say whether cells may be left empty in a table with so many columns of numbers."""
        return False

    @classmethod
    def _made(
        cls,
        shared: dict[str, np.ndarray],
        texts: list[tuple[str, ...]],
        numbers: np.ndarray,
        names: tuple[str, ...],
        where: str,
    ) -> Self:
        """Make answers of what was read: the shared columns, those of words, numbers (utterance, place) and names."""
        raise NotImplementedError


def alike(answers: Answers, other: A) -> A:
    """Give answers with their names in another's order.

    Raises:
        SereneError: they are of another kind, or of other names.
    """
    if not isinstance(answers, type(other)):
        raise SereneError(
            f"Some of these runs give {other.labels} and some {answers.labels}: they answer different questions, and "
            "cannot be put together or compared."
        )
    return answers.ordered(other.names)


def shared_columns(
    ids: Iterable[object],
    speakers: Iterable[object],
    parts: Iterable[object],
    folds: Iterable[object],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Make the columns of every table (utterance,): words, and seeds as integers."""
    texts = (np.array([str(value) for value in column], dtype=np.str_) for column in (ids, speakers, parts, folds))
    return dict(zip(COLUMNS, (*texts, np.array(seeds, dtype=np.int64)), strict=True))
