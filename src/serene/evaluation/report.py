"""A Report: all that predictions, probes and the caller's facts say about a run, as `report.json` holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serene.errors import SereneError
from serene.evaluation import groups, people, reliability, shift
from serene.evaluation.confidence import Interval, intervals, mean_of_folds, tallies
from serene.evaluation.metrics import confusion, per_class_recall
from serene.evaluation.predictions import MOST_CLASSES, Predictions
from serene.evaluation.ratings import Ratings
from serene.evaluation.resampling import classes_are_speakers
from serene.files import write_text

PROBES = ("linear", "nonlinear")
FACTS = ("protocol", "speaker_independent", "selection", "saw_unlabelled_test_audio")
DEPENDENT = "Speaker dependent: test speakers are also heard in training, so this says nothing about new speakers."
NAMED = (
    "Speaker identification: the speakers to be named are those of the training. This says nothing about emotion, nor "
    "about new speakers."
)
HEARD = (
    "Test speakers' other audio was heard, without labels: never compare with a system that hears one clip at a time."
)
ALONE = "One test speaker only: the intervals cover that speaker's utterances, not other speakers."
INCOMPLETE = "Not every seed has run every fold: figures are over what there is."


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a picture of the embedding is drawn from.

    Attributes:
        vectors: (utterance, feature).
        emotions: label of each (utterance,); None where dimensions are learnt.
        speakers: who speaks (utterance,).
        name: whose embedding it is, such as "validation, fold 1, seed 0".
        values: dimension -> true value of each (utterance,).
    """

    vectors: np.ndarray
    emotions: Sequence[str] | None
    speakers: Sequence[str]
    name: str
    values: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Report:
    """What is known about a run.

    Attributes:
        content: what `report.json` holds.
        logs: of each training, what it logged per epoch.
        embedding: for the t-SNE picture; None for none.
        ratings: of the test, for the picture of dimensions; None for none.
    """

    content: Mapping[str, Any]
    logs: Sequence[Sequence[Mapping[str, float]]] = ()
    embedding: Embedding | None = None
    ratings: Ratings | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the content as plain dictionaries and lists, without NaN."""
        return _without_nan(self.content)

    def write(self, path: str | Path) -> None:
        """Write `report.json`, whole or not at all."""
        write_text(path, json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def build(
    predictions: Predictions | Ratings,
    *,
    facts: Mapping[str, Any],
    probes: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
    shifts: Sequence[Mapping[str, float] | None] = (),
    temperatures: Sequence[float] = (),
    groups_of: groups.Facts | None = None,
    logs: Sequence[Sequence[Mapping[str, float]]] | None = None,
    embedding: Embedding | None = None,
) -> Report:
    """Compute all figures of a run.

    Above `MOST_CLASSES` classes there is no confusion matrix, and speakers have no recall per class; nor have they
    where the classes are the speakers.

    Args:
        predictions: of all folds and seeds, of classes or of dimensions; a test part, and a validation part where there
            is one.
        facts: what predictions cannot tell, kept in the report as it is: `protocol`, `speaker_independent`,
            `selection`, `saw_unlabelled_test_audio`, and any of `title`, `method`, `corpus`, `recipe` (its text),
            `recipe_hash`, `environment`, `machine`, `seconds`, `stamps` (warnings in plain words).
        probes: of one trial or of each, `{"test": speaker_probe(...) or None, "train": ...}`; averaged over
            the trials that have it.
        shifts: of each trial, `serene.evaluation.shift.of_embeddings`; averaged over the trials that have it.
        temperatures: by which the models' scores were scaled; of those models of classes that say so.
        groups_of: what is known of speakers, as `serene.evaluation.groups.facts_of` collects it.
        logs: of each training, a row per epoch.
        embedding: for the t-SNE picture.

    Raises:
        SereneError: no test predictions, a missing fact, or a validation speaker who is also tested in the same fold
            although the facts say that speakers are independent.
    """
    missing = [name for name in FACTS if name not in facts]
    if missing:
        raise SereneError(f"A report needs the facts {', '.join(missing)}.")
    test, validation = predictions.select(part="test"), predictions.select(part="validation")
    if not len(test):
        raise SereneError("There are no test predictions to report on.")
    if facts["speaker_independent"]:
        _check_independent(test, validation)
    tested = intervals(test)
    validated = intervals(validation) if len(validation) else None
    own, performance = _of_dimensions(test) if isinstance(test, Ratings) else _of_classes(test, temperatures)
    content = {
        **facts,
        "stamps": list(dict.fromkeys([*_stamps(test, facts), *facts.get("stamps", ())])),
        "seeds": np.unique(test.seed).tolist(),
        "folds": list(dict.fromkeys(test.fold.tolist())),
        "n_utterances": len(np.unique(test.id)),
        "n_speakers": len(own["per_speaker"]),
        "metrics": {name: interval.to_dict() for name, interval in tested.items()},
        "metrics_mean_of_folds": mean_of_folds(test),
        "validation": {name: interval.to_dict() for name, interval in validated.items()} if validated else None,
        "gap": _headline(validated, test) - _headline(tested, test) if validated else None,
        **own,
        "per_group": groups.measured(test, groups_of or {}),
        "speaker_probe": _over_trials([probes] if isinstance(probes, Mapping) else probes or []),
        "shift": shift.described(predictions, performance, shifts) if performance else None,
    }
    return Report(content, tuple(logs or ()), embedding, test if isinstance(test, Ratings) else None)


def _of_classes(test: Predictions, temperatures: Sequence[float]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Give what is particular to a task of classes, and each speaker's performance; none where they are the classes."""
    few, named = len(test.classes) <= MOST_CLASSES, classes_are_speakers(test)
    everyone = people.classified(test, by_class=few and not named)
    recall = per_class_recall(tallies(test).sum(axis=0)).tolist()
    own = {
        "classes": list(test.classes),
        "per_class_recall": dict(zip(test.classes, recall, strict=True)),
        "confusion": confusion(test.truth, test.prediction, len(test.classes)).tolist() if few else None,
        "per_speaker": everyone,
        "speaker_spread": people.spread([one["ua"] for one in everyone]),
        "reliability": reliability.described(test, temperatures),
    }
    return own, {} if named else {shift.TARGET: {one["speaker"]: one["ua"] for one in everyone}}


def _of_dimensions(test: Ratings) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Give what is particular to dimensions, and each speaker's performance."""
    everyone = people.rated(test)
    reached = {name: {one["speaker"]: one["ccc"][name] for one in everyone} for name in test.dimensions}
    own = {
        "dimensions": list(test.dimensions),
        "per_speaker": everyone,
        "speaker_spread": {name: people.spread([*ccc.values()]) for name, ccc in reached.items()},
        "speakers_without_ccc": {name: sum(v != v for v in ccc.values()) for name, ccc in reached.items()},
    }
    return own, reached


def _headline(found: Mapping[str, Interval], test: Predictions | Ratings) -> float:
    """Give the figure by which validation and test are compared: UA, or the mean of the dimensions' CCC."""
    names = ["ua"] if isinstance(test, Predictions) else [f"ccc_{name}" for name in test.dimensions]
    return sum(found[name].value for name in names) / len(names)


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


def _stamps(test: Predictions | Ratings, facts: Mapping[str, Any]) -> list[str]:
    cells = len({*zip(test.fold.tolist(), test.seed.tolist(), strict=True)})
    rules = (
        (not facts["speaker_independent"], NAMED if facts.get("target") == "speaker" else DEPENDENT),
        (facts["saw_unlabelled_test_audio"], HEARD),
        (len(np.unique(test.speaker)) == 1, ALONE),
        (cells < len(np.unique(test.fold)) * len(np.unique(test.seed)), INCOMPLETE),
    )
    return [stamp for applies, stamp in rules if applies]


def _check_independent(test: Predictions | Ratings, validation: Predictions | Ratings) -> None:
    for fold in np.unique(test.fold):
        shared = {*test.select(fold=fold).speaker.tolist()} & {*validation.select(fold=fold).speaker.tolist()}
        if shared:
            raise SereneError(
                f"The report is said to be speaker independent, but in fold {fold} validation and test share "
                f"{len(shared)} speakers, for example '{min(shared)}'."
            )


def _over_trials(cells: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    parts = {part: [cell[part] for cell in cells if cell and cell.get(part)] for part in ("test", "train")}
    if not any(parts.values()):
        return None
    nothing: dict[str, Any] = dict.fromkeys(("accuracy", "chance", "majority"))
    unseen = average_probes(parts["test"]) if parts["test"] else nothing
    return unseen | {"train_speakers": average_probes(parts["train"]) if parts["train"] else None}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value
