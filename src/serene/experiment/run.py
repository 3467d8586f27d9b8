"""A run's folder: one trial per fold and seed, each finished, interrupted or not begun; all reports come from here."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import safetensors.numpy

from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.experiment.recipe import kept as kept_recipe
from serene.experiment.sections import Recipe
from serene.files import write_text

PREDICTIONS = ("predictions.csv", "predictions.csv.gz")  # the second where a run is kept small, as under results/


@dataclass(frozen=True)
class Trial:
    """One training: a fold and a seed.

    Attributes:
        folder: holds `recipe.yaml`, `environment.json`, `log.jsonl`, `probes.json`, `embeddings.safetensors`, `model/`
            and, written last, `predictions.csv`.
        fold: the fold's name.
        seed: the training's seed.
    """

    folder: Path
    fold: str
    seed: int

    @property
    def finished(self) -> bool:
        """Whether the predictions, which are written last, are there."""
        return any((self.folder / name).exists() for name in PREDICTIONS)

    def predictions(self) -> Predictions:
        """Read the trial's predictions, plain or compressed: of classes or dimensions, as the table's header says."""
        path = next(self.folder / name for name in PREDICTIONS if (self.folder / name).exists())
        return Predictions.read(path)

    def log(self) -> list[dict[str, float]]:
        """Read the training log, a dictionary per epoch."""
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def json(self, name: str) -> Any:
        """Read one of the trial's JSON files; None where it is not there."""
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None

    def embeddings(self, part: str) -> tuple[list[str], np.ndarray] | None:
        """Read a part's ids and embeddings (utterance, feature); None where they were not kept."""
        path = self.folder / "embeddings.safetensors"
        ids = self.json("embeddings.json")
        if not path.exists() or ids is None:
            return None
        return ids[part], safetensors.numpy.load_file(path)[part]


@dataclass(frozen=True)
class Run:
    """All trials of one recipe on one corpus.

    Attributes:
        folder: `<runs>/<recipe>-<identity>`.
        recipe: fully resolved.
    """

    folder: Path
    recipe: Recipe

    @classmethod
    def begin(cls, runs: Path, recipe: Recipe, data: str) -> Run:
        """Make a run's folder, or take up the one that is there.

        Raises:
            SereneError: the folder holds another recipe.
        """
        identity = recipe.identity(data)
        same = sorted(runs.glob(f"*-{identity}"))  # the same settings give the same, whatever the recipe's name
        run = cls(same[0] if same else runs / f"{recipe.name}-{identity}", recipe)
        kept = run.folder / "recipe.yaml"
        if kept.exists() and kept_recipe(kept).identity(data) != identity:
            raise SereneError(
                f"{run.folder} holds a run of another recipe: its recipe.yaml was changed. "
                "Restore that file, or delete the folder to run again."
            )
        write_text(kept, recipe.to_yaml())
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run that has begun.

        Raises:
            SereneError: the folder is not a run's, or its recipe names code that is not trusted.
        """
        folder = Path(folder)
        if not (folder / "recipe.yaml").exists():
            raise SereneError(
                f"{folder} is not a run's folder: it has no recipe.yaml. `serene train` makes one, such as "
                "runs/<recipe>-<hash>."
            )
        name = folder.resolve().name.rpartition("-")[0]
        return cls(folder, replace(kept_recipe(folder / "recipe.yaml"), name=name))

    @property
    def identity(self) -> str:
        """The hash that ends the folder's name."""
        return self.folder.resolve().name.rpartition("-")[2]

    def trial(self, fold: str, seed: int) -> Trial:
        """Give the trial of a fold and seed, begun or not."""
        return Trial(self.folder / f"fold-{quote(fold, safe='')}" / f"seed-{seed}", fold, seed)

    def finished(self) -> list[Trial]:
        """Give the finished trials in the order of folds and seeds.

        Raises:
            SereneError: there is none.
        """
        folders = [path for path in self.folder.glob("fold-*/seed-*") if path.is_dir()]
        names = [(p.parent.name.removeprefix("fold-"), p.name.removeprefix("seed-")) for p in folders]
        trials = [self.trial(unquote(fold), int(seed)) for fold, seed in names]
        done = sorted((c for c in trials if c.finished), key=lambda c: (len(c.fold), c.fold, c.seed))
        if not done:
            raise SereneError(f"No fold of {self.folder} has finished; run `serene train` again to go on with it.")
        return done
