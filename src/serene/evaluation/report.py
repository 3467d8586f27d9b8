"""A Report: all that predictions, probes and the caller's facts say about a run, as `report.json` holds it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from serene.errors import SereneError
from serene.evaluation import reliability, shift, speakers
from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.confidence import intervals, mean_of_folds, tallies
from serene.evaluation.metrics import confusion, per_class_recall
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import classes_are_speakers, numbered
from serene.files import write_text
from serene.task import Task, task_of, task_of_report

PROBES = ("linear", "nonlinear")
DEPENDENT = "Speaker dependent: test speakers are also in training, so this says nothing about unseen speakers."
NAMED = (
    "Speaker identification: the speakers to be named are those of the training. This says nothing about emotion, nor "
    "about unseen speakers."
)
ENROLLED = (
    "The models were enrolled with, or adapted to, test speakers' other, unlabelled clips: never compare with a system "
    "that is given one clip at a time."
)
ALONE = "One test speaker only: the intervals cover that speaker's utterances, not other speakers."
INCOMPLETE = "Not every seed has run every fold: figures are over what there is."


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """What predictions cannot tell of a run; kept in the report as it is."""

    title: str
    protocol: str  # by which speakers were split, and its settings
    speaker_independent: bool | None  # whether no test speaker is in training or validation; None for unknown
    selection: str  # how the epoch was selected, and by what validation
    saw_unlabelled_test_audio: bool  # whether test speakers are enrolled with their other, unlabelled clips
    stamps: Sequence[str] = ()  # warnings in plain words
    target: str | None = None  # what a recipe calls what is predicted; as the predictions have it without
    corpus: str | None = None  # that is tested on
    only: Mapping[str, Any] | None = None  # what its clips are restricted to
    data: Mapping[str, Any] | None = None  # which files of it were used
    languages: Sequence[str] = ()  # of the corpus
    join: Mapping[str, str] | None = None  # labels that were joined to others
    method: str | None = None  # how the models learnt
    speaker_corpus: str | None = None  # from which a method learnt speakers
    normalize: str | None = None  # how features are standardised
    recipe: str | None = None  # its text
    recipe_hash: str | None = None  # what identifies the run
    machine: str | None = None  # that trained
    seconds: float | None = None  # that training took
    environment: Mapping[str, Any] | None = None  # versions

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Take the facts from what a `report.json` holds."""
        return cls(**{field.name: content[field.name] for field in fields(cls) if field.name in content})


@dataclass(frozen=True, eq=False)
class Embedding:
    """Vectors (utterance, feature) of which a picture is drawn, and predictions of them: one part of one run."""

    vectors: np.ndarray
    predictions: Predictions


@dataclass(frozen=True, eq=False)
class Report:
    """What `report.json` holds of a run; for pictures, each training's log by epoch, an embedding, test predictions."""

    content: Mapping[str, Any]
    logs: Sequence[Sequence[Mapping[str, float]]] = ()
    embedding: Embedding | None = None
    predictions: Predictions | None = None

    @property
    def task(self) -> Task:
        """What was predicted."""
        return task_of_report(self.content)

    def to_json(self) -> dict[str, Any]:
        """Return the content as plain dictionaries and lists, without NaN."""
        return _without_nan(self.content)

    def write(self, path: str | Path) -> None:
        """Write `report.json`, whole or not at all."""
        write_text(path, json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def build(
    predictions: Predictions,
    facts: ReportFacts,
    *,
    probes: Sequence[Mapping[str, Any] | None] = (),
    shifts: Sequence[Mapping[str, float] | None] = (),
    temperatures: Sequence[float] = (),
    groups_of: speakers.Facts | None = None,
    logs: Sequence[Sequence[Mapping[str, float]]] = (),
    embedding: Embedding | None = None,
) -> Report:
    """Compute all figures of a run.

    Above `MOST_CLASSES` classes there is no confusion matrix, and speakers have no recall per class; nor have they
    where the classes are the speakers.

    Predictions are of all folds and seeds: a test part, and a validation part where there is one. Probes are of each
    trial `{"test": speaker_probe(...) or None, "train": ...}`, shifts `serene.evaluation.shift.of_embeddings`; both are
    averaged over the trials that have them. Temperatures have scaled the models' scores, of those models of classes
    that say so. `groups_of` is what `speakers.facts_of` collects. A log has a row per epoch of a training.

    Raises:
        SereneError: no test predictions, or a validation speaker who is also tested in the same fold although the
            facts say that speakers are independent.
    """
    test, validation = predictions.select(part="test"), predictions.select(part="validation")
    if not len(test):
        raise SereneError("There are no test predictions to report on.")
    if facts.speaker_independent:
        _check_independent(test, validation)
    task = task_of(facts.target or test.task.target, test.names)
    own, performance = OF_TASK[task.metric](test, temperatures)
    content = {
        **asdict(facts),
        "target": task.target,
        "stamps": list(dict.fromkeys([*_stamps(test, facts, task), *facts.stamps])),
        **_measured(test, validation, task),
        **own,
        "n_speakers": len(own["per_speaker"]),
        "per_group": speakers.of_groups(test, groups_of or {}),
        "speaker_probe": _over_trials(probes),
        "shift": shift.described(predictions, performance, shifts) if performance else None,
    }
    return Report(content, logs, embedding, test)


def _measured(test: Predictions, validation: Predictions, task: Task) -> dict[str, Any]:
    """Give what every task has: what was tested, and the figures of test and validation."""
    metrics, validated = _figures(test), _figures(validation) if len(validation) else None
    return {
        "seeds": np.unique(test.seed).tolist(),
        "folds": test.distinct("fold"),
        "n_utterances": len(numbered(test.id)[0]),
        "metrics": metrics,
        "metrics_mean_of_folds": mean_of_folds(test),
        "validation": validated,
        "gap": task.merit(validated) - task.merit(metrics) if validated else None,
    }


def _figures(predictions: Predictions) -> dict[str, dict[str, float | None]]:
    return {name: asdict(interval) for name, interval in intervals(predictions).items()}


def _of_classes(test: Predictions, temperatures: Sequence[float]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Give what is particular to a task of classes, and each speaker's performance; none where they are the classes."""
    few, named = len(test.names) <= MOST_CLASSES, classes_are_speakers(test)
    everyone = speakers.classified(test, by_class=few and not named)
    recall = per_class_recall(tallies(test).sum(axis=0)).tolist()
    own = {
        "classes": list(test.names),
        "per_class_recall": dict(zip(test.names, recall, strict=True)),
        "confusion": confusion(test.truth, test.prediction, len(test.names)).tolist() if few else None,
        "per_speaker": everyone,
        "speaker_spread": speakers.spread([one["ua"] for one in everyone]),
        "reliability": reliability.described(test, temperatures),
    }
    return own, {} if named else {shift.TARGET: {one["speaker"]: one["ua"] for one in everyone}}


def _of_dimensions(test: Predictions, _: Sequence[float]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Give what is particular to dimensions, and each speaker's performance."""
    everyone = speakers.rated(test)
    reached = {name: {one["speaker"]: one["ccc"][name] for one in everyone} for name in test.names}
    own = {
        "dimensions": list(test.names),
        "per_speaker": everyone,
        "speaker_spread": {name: speakers.spread([*ccc.values()]) for name, ccc in reached.items()},
        "speakers_without_ccc": {name: sum(v != v for v in ccc.values()) for name, ccc in reached.items()},
    }
    return own, reached


OF_TASK = {"ua": _of_classes, "ccc": _of_dimensions}  # by a task's metric


def average_probes(probes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average what `speaker_probe` found in several trials.

    Accuracies, chance, majority, deviations, equal-error rates and sizes are means over trials; `draws` and
    `n_speakers_left_out` are sums; `accuracy` is the better probe's mean; `trials` counts them.
    """
    kinds = {name: {key: _mean([probe[name][key] for probe in probes]) for key in ("mean", "std")} for name in PROBES}
    averaged: dict[str, Any] = {"accuracy": max(probe["mean"] or 0.0 for probe in kinds.values())}
    averaged |= {name: _mean([probe[name] for probe in probes]) for name in ("chance", "majority")} | kinds
    averaged |= {name: _mean([probe[name] for probe in probes]) for name in ("eer", "n_utterances", "n_speakers")}
    averaged |= {name: sum(probe[name] for probe in probes) for name in ("n_speakers_left_out", "draws")}
    averaged |= {"trials": len(probes), "text_disjoint": all(probe["text_disjoint"] for probe in probes)}
    averaged["standardized"] = " and ".join(dict.fromkeys(probe["standardized"] for probe in probes))
    notes = list(dict.fromkeys(probe["note"] for probe in probes if "note" in probe))
    return averaged | ({"note": " ".join(notes)} if notes else {})


def _stamps(test: Predictions, facts: ReportFacts, task: Task) -> list[str]:
    (folds, fold), (seeds, seed) = (np.unique(column, return_inverse=True) for column in (test.fold, test.seed))
    trials = len(np.unique(fold * len(seeds) + seed))
    rules = (
        (not facts.speaker_independent and task.kind == "speakers", NAMED),
        (facts.speaker_independent is False and task.kind != "speakers", DEPENDENT),
        (facts.saw_unlabelled_test_audio, ENROLLED),
        (len(np.unique(test.speaker)) == 1, ALONE),
        (trials < len(folds) * len(seeds), INCOMPLETE),
    )
    return [stamp for applies, stamp in rules if applies]


def _check_independent(test: Predictions, validation: Predictions) -> None:
    for fold, seed in itertools.product(test.distinct("fold"), test.distinct("seed")):  # a split may go by the seed
        parts = (part.select(fold=fold, seed=seed) for part in (test, validation))
        shared = set.intersection(*(set(part.distinct("speaker")) for part in parts))
        if shared:
            raise SereneError(
                f"The report is said to be speaker independent, but in fold {fold} validation and test share "
                f"{len(shared)} speakers, for example '{min(shared)}'."
            )


def _over_trials(trials: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    parts = {part: [trial[part] for trial in trials if trial and trial.get(part)] for part in ("test", "train")}
    if not any(parts.values()):
        return None
    unseen, known = (average_probes(found) if found else None for found in parts.values())
    return (unseen or dict.fromkeys(("accuracy", "chance", "majority"))) | {"train_speakers": known}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value
