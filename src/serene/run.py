"""A run's folder: one cell per fold and seed, each finished, interrupted or not begun; all reports come from here."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import safetensors.numpy

from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.evaluation.ratings import Ratings
from serene.files import write_text
from serene.recipe import Recipe, load

PREDICTIONS = ("predictions.csv", "predictions.csv.gz")  # the second where a run is kept small, as under results/
PACKAGES = (
    *("serene-ser", "torch", "transformers", "numpy", "scikit-learn"),
    *("kaldi-native-fbank", "soundfile", "soxr"),
)


@dataclass(frozen=True)
class Cell:
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

    def predictions(self) -> Predictions | Ratings:
        """Read the cell's predictions, plain or compressed: of classes or of dimensions, as the table's header says."""
        path = next(self.folder / name for name in PREDICTIONS if (self.folder / name).exists())
        return (Ratings if Ratings.heads(path) else Predictions).read(path)

    def log(self) -> list[dict[str, float]]:
        """Read the training log, a dictionary per epoch."""
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def json(self, name: str) -> Any:
        """Read one of the cell's JSON files; None where it is not there."""
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
    """All cells of one recipe on one corpus.

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
        same = sorted(
            runs.glob(f"*-{identity}")
        )  # settings that are the same give the same, whatever the recipe's name
        run = cls(same[0] if same else runs / f"{recipe.name}-{identity}", recipe)
        kept = run.folder / "recipe.yaml"
        if kept.exists() and load(kept).identity(data) != identity:
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
            SereneError: the folder is not a run's.
        """
        folder = Path(folder)
        if not (folder / "recipe.yaml").exists():
            raise SereneError(
                f"{folder} is not a run's folder: it has no recipe.yaml. `serene train` makes one, such as "
                "runs/<recipe>-<hash>."
            )
        name = folder.resolve().name.rpartition("-")[0]
        return cls(folder, replace(load(folder / "recipe.yaml"), name=name))

    @property
    def identity(self) -> str:
        """The hash that ends the folder's name."""
        return self.folder.resolve().name.rpartition("-")[2]

    def cell(self, fold: str, seed: int) -> Cell:
        """Give the cell of a fold and seed, begun or not."""
        return Cell(self.folder / f"fold-{quote(fold, safe='')}" / f"seed-{seed}", fold, seed)

    def finished(self) -> list[Cell]:
        """Give the finished cells in the order of folds and seeds.

        Raises:
            SereneError: there is none.
        """
        folders = [path for path in self.folder.glob("fold-*/seed-*") if path.is_dir()]
        names = [(p.parent.name.removeprefix("fold-"), p.name.removeprefix("seed-")) for p in folders]
        cells = [self.cell(unquote(fold), int(seed)) for fold, seed in names]
        done = sorted((c for c in cells if c.finished), key=lambda c: (len(c.fold), c.fold, c.seed))
        if not done:
            raise SereneError(f"No fold of {self.folder} has finished; run `serene train` again to go on with it.")
        return done


def environment(seconds: float) -> dict[str, Any]:
    """Describe what a cell ran on, and for how long: versions and the kind of machine, not its name."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "seconds": round(seconds, 1),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Name the processor's kind; Linux tells it in a file, others through `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
