"""Where runs depart from their table's recipes, and which sentences about the recipes hold of them nevertheless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import yaml

from serene.evaluation.predictions import Predictions
from serene.experiment.sections import Recipe
from serene.files import load_json
from serene.models import weights as weights_of_encoders
from serene.published import Sentence
from serene.reproduce.measures import Trained

MOST = 12  # settings that are named
REPLACED = ("protocol.name", "corpus.name", "speakers.name")  # sections whose other settings then say nothing
SAME = 0.01  # of how far answers differ from clip to clip
LONG = 60  # characters of a value, above which it is cut
ARCHITECTURE = {"num_hidden_layers": "{} layers", "hidden_size": "width {}"}


def changed(recipes: Sequence[tuple[Recipe, Recipe]]) -> list[str]:
    """Name the settings that are not the recipes' own, of pairs: the recipe as its file has it, and as it was run.

    Where data lie is no such setting, and of another protocol the name alone is.
    """
    found: dict[str, list[str]] = {}
    for theirs, ours in recipes:
        for key, (before, now) in _changes(theirs.resolved(), ours.resolved()):
            told = f"{key} {_short(now)} instead of {_short(before)}"
            found.setdefault(key, [])
            found[key] += [told] * (told not in found[key])
    told = [told[0] if len(told) == 1 else f"{told[0]} (of other rows, others)" for told in found.values()]
    if not told:
        return []
    more = f"; and {len(told) - MOST} more, which each run's recipe.yaml has" if len(told) > MOST else ""
    return [f"Settings that are not the recipes': {'; '.join(told[:MOST])}{more}."]


def stand_ins(weights: Mapping[str, str], recipes: Sequence[Recipe]) -> list[str]:
    """Say which weights took the place of others, and how large their encoder is."""
    used = {name for made in recipes for name in (made.initial_weights, made.frozen_weights)}
    used |= {stage.targets.source for made in recipes for stage in made.stages}
    return [
        f"In place of the weights {name} stand those in {folder}{_size(folder)}: figures are of them."
        for name, folder in weights.items()
        if folder in used
    ]


def sentences(given: Sequence[str | Sentence], recipes: Sequence[Recipe]) -> list[str]:
    """Give the sentences that hold of at least one of the recipes; those without a condition always do."""
    runs = [dict(_flat(made.resolved())) for made in recipes]

    def hold(settings: Sequence[str]) -> bool:
        wanted = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in settings)}
        return not runs or any(all(run.get(key) == value for key, value in wanted.items()) for run in runs)

    return [str(one) for one in given if isinstance(one, str) or hold(one.holds)]


def validation_clips(trained: Sequence[Trained]) -> list[str]:
    """Say how many labelled clips validate where training has few."""
    trials = [trial for one in trained if one.recipe.protocol.name == "low_resource" for trial in one.trials]
    counts = sorted({len(found) for trial in trials if len(found := trial.predictions().select(part="validation"))})
    if not counts:
        return []
    many = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
    return [
        f"Where training has few clips per emotion, {many} labelled validation clips choose the epoch all the same."
    ]


def coincidences(trained: Mapping[tuple[str, str], Sequence[Trained]]) -> list[str]:
    """Name rows whose trainings answer every clip of a column alike: what tells them apart changed hardly anything."""
    found: dict[tuple[str, str], list[str]] = {}
    for ((row, column), first), ((other, beside), second) in combinations(trained.items(), 2):
        if column == beside and _alike([one.predictions for one in first], [one.predictions for one in second]):
            found.setdefault((row, other), []).append(column)
    return [
        f"{row} and {other} coincide in {', '.join(columns)}: their answers differ by less than a hundredth of what "
        "they differ from clip to clip."
        for (row, other), columns in found.items()
    ]


def _alike(first: Sequence[Predictions], second: Sequence[Predictions]) -> bool:
    one, other = (np.concatenate([predictions.scores for predictions in several]) for several in (first, second))
    return one.shape == other.shape and bool(np.abs(one - other).max() <= SAME * one.std(axis=0).max())


def _changes(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    before, now = dict(_flat(theirs)), dict(_flat(ours))
    replaced = {key.partition(".")[0] for key in REPLACED if before.get(key) != now.get(key)}
    for key in dict.fromkeys((*before, *now)):
        section, _, setting = key.partition(".")
        silent = key.endswith((".path", "corpus.name")) or (section in replaced and setting != "name")
        silent |= section == "labels" and "corpus" in replaced
        if not silent and before.get(key) != now.get(key):
            yield key, (before.get(key), now.get(key))


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give the settings with their keys in a line, such as `stages.0.training.epochs`."""
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value and key != "config":
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
            yield from _flat({str(place): one for place, one in enumerate(value)}, f"{name}.")
        else:
            yield name, list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"


def _size(folder: str) -> str:
    """Say how large the encoder in a folder of weights is, if its configuration says so."""
    try:
        config = load_json(weights_of_encoders.find(folder) / weights_of_encoders.CONFIG)
        told = [words.format(config[key]) for key, words in ARCHITECTURE.items() if key in config]
    except (OSError, ValueError, TypeError):
        return ""
    return f" ({', '.join(told)})" if told else ""
