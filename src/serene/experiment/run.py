"""A run's folder: one trial per fold and seed, each finished, interrupted or not begun; all reports come from here."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import safetensors.numpy

from serene.errors import SereneError
from serene.evaluation.predictions import PARTS, Predictions
from serene.experiment.recipe import kept as kept_recipe
from serene.experiment.sections import Recipe
from serene.files import damaged, read_json, read_json_lines, regular, write_text

PREDICTIONS = ("predictions.csv", "predictions.csv.gz")  # the second where a run is kept small, as under results/
ENVIRONMENT = "environment.json"
CHECKPOINT = "training.pt"  # of a trial that has not finished
FACTS = ("split", "of_folds", "selection", "seconds", "python", "system", "processor", "cores", "packages")
OF_THE_CORPUS = ("corpus.json", "speakers.json")  # beside the trials
LASTING = (  # of what a trial answers for, what archives keep as well
    *("log.jsonl", "probes.json", PREDICTIONS[0]),
    *(f"../../{name}" for name in OF_THE_CORPUS),
)
SEALED = (
    *(*LASTING, "recipe.yaml", "steps.jsonl", "calibration.json", "embeddings.json", "embeddings.safetensors"),
    *(f"model/{name}" for name in ("config.json", "preprocessor_config.json", "trained_on.json", "model.safetensors")),
)


@dataclass(frozen=True)
class Trial:
    """One training: a fold and a seed.

    Attributes:
        folder: holds `recipe.yaml`, `environment.json`, `log.jsonl`, `probes.json`, `embeddings.safetensors`, `model/`
            and, written last, `predictions.csv`. `environment.json` holds the size and digest of the others, and of
            the run's files that say what the corpus is.
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

    @property
    def lost(self) -> bool:
        """Whether it had finished, and the predictions are gone since: there is nothing to go on from either."""
        left = (self.folder / name for name in (ENVIRONMENT, CHECKPOINT))
        return not self.finished and [path.exists() for path in left] == [True, False]

    def predictions(self) -> Predictions:
        """Read the trial's predictions, plain or compressed: of classes or dimensions, as the table's header says."""
        answers, ids = Predictions.read(self._predictions), self.json("embeddings.json") or {}
        for part in {*ids} & {*PARTS}:
            if {*answers.select(part=part).id.tolist()} != {*ids[part]}:
                raise damaged(self._predictions, f"embeddings.json names other clips of the {part} part")
        return answers

    @property
    def _predictions(self) -> Path:
        return next((self.folder / name for name in PREDICTIONS if (self.folder / name).exists()), self.folder)

    def log(self) -> list[dict[str, float]]:
        """Read the training log, a dictionary per epoch."""
        path = self.folder / "log.jsonl"
        return read_json_lines(path, "epoch") if path.exists() else []

    def json(self, name: str, *needed: str) -> Any:
        """Read one of the trial's JSON files, with such keys; None where it is not there."""
        path = self.folder / name
        return read_json(path, *needed) if path.exists() else None

    def facts(self) -> dict[str, Any]:
        """Read what the trial was trained on and how, as `environment.json` holds it."""
        return read_json(self.folder / ENVIRONMENT, *FACTS)

    def embeddings(self, part: str) -> tuple[list[str], np.ndarray] | None:
        """Read a part's ids and embeddings (utterance, feature); None where they were not kept."""
        path, ids = self.folder / "embeddings.safetensors", self.json("embeddings.json", part)
        if not path.exists() and ids is None:
            return None
        if ids is None:
            raise damaged(path.with_suffix(".json"), "the embeddings are there, and not whose they are")
        try:
            kept = safetensors.numpy.load_file(regular(path))[part]
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise damaged(path, error) from error
        if kept.ndim != 2 or len(kept) != len(ids[part]):
            raise damaged(path, f"{part} is of the shape {kept.shape} for {len(ids[part])} clips")
        return ids[part], kept

    def finish(self, facts: Mapping[str, Any], predictions: Predictions) -> None:
        """Keep facts with the size and digest of all that the trial has kept, and last its predictions."""
        kept = {name: self.folder / name for name in SEALED}
        files = {name: _seal(regular(path).read_bytes()) for name, path in kept.items() if path.exists()}
        files[PREDICTIONS[0]] = _seal(predictions.to_bytes())
        write_text(self.folder / ENVIRONMENT, json.dumps({**facts, "files": files}, indent=2) + "\n")
        predictions.write(self.folder / PREDICTIONS[0])

    def check(self, below: str = ".") -> None:
        """Make sure that the files of the trial's folder and of the run's, or of one `below` it, are as they were.

        What archives leave out may be gone, and older trials tell no digests.

        Raises:
            SereneError: one is another, cut off or gone.
        """
        for name, sealed in (self.json(ENVIRONMENT) or {}).get("files", {}).items():
            path = self._predictions if name == PREDICTIONS[0] else Path(os.path.normpath(self.folder / name))
            folder = str(Path(name.removeprefix("../../")).parent)
            if folder != below or (name not in LASTING and not path.exists()):
                continue
            try:
                data = regular(path).read_bytes()
                found = _seal(gzip.decompress(data) if path.suffix == ".gz" else data)
            except (OSError, EOFError, zlib.error) as error:
                raise damaged(path, error) from error
            if found != sealed:
                raise damaged(path, f"it is not what the trial wrote, which had {sealed['bytes']} bytes")


def _seal(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


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
            SereneError: there is none, a file of one is not as it was written, or one was trained by another recipe.
        """
        folders = [path for path in self.folder.glob("fold-*/seed-*") if path.is_dir()]
        for odd in (path for path in folders if not path.name.removeprefix("seed-").isdecimal()):
            raise SereneError(f"{odd} is no trial's folder: seed-NUMBER was expected. Move it out of the run's folder.")
        names = [(p.parent.name.removeprefix("fold-"), p.name.removeprefix("seed-")) for p in folders]
        trials = [self.trial(unquote(fold), int(seed)) for fold, seed in names]
        for lost in (trial for trial in trials if trial.lost):
            raise damaged(lost.folder / PREDICTIONS[0], "the trial had finished, and it is gone")
        done = sorted((c for c in trials if c.finished), key=lambda c: (len(c.fold), c.fold, c.seed))
        if not done:
            raise SereneError(f"No fold of {self.folder} has finished; run `serene train` again to go on with it.")
        recipe = self.folder / "recipe.yaml"
        for trial in done:
            trial.check()
            own = trial.folder / recipe.name
            same = not own.exists() or regular(own).read_bytes() == recipe.read_bytes()
            if not same and kept_recipe(own).identity("") != self.recipe.identity(""):
                raise damaged(recipe, f"{own} has other settings")
        return done
