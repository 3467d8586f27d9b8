"""Every figure of a table is trained for and measured: what figures share once, and what has finished never again."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

from serene.corpora.labels import choose
from serene.errors import SereneError, unknown
from serene.experiment.plan import Progress, load_corpus, make_plan, silent
from serene.experiment.sections import Recipe
from serene.experiment.train import train
from serene.files import read_json
from serene.models import weights as weights_of_encoders
from serene.protocols import make_some_splits
from serene.published import TABLES, Column, Row, Table
from serene.reproduce import departures
from serene.reproduce.measures import MEASURES, Trained
from serene.reproduce.pictures import draw
from serene.reproduce.reproduction import Entry, Reproduction
from serene.reproduce.row_recipes import Corpora, RowRecipes


def reproduce(
    name: str,
    data: Mapping[str, str],
    runs: Path,
    *,
    overrides: tuple[str, ...] = (),
    weights: Mapping[str, str] | None = None,
    rows: Collection[str] = (),
    columns: Collection[str] = (),
    tiny: bool = False,
    jobs: int | None = 1,
    progress: Progress = silent,
) -> Reproduction:
    """Run every cell of a table that has not been run, and set it beside the published one.

    Args:
        name: an entry of `serene.published.TABLES`.
        data: corpus -> folder or manifest, one for each that the table needs. Another corpus than the paper's is a
            stand-in, and said to be.
        runs: folder of runs.
        overrides: `key.sub=value` for every row's recipe, `upstream.key.sub=value` for what is trained before a row.
        weights: name of pretrained weights -> a folder that holds them.
        rows: which to measure; all that are ours, without it.
        columns: which to measure; all without it.
        tiny: made-up speech, few epochs, small encoders: shows that it works, not what it gives.
        jobs: trainings at a time.
        progress: told what is being done.

    Raises:
        SereneError: an unknown table, row or column, or data that are missing: which, where they are had, and what the
            run costs.
    """
    table = _table(name, rows, columns)
    corpora = Corpora.made_up(table, runs) if tiny else Corpora.given(table, name, data)
    made_up = runs if tiny else None
    recipes = RowRecipes(table=table, corpora=corpora, overrides=overrides, weights=weights or {}, rehearsal=made_up)
    recipes, partitioned = _partitioned(recipes, runs, progress)
    bench = _Bench(recipes, runs, jobs, progress)
    wanted = [row for row in table.rows if row.recipe and (not rows or row.name in rows)]
    for row in wanted:
        _find_weights(recipes.upstream(row) or recipes.of(row, table.columns[0]))
    ours = {
        (row.name, column.name): entry
        for row in wanted
        for column in table.columns
        if (not columns or column.name in columns) and (entry := bench.entry(row, column))
    }
    picture, shown = draw(table.picture, ours, bench.plain, runs / f"{name}.png") if table.picture else (None, ())
    differences = (*shown, *recipes.differences(), *partitioned, *bench.differences())
    return Reproduction(table, ours, corpora.names, differences, picture)


def _table(name: str, rows: Collection[str], columns: Collection[str]) -> Table:
    """Find a table that has the rows and columns that are asked for."""
    if name not in TABLES:
        raise SereneError(unknown("table", name, TABLES))
    table = TABLES[name]
    for kind, asked, known in (("row", rows, table.rows), ("column", columns, table.columns)):
        for one in asked:
            if one not in (names := [entry.name for entry in known]):
                raise SereneError(unknown(f"{kind} of {name},", one, names))
    return table


class _Bench:
    """Trains what cells need, and remembers it.

    Attributes:
        recipes: of the cells.
        refused: column that a corpus cannot serve -> why.
        partial: column of which not all folds were run -> those that were.
        random: whether an encoder began with random weights.
        plain: row -> the trainings of its own recipe, with no column's changes.
        pairs: of what was measured, and of what it stands on: the recipe as its file has it, and as it was run.
        cells: (row, column) -> the trainings that were measured.
    """

    def __init__(self, recipes: RowRecipes, runs: Path, jobs: int | None, progress: Progress) -> None:
        self.recipes, self.runs, self.jobs, self.progress = recipes, runs, jobs, progress
        self.refused: dict[str, str] = {}
        self.partial: dict[str, tuple[str, ...]] = {}
        self.random = False
        self.trained: dict[str, Trained] = {}
        self.upstreams: dict[str, Path] = {}
        self.plain: dict[str, Trained] = {}
        self.pairs: list[tuple[Recipe, Recipe]] = []
        self.cells: dict[tuple[str, str], list[Trained]] = {}

    def entry(self, row: Row, column: Column) -> Entry | None:
        """Train and measure a cell; None where it cannot be measured."""
        steps = {}
        for place, overrides in (column.steps or {0.0: ()}).items():
            extra = (*overrides, *self._beneath(row))
            made = self.recipes.of(row, column, extra)
            if made is None:
                return None
            if self._refused(made, column, place):
                break
            steps[place] = self._train(made)
            self.pairs.append((self.recipes.in_file(row, column, extra), made))
            if made.run is not None:
                self.partial[column.name] = made.run
        if len(steps) < min(2, len(column.steps) or 1):
            return None
        if not column.overrides and not column.steps:
            self.plain.setdefault(row.name, steps[0.0])
        ours = MEASURES[column.measure].of(steps)
        if ours is None:
            return None
        self.cells[row.name, column.name] = list(steps.values())
        return Entry(ours, tuple(dict.fromkeys(trained.run.folder.name for trained in steps.values())))

    def _notes(self) -> list[str]:
        """Say what could not be measured, and what makes ours no match for the published figures."""
        notes = []
        if self.random:
            notes.append("Our encoder begins with random weights: it shows that it runs, not how accurate it is.")
        if self.refused:
            corpus, reason = self.recipes.corpora.emotion[0], next(iter(self.refused.values()))
            notes.append(f"{corpus} cannot serve the protocol of {', '.join(self.refused)}: not measured. {reason}")
        by_folds: dict[tuple[str, ...], list[str]] = {}
        for column, folds in self.partial.items():
            by_folds.setdefault(tuple(folds), []).append(column)
        notes += [f"Of no other folds than {' '.join(f)}: {', '.join(columns)}." for f, columns in by_folds.items()]
        return notes

    def differences(self) -> list[str]:
        """Say where runs are not what the table's recipes say, of how many clips they are, and what rows coincide.

        Then come the table's own sentences on where it differs from the paper, as far as they hold.
        """
        made = [ours for _, ours in self.pairs]
        found = [*self._notes(), *departures.changed(self.pairs), *departures.stand_ins(self.recipes.weights, made)]
        found += [*self._size(), *departures.validation_clips([*self.trained.values()])]
        found += departures.coincidences(self.cells)
        return [*found, *departures.sentences(self.recipes.table.differences, made)]

    def _size(self) -> list[str]:
        """Say of how many clips the corpus is, unless these are as many as the paper's."""
        table, trained = self.recipes.table, list(chain(*self.cells.values()))
        kept = trained[-1].run.folder / "corpus.json" if trained else None
        if kept is None or not kept.exists():
            return []
        counted, labels = read_json(kept, "utterances", "speakers", "emotions"), trained[-1].recipe.labels
        clips = counted["utterances"]
        if labels.target == "emotion" and labels.use:
            used = {*labels.use, *(one for one, other in labels.join.items() if other in labels.use)}
            clips = sum(counted["emotions"].get(name, 0) for name in used)
        if clips == table.n_clips and not self.recipes.stands_in:
            return []
        theirs = f"; the paper's has {table.n_clips:,} clips" if table.n_clips else ""
        return [f"Our corpus has {clips:,} clips of {counted['speakers']} speakers{theirs}."]

    def _beneath(self, row: Row) -> tuple[str, ...]:
        """Train what a row stands on, and give the override that names its model."""
        made = self.recipes.upstream(row)
        if made is None:
            return ()
        key = _key(made)
        if key not in self.upstreams:
            fold = made.run[0] if made.run else make_plan(made, self.runs, self.progress).splits[0].fold
            trained = self._train(replace(made, run=(fold,), seeds=made.seeds[:1]))
            self.pairs.append((self.recipes.upstream_in_file(row), made))
            self.upstreams[key] = trained.run.trial(fold, made.seeds[0]).folder / "model"
        model = self.upstreams[key]
        found = (f"features.weights={json.dumps(str(model))}",)
        own = self.recipes.of(row, self.recipes.table.columns[0])
        if own is None or own.corpus.name != made.corpus.name:
            return found
        fold = unquote(model.parent.parent.name.removeprefix("fold-"))  # other folds test whom it was trained on
        return (*found, f"protocol.run={json.dumps([fold])}")

    def _refused(self, made: Recipe, column: Column, place: float) -> bool:
        """Say whether a corpus that stands in cannot serve a column's protocol, and note it."""
        if not (self.recipes.stands_in and (column.overrides or column.steps)):
            return False
        labels, manifest = made.labels, load_corpus(made.corpus, self.runs, self.progress)
        labelled, _ = choose(manifest, target=labels.target, use=labels.use, join=labels.join)
        try:
            own = made.protocol_of(made.seeds[0])
            make_some_splits(own.name, labelled, own.settings, made.run)
        except SereneError as error:
            self.refused[f"{column.name} from {place:g} on" if column.steps else column.name] = str(error)
            return True
        return False

    def _train(self, made: Recipe) -> Trained:
        key = _key(made)
        if key not in self.trained:
            if made.begins_random or (self.recipes.rehearsal and made.frozen_weights):
                self.random = True
            run = train(made, self.runs, jobs=self.jobs, progress=self.progress)
            self.trained[key] = Trained(run, made)
        return self.trained[key]


def _key(made: Recipe) -> str:
    return json.dumps([made.name, made.resolved()], sort_keys=True)


def _partitioned(recipes: RowRecipes, runs: Path, progress: Progress) -> tuple[RowRecipes, list[str]]:
    """Let the stand-in partition a corpus of the paper's name that has another number of speakers; say so."""
    table = recipes.table
    if table.n_speakers is None or recipes.stands_in:
        return recipes, []
    made = recipes.of(table.rows[0], table.columns[0])
    speakers = 0 if made is None else len(load_corpus(made.corpus, runs, progress).speakers)
    if speakers == table.n_speakers:
        return recipes, []
    note = f"{speakers} speakers, the paper has {table.n_speakers}: {table.stand_in}."
    return replace(recipes, protocol=table.stand_in), [note]


def _find_weights(made: Recipe | None) -> None:
    """Look for what an encoder begins with before anything is trained, which may take days."""
    named = [] if made is None else [made.initial_weights, made.frozen_weights]
    named += [] if made is None else [one.targets.source for one in made.stages if "/" in one.targets.source]
    for name in filter(None, named):
        weights_of_encoders.find(name)
