"""A table with both columns, published and ours, as rows of text; none of the two ever stands in for the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serene.published import Derived, Figure, Row, Table
from serene.reproduce.measures import MEASURES, Ours


@dataclass(frozen=True)
class Entry:
    """What a cell of ours holds, and the folder names of the runs that it is of, which end in the recipe's hash."""

    ours: Ours
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Reproduction:
    """A table with both columns.

    Attributes:
        table: the published one.
        ours: (row, column) -> what was measured.
        corpora: what ours was measured on.
        differences: between the paper's protocol and ours.
        picture: the drawn one, where the table has one.
    """

    table: Table
    ours: Mapping[tuple[str, str], Entry]
    corpora: tuple[str, ...]
    differences: tuple[str, ...]
    picture: Path | None = None

    def lines(self) -> list[dict[str, str]]:
        """Give the rows as text by column, blank where nothing is published, or where a system is not ours to run."""
        published = {(row.name, column): figure for row in self.table.rows for column, figure in row.published.items()}
        measured = {place: entry.ours.figure for place, entry in self.ours.items()}
        return [
            {
                "system": row.name,
                **{f"published {name}": text for name, text in self._published(row, published).items()},
                **self._ours(row, measured),
                **({"run": " ".join(self._columns_by_run().get(row.name, ()))} if self._one_run_each else {}),
            }
            for row in self.table.rows
        ]

    def runs(self) -> dict[str, dict[str, list[str]]]:
        """Name the runs of each row and column that was measured."""
        named: dict[str, dict[str, list[str]]] = {}
        for (row, column), entry in self.ours.items():
            named.setdefault(row, {})[column] = list(entry.runs)
        return named

    def remarks(self) -> list[str]:
        """Give as text what belongs below the table: runs that no row names, the picture, the differences."""
        named = [] if self._one_run_each else self._columns_by_run().items()
        found = [f"{run}: {row}, {' and '.join(columns)}" for row, by_run in named for run, columns in by_run.items()]
        drawn = [f"Picture: {self.picture.resolve()}"] if self.picture else []
        return [*found, *drawn, *(f"- {difference}" for difference in self.differences)]

    def to_json(self) -> dict[str, Any]:
        """Give the whole as plain values."""
        return {
            "title": self.table.title,
            "source": self.table.source,
            "published_corpus": " and ".join(self.table.corpora),
            "our_corpus": " and ".join(self.corpora),
            "rows": self.lines(),
            "runs": self.runs(),
            "picture": str(self.picture) if self.picture else None,
            "differences": list(self.differences),
        }

    def _columns_by_run(self) -> dict[str, dict[str, list[str]]]:
        """Give each row's runs with the columns that they were measured for."""
        named: dict[str, dict[str, list[str]]] = {}
        for (row, column), entry in self.ours.items():
            for run in entry.runs:
                named.setdefault(row, {}).setdefault(run, []).append(column)
        return named

    @property
    def _one_run_each(self) -> bool:
        return not any(column.overrides or column.steps for column in self.table.columns)

    def _published(self, row: Row, figures: Mapping[tuple[str, str], Figure]) -> dict[str, str]:
        """Give a row's published figures; columns of which nothing is published are left out."""
        known = {column for _, column in figures}
        cells = {c.name: str(figures.get((row.name, c.name), "")) for c in self.table.columns if c.name in known}
        derived = {d.name: self._derived(row, d, figures) for d in self.table.derived if known.issuperset(d.of)}
        return cells | derived

    def _ours(self, row: Row, figures: Mapping[tuple[str, str], Figure]) -> dict[str, str]:
        filled = {column for _, column in self.ours}
        shown = [c for c in self.table.columns if not c.optional or c.name in filled]
        intervals = [c.name for c in shown if MEASURES[c.measure].interval]
        cells = {}
        for column in shown:
            entry = self.ours.get((row.name, column.name))
            absent = "not measured" if row.recipe else ""
            cells[f"our {column.name}"] = str(entry.ours.figure) if entry else absent
            if column.name in intervals:
                name = "interval" if len(intervals) == 1 else f"{column.name} interval"
                cells[name] = entry.ours.interval if entry else ""
        return cells | {f"our {d.name}": self._derived(row, d, figures) for d in self.table.derived}

    def _derived(self, row: Row, column: Derived, figures: Mapping[tuple[str, str], Figure]) -> str:
        """Compute a derived cell from figures that are all published or all ours; blank where one is missing."""
        reference = self.table.rows[0].name
        if column.kind == "gap":
            first, second = (figures.get((row.name, name)) for name in column.of)
            return f"{first.value - second.value:.{first.digits}f}" if first and second else ""
        own, base = (figures.get((name, column.of[0])) for name in (row.name, reference))
        if row.name == reference or own is None or base is None:
            return ""
        return f"{100 * (own.value - base.value) / (100 - base.value):.1f} %"
