"""Utterances: clips in columns instead of an object each, and selections of them that share the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from typing import Any, overload

import numpy as np

from serene.corpora.columns import AT_ONCE, Column
from serene.corpora.utterance import Utterance

NAMES = tuple(f.name for f in fields(Utterance))


class Utterances(Sequence[Utterance]):
    """A sequence of utterances, in order, each made anew when it is asked for; selections cost 4 bytes a clip.

    Equal to any sequence of equal utterances.
    """

    def __init__(self, columns: dict[str, Column], rows: np.ndarray) -> None:
        """Select clips (clip,), by their indices, of columns that all have a value for each."""
        self._columns, self._rows = columns, rows.astype(np.uint32, copy=False)

    @classmethod
    def of(cls, utterances: Iterable[Utterance]) -> Utterances:
        """Take utterances one after the other; of a manifest, and of what is one of these already, that itself."""
        known = getattr(utterances, "utterances", utterances)
        if isinstance(known, Utterances):
            return known
        columns = {name: Column() for name in NAMES}
        for utterance in utterances:
            for name, column in columns.items():
                column.append(getattr(utterance, name))
        return cls(columns, np.arange(len(columns["id"])))

    @classmethod
    def joined(cls, parts: Iterable[Iterable[Utterance]]) -> Utterances:
        """Put the clips of several parts behind each other; those that share columns go on sharing them."""
        own = [part for part in map(cls.of, parts) if part]
        if own and all(part._columns is own[0]._columns for part in own):
            return cls(own[0]._columns, np.concatenate([part._rows for part in own]))
        return cls.of(chain.from_iterable(own))

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> Utterances: ...
    def __getitem__(self, index: int | slice) -> Utterance | Utterances:
        """Give one clip, or some."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return next(self._made(self._rows[[index]]))

    def __iter__(self) -> Iterator[Utterance]:
        """Go through the clips."""
        for start in range(0, len(self), AT_ONCE):
            yield from self._made(self._rows[start : start + AT_ONCE])

    def __eq__(self, other: object) -> bool:
        """Compare clip by clip."""
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        if isinstance(other, Utterances) and self._columns is other._columns and (self._rows == other._rows).all():
            return True
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        """Show the clips, as a tuple of them would."""
        return repr(tuple(self))

    def values(self, name: str) -> Iterator[Any]:
        """Go through the values of a column."""
        return self._columns[name].values(self._rows)

    def cells(self, place: int, *names: str) -> list[Any]:
        """Give one clip's values in some columns, in a fraction of the time that the whole clip takes."""
        return [self._columns[name].at(self._rows[[place]])[0] for name in names]

    def counts(self, name: str) -> Counter[Any]:
        """Count the values of a column, in the order of their first clips."""
        return Counter({value: len(rows) for value, rows in self._by_value(name)})

    def keys(self, name: str) -> np.ndarray:
        """Give an int64 (clip,) for each clip's value in a column: equal where the values are."""
        return self._columns[name].keys(self._rows)

    def take(self, places: np.ndarray) -> Utterances:
        """Select clips by a mask or by their places (clip,)."""
        return Utterances(self._columns, self._rows[places])

    def where(self, name: str, is_meant: Callable[[Any], bool]) -> Utterances:
        """Select the clips whose value in a column is meant, which is told by the value alone."""
        return self.take(self._columns[name].meant(self._rows, is_meant))

    def groups(self, name: str) -> dict[Any, Utterances]:
        """Group the clips by their values in a column, in the order of their first clips."""
        return {value: self.take(places) for value, places in self._by_value(name)}

    def in_order(self) -> Utterances:
        """Sort the clips by id."""
        return self.take(np.argsort(np.fromiter(self.values("id"), object, len(self)), kind="stable"))

    def replacing(self, name: str, values: Iterable[Any]) -> Utterances:
        """Give the same clips with other values in a column, of which many recur."""
        return Utterances({**self._columns, name: self._columns[name].replaced(self._rows, values)}, self._rows)

    def repeated(self, name: str) -> Iterator[np.ndarray]:
        """Give the places of the clips that share a value in a column, for each such value but None, in order."""
        keys = self.keys(name)
        order = np.argsort(keys, kind="stable")
        bounds = np.flatnonzero(np.concatenate([[True], np.diff(keys[order]) != 0, [True]])) if len(order) else order
        several = np.flatnonzero(np.diff(bounds) > 1)
        for n in several[np.argsort(order[bounds[several]])]:
            places = order[bounds[n] : bounds[n + 1]]
            for value, same in self.take(places)._by_value(name):
                if value is not None and len(same) > 1:
                    yield places[same]

    def _by_value(self, name: str) -> Iterator[tuple[Any, np.ndarray]]:
        codes, values = self._columns[name].coded(self._rows)
        order = np.argsort(codes, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []
        for places in sorted(parts, key=lambda places: int(places[0])):
            yield values[codes[places[0]]], places

    def _made(self, rows: np.ndarray) -> Iterator[Utterance]:
        for values in zip(*(column.at(rows) for column in self._columns.values()), strict=True):
            yield Utterance(**dict(zip(self._columns, values, strict=True)))
