"""A paper's table again: published, ours, interval, and where the protocols differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serene import experiment, recipe, registry
from serene.corpora import CORPORA
from serene.errors import SereneError, unknown
from serene.evaluation import confidence
from serene.evaluation.predictions import Predictions
from serene.experiment import Progress, silent
from serene.published import TABLES, Figure, Row, Table
from serene.recipe import RECIPES
from serene.run import Run


@dataclass(frozen=True)
class Ours:
    """What our runs of a row gave, in per cent.

    Attributes:
        validation, test: accuracy pooled over folds, mean and sample deviation over runs (seeds).
        low, high: 95 % interval of the test accuracy over speakers.
        run: the run's folder name, which ends in the recipe's hash.
        seeds: how many runs.
    """

    validation: Figure
    test: Figure
    low: float
    high: float
    run: str
    seeds: int


@dataclass(frozen=True)
class Reproduction:
    """A table with both columns.

    Attributes:
        table: the published one.
        ours: row name -> what was measured.
        corpus: what ours was measured on.
        differences: between the paper's protocol and ours.
    """

    table: Table
    ours: Mapping[str, Ours]
    corpus: str
    differences: tuple[str, ...]

    def lines(self) -> list[dict[str, str]]:
        """Give the rows as text by column, blank where nothing is published or measured."""
        reference = self.table.rows[0].name
        rows = []
        for row in self.table.rows:
            ours = self.ours.get(row.name)
            base = self.ours.get(reference)
            rows.append(
                {
                    "system": row.name,
                    "published validation": str(row.validation),
                    "published test": str(row.test),
                    "published gap": f"{row.validation.value - row.test.value:.1f}",
                    "published error reduction": _reduction(row.test, self.table.rows[0].test, row.name == reference),
                    "our validation": str(ours.validation) if ours else "not measured",
                    "our test": str(ours.test) if ours else "not measured",
                    "interval": f"{ours.low:.1f} to {ours.high:.1f}" if ours else "",
                    "our gap": f"{ours.validation.value - ours.test.value:.1f}" if ours else "",
                    "our error reduction": _reduction(ours.test, base.test, row.name == reference)
                    if ours and base
                    else "",
                    "run": ours.run if ours else "",
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """Give the whole as plain values."""
        return {
            "title": self.table.title,
            "source": self.table.source,
            "published_corpus": self.table.corpus,
            "our_corpus": self.corpus,
            "rows": self.lines(),
            "differences": list(self.differences),
        }


def reproduce(
    name: str,
    data: Mapping[str, str],
    runs: Path,
    *,
    overrides: tuple[str, ...] = (),
    tiny: bool = False,
    jobs: int = 1,
    progress: Progress = silent,
) -> Reproduction:
    """Run every row of a table that has not been run, and set it beside the published one.

    Args:
        name: an entry of `serene.published.TABLES`.
        data: corpus -> folder or manifest; one of them. Another corpus than the paper's is a stand-in, and said to be.
        runs: folder of runs.
        overrides: `key.sub=value` for every row's recipe.
        tiny: the synthetic corpus, two epochs, two runs: shows that it works, not what it gives.
        jobs: trainings at a time.
        progress: told what is being done.

    Raises:
        SereneError: an unknown table, or data that are missing: which, where they are had, and what the run costs.
    """
    if name not in TABLES:
        raise SereneError(unknown("table", name, TABLES))
    table = TABLES[name]
    if tiny:
        data = {"synthetic": str(runs / "synthetic")}
        overrides = (*overrides, "training.epochs=2", "seeds=[0, 1]")
    if len(data) != 1:
        raise SereneError(
            f"{name} needs data: --data {table.corpus}=FOLDER. {table.where or _home_of(table.corpus)} "
            f"It costs {table.cost}. Another corpus stands in with its own name; --tiny shows the table on made-up "
            "speech."
        )
    ((corpus, path),) = data.items()
    if corpus not in CORPORA:
        raise SereneError(unknown("corpus", corpus, CORPORA))
    measured, differences = {}, []
    for row in table.rows:
        tree = (f"corpus.path={json.dumps(str(path))}", *overrides)
        made, differences = _recipe(table, row, corpus, tree)
        if table.speakers and corpus == table.corpus:
            speakers = len(experiment.load_corpus(made, runs, progress).speakers)
            if speakers != table.speakers:
                made, _ = _recipe(table, row, corpus, (f"protocol={table.stand_in}", *tree))
                differences = [f"{speakers} speakers, the paper has {table.speakers}: {table.stand_in}."]
        measured[row.name] = _measure(experiment.train(made, runs, jobs=jobs, progress=progress), made)
    return Reproduction(table, measured, corpus, (*differences, *table.differences))


def _home_of(corpus: str) -> str:
    """Say in a sentence where a corpus is officially had, as its reader has it."""
    module = CORPORA[corpus].partition(":")[0]
    return registry.load(f"{module}:HOME", CORPORA, "corpus")


def _recipe(table: Table, row: Row, corpus: str, overrides: tuple[str, ...]) -> tuple[recipe.Recipe, list[str]]:
    """Load a row's recipe for a corpus, and say what that changes."""
    if corpus == table.corpus:
        return recipe.load(RECIPES / table.recipes / f"{row.recipe}.yaml", overrides), []
    notice = [f"The published figures are of {table.corpus}, ours of {corpus}: they cannot be compared."]
    own = RECIPES / table.recipes / corpus / f"{row.recipe}.yaml"
    if own.exists():
        notice.append(
            f"{corpus} has recipes of its own: Adam, fewer epochs, no dropout in the encoder, selection on UA, bf16."
        )
        return recipe.load(own, overrides), notice
    stand_in = (f"corpus.name={corpus}", "labels={}", f"protocol={table.stand_in}")
    notice.append(f"Ours uses all emotions of its corpus and the protocol {table.stand_in}.")
    return recipe.load(RECIPES / table.recipes / f"{row.recipe}.yaml", (*stand_in, *overrides)), notice


def _measure(run: Run, made: recipe.Recipe) -> Ours:
    seeds = made.seeds
    cells = [cell for cell in run.finished() if cell.seed in seeds and (made.run is None or cell.fold in made.run)]
    predictions = Predictions.concatenate(cell.predictions() for cell in cells)
    test = predictions.select(part="test")
    interval = confidence.intervals(test)["wa"]
    return Ours(
        validation=_over_runs(predictions.select(part="validation"), seeds),
        test=_over_runs(test, seeds),
        low=100 * interval.low,
        high=100 * interval.high,
        run=run.folder.name,
        seeds=len(seeds),
    )


def _over_runs(predictions: Predictions, seeds: tuple[int, ...]) -> Figure:
    runs = [predictions.select(seed=seed) for seed in seeds]
    accuracies = np.array([100 * np.mean(run.truth == run.prediction) for run in runs])
    return Figure(float(accuracies.mean()), float(accuracies.std(ddof=1)) if len(seeds) > 1 else None)


def _reduction(figure: Figure, reference: Figure, is_reference: bool) -> str:
    """Relative error reduction in per cent: how much of the reference's error is gone."""
    return "" if is_reference else f"{100 * (figure.value - reference.value) / (100 - reference.value):.1f} %"
