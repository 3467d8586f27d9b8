"""A recipe is trained: every fold and seed that has not finished, then the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serene.audio.dataset import warm
from serene.evaluation.label_calibration import LabelCalibration
from serene.experiment.corpus import Progress, silent
from serene.experiment.label_calibration import calibrate_trial
from serene.experiment.plan import Plan, make_plan, plan_pretraining
from serene.experiment.recipe import Recipe
from serene.experiment.run import Run
from serene.experiment.run_report import write_report
from serene.experiment.trial import parts_of, store_of, train_trial, voice_store
from serene.experiment.workers import CORES, work
from serene.protocols import Split
from serene.reporting.plots import draw_pretraining
from serene.training.pretraining import Stage, compute
from serene.training.stages import Pretraining
from serene.training.trainer import Trainer


def train(
    recipe: Recipe, runs: Path, *, jobs: int | None = 1, progress: Progress = silent, tensorboard: bool = False
) -> Run:
    """Train every fold and seed that has not finished, write the report, and return the run.

    Args:
        recipe: the settings.
        runs: folder of runs; features and prepared manifests are kept there too.
        jobs: trainings at a time, each in a process of its own and on one thread; results do not depend on it. None
            for one on a GPU, and one per core where there is none.
        progress: told about decoding, features and epochs.
        tensorboard: also write TensorBoard events into each trial's folder.
    """
    if recipe.calibration is not None:
        return _calibrate(recipe, recipe.calibration, runs, jobs=jobs, progress=progress, tensorboard=tensorboard)
    planned = make_plan(recipe, runs, progress)
    todo = [(split, trial) for split, trial in planned.trials if not trial.finished]
    _warm(planned, [split for split, _ in todo], progress)
    epochs = recipe.training["epochs"]
    reached: dict[Path, int] = {}

    def heard(folder: Path, epoch: int) -> None:
        reached[folder] = epoch
        progress("training", sum(reached.values()), len(todo) * epochs)

    beginning = _computed(planned.stages, progress) if planned.stages and todo else None
    before, folds = (recipe, planned.task, planned.store), len(planned.splits)
    tasks = [(*before, split, planned.speakers, beginning, folds, trial, tensorboard) for split, trial in todo]
    most = 1 if Trainer(**recipe.training).device == "cuda" else CORES
    work(train_trial, tasks, jobs=jobs or most, heard=heard)
    write_report(planned.run)
    return planned.run


def _calibrate(
    recipe: Recipe, settings: LabelCalibration, runs: Path, *, jobs: int | None, progress: Progress, tensorboard: bool
) -> Run:
    """Train the recipe without its calibration, or take up the run that has, and calibrate its answers."""
    planned = make_plan(recipe, runs, progress)
    trained = train(replace(recipe, calibration=None), runs, jobs=jobs, progress=progress, tensorboard=tensorboard)
    for split, trial in planned.trials:
        if not trial.finished:
            calibrate_trial(recipe, settings, planned.task, split, trained.trial(trial.fold, trial.seed), trial)
    write_report(planned.run)
    return planned.run


def pretrain(recipe: Pretraining, runs: Path, progress: Progress = silent) -> Path:
    """Compute an encoder's stages that are not there yet; return the folder of the last one's."""
    return _computed(plan_pretraining(recipe, runs, progress), progress)


def _computed(stages: Sequence[Stage], progress: Progress) -> Path:
    """Give the encoder of the last stage, and draw how each that is new was trained."""
    encoder = compute(stages[-1], progress)
    for stage in stages:
        picture, log = stage.folder / "curves.png", stage.folder / "log.jsonl"
        if log.exists() and not picture.exists():
            draw_pretraining([json.loads(line) for line in log.read_text().splitlines()], picture)
    return encoder


def _warm(planned: Plan, splits: list[Split], progress: Progress) -> None:
    """Compute the features that the trainings to come will read."""
    clips = {u.id: u for s in splits for u in (*s.train, *s.validation, *s.test, *s.unlabelled)}
    store = store_of(planned.recipe, planned.store)
    warm(list(clips.values()), store, lambda done, of: progress("features", done, of))
    warm(planned.speakers if splits else (), store, lambda done, of: progress("speakers' features", done, of))
    if parts_of(planned.recipe)[1].hears_voices:
        unlabelled = {u.id: u for s in splits for u in s.unlabelled}
        warm(list(unlabelled.values()), voice_store(planned.store), lambda done, of: progress("voices", done, of))
