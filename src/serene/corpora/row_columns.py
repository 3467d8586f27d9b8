"""Rows: what a table says of its clips, in a column for each name instead of an object for each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from types import NoneType
from typing import Any

from serene.corpora.columns import Column

ASIDE = "\0"  # what stands in a column for a value that no column can hold begins so

Row = dict[str, Any]


class Rows:
    """The rows of a file, in order; going through them makes each anew, after where it stands.

    Columns have a value for each row that has their name, so that rows may have different names, in any order. What is
    neither text nor number nor an object of these is kept as it is.

    Attributes:
        headed: whether the file names its columns.
        remarks: what was skipped or guessed.
    """

    def __init__(self, place: Callable[[int, Any], str], *, headed: bool = True) -> None:
        """Begin without rows.

        Args:
            place: says for messages where a row stands, such as `row 2 (line 3)`, by its number, from 1 on, and by
                what was appended with it.
            headed: whether the file names its columns.
        """
        self.headed, self.remarks = headed, tuple[str, ...]()
        self._place, self._marks, self._names = place, Column(), Column()
        self._columns: defaultdict[str, Column] = defaultdict(Column)
        self._aside = list[Any]()

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._names)

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        """Give each row's place, and its names -> values."""
        cells = {name: self.values(name) for name in self._columns}
        for place, names in zip(self.places(), self._names, strict=True):
            yield place, {name: next(cells[name]) for name in names if name in cells}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in the order of the rows that have them first."""
        return tuple(self._columns)

    def append(self, row: Row, mark: float | str | None = None) -> None:
        """Add a row, and what is known of its place."""
        self._marks.append(mark)
        self._add(row)

    def replacing(self, rows: Iterable[Row]) -> Rows:
        """Give other rows in the same places."""
        other = Rows(self._place, headed=self.headed)
        for row in rows:
            other._add(row)
        other.remarks, other._marks = self.remarks, self._marks
        return other

    def drop(self, names: Iterable[str]) -> None:
        """Forget columns."""
        for name in names:
            del self._columns[name]

    def places(self) -> Iterator[str]:
        """Say of each row where it stands."""
        return (self._place(number, mark) for number, mark in enumerate(self._marks, 1))

    def values(self, name: str) -> Iterator[Any]:
        """Go through the values of a column, of the rows that have it."""
        return map(self._meant, self._columns[name]) if self._aside else iter(self._columns[name])

    def _add(self, row: Row) -> None:
        self._names.append(tuple(row))
        for name, value in row.items():
            if not _is_plain(value):
                self._aside.append(value)
                value = f"{ASIDE}{len(self._aside) - 1}"
            self._columns[name].append(value)

    def _meant(self, value: Any) -> Any:
        return self._aside[int(value[1:])] if isinstance(value, str) and value.startswith(ASIDE) else value


def _is_plain(value: Any, nested: bool = False) -> bool:
    """Tell whether a column gives a value back as it is."""
    if type(value) is str:
        return nested or not value.startswith(ASIDE)
    if type(value) is float:
        return nested or value != 0 or str(value) == "0.0"  # -0.0 is equal to it, and written in another way
    if type(value) is dict and not nested:
        return all(type(name) is str and _is_plain(one, nested=True) for name, one in value.items())
    return type(value) in (NoneType, bool, int)
