"""A finished training's answers, calibrated by similar training speakers: nothing is trained again (PLDC)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any

import numpy as np

from serene.corpora.manifest import Utterance
from serene.errors import SereneError
from serene.evaluation.label_calibration import (
    LabelCalibration,
    Neighbourhood,
    Spoken,
    calibrate_scores,
    calibrate_values,
    speaker_vectors,
)
from serene.evaluation.predictions import Predictions
from serene.experiment.run import Trial
from serene.experiment.sections import Recipe
from serene.experiment.trial import describe
from serene.files import write_text
from serene.protocols import Split
from serene.task import Task

KEPT = ("log.jsonl", "probes.json", "embeddings.json", "embeddings.safetensors")  # true of the calibrated trial as well
TOLD = "calibration.json"  # whom each speaker was calibrated by, and what that changed


def calibrate_trial(
    recipe: Recipe, settings: LabelCalibration, task: Task, split: Split, trained: Trial, trial: Trial
) -> None:
    """Calibrate what a trial that has `trained` answered, by labels and voices of its training speakers; keep it all.

    Raises:
        SereneError: the finished trial's embeddings were not kept, or the calibration does not fit its speakers.
    """
    speakers, labels = [u.speaker for u in split.train], task.targets(split.train).astype(np.float64)
    known = Spoken(labels, speakers, _vectors(trained, "train", split.train))
    answers, told = [], {}
    for part, clips in (("validation", split.validation), ("test", split.test)):
        if clips:
            calibrated, reasons = _calibrated(trained, known, settings, clips, part, task)
            answers.append(calibrated)
            told[part] = {name: _plain(reason) for name, reason in reasons.items()}
    trial.folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (trained.folder / name).exists():
            shutil.copyfile(trained.folder / name, trial.folder / name)
    write_text(trial.folder / "recipe.yaml", recipe.to_yaml())
    write_text(trial.folder / TOLD, json.dumps(told, indent=2) + "\n")
    trial.finish({**trained.facts(), "split": describe(split)}, Predictions.concatenate(answers))


def _calibrated(
    trained: Trial, known: Spoken, settings: LabelCalibration, clips: Sequence[Utterance], part: str, task: Task
) -> tuple[Predictions, dict[str, Neighbourhood]]:
    rows = trained.predictions().select(part=part)
    place = {name: i for i, name in enumerate(rows.id.tolist())}
    order = [place[u.id] for u in clips]
    of_rows, calibrate = WAYS[task.gives]
    predicted = Spoken(of_rows(rows)[order], [u.speaker for u in clips], _vectors(trained, part, clips))
    done = calibrate(predicted, known, settings)
    answers = Predictions.of_clips(clips, done.outputs, task, part=part, fold=trained.fold, seed=trained.seed)
    return answers, done.speakers


def _vectors(trained: Trial, part: str, clips: Sequence[Utterance]) -> dict[str, np.ndarray]:
    kept = trained.embeddings(part)
    if kept is None:
        raise SereneError(
            f"{trained.folder} has finished, and its embeddings are gone, which calibration finds similar speakers by. "
            "Delete the folder and train again."
        )
    place = {name: i for i, name in enumerate(kept[0])}
    return speaker_vectors(kept[1][[place[u.id] for u in clips]], [u.speaker for u in clips])


def _shares(rows: Predictions) -> np.ndarray:
    """Make scores, which were rounded when they were kept, sum to 1 again."""
    return rows.scores / rows.scores.sum(axis=1, keepdims=True)


WAYS = {"probabilities": (_shares, calibrate_scores), "values": (attrgetter("scores"), calibrate_values)}


def _plain(neighbourhood: Neighbourhood) -> dict[str, Any]:
    plain = asdict(neighbourhood)
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in plain.items()}
