"""The whole line on built-in data: a corpus, a baseline, a speaker-adversarial model, one report of both."""

from __future__ import annotations

import json
from pathlib import Path

from serene.experiment.corpus import Progress, silent
from serene.experiment.recipe import load_table
from serene.experiment.recipe_file import RECIPES
from serene.experiment.train import TableReport, train_table


def quickstart(folder: Path, *, jobs: int | None = 1, progress: Progress = silent) -> TableReport:
    """Make the synthetic corpus, train both models, test them on unseen speakers; nothing is downloaded.

    Args:
        folder: gets the corpus, the runs and `report.html`.
        jobs: trainings at a time.
        progress: told what is being done.
    """
    corpus = f"corpus.path={json.dumps(str(folder / 'synthetic'))}"
    recipes = load_table(RECIPES / "quickstart.yaml", [corpus])
    return train_table(recipes, folder / "runs", folder, jobs=jobs, progress=progress)
