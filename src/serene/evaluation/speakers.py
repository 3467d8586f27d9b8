"""The speakers of a test, one by one and in the groups that a corpus tells apart, such as women and men."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from serene.corpora.manifest import Utterance
from serene.corpora.utterances import Utterances
from serene.evaluation.confidence import deviation, intervals, tallies
from serene.evaluation.metrics import mean_known, per_class_recall, ua, wa
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import ccc_of_each_speaker, rows_of_each

COLUMNS = ("gender", "ethnicity", "language")  # of a manifest, whose values are a speaker's and not a clip's
FEWEST = 3  # speakers of a group, below which its figures would be those of persons

Facts = Mapping[str, Mapping[str, str]]
"""Column -> speaker -> value."""


def classified(test: Predictions, *, by_class: bool) -> list[dict[str, Any]]:
    """Describe each speaker, the worst UA first, maybe with the recall of each class.

    Figures are means over seeds, `n` counts distinct utterances.
    """
    people = []
    names, who = np.unique(test.speaker, return_inverse=True)
    for name, rows in zip(names.tolist(), rows_of_each(who), strict=True):
        own = test.rows(rows)
        counts = tallies(own)
        one = {"speaker": name, "n": len(np.unique(own.id))}
        one |= {"ua": float(ua(counts).mean()), "wa": float(wa(counts).mean())}
        if by_class:
            one["recall"] = dict(zip(test.names, per_class_recall(counts.sum(axis=0)).tolist(), strict=True))
        people.append(one)
    return sorted(people, key=lambda one: (one["ua"], one["speaker"]))


def rated(test: Predictions) -> list[dict[str, Any]]:
    """Describe each speaker, the lowest mean CCC over dimensions first and those without any last.

    `ccc` holds the speaker's own CCC of each dimension, the mean over seeds: NaN where the true values do not differ.
    """
    names, own = ccc_of_each_speaker(test)
    means = np.nan_to_num(mean_known(own, axis=1), nan=np.inf).tolist()
    clips = Counter(test.speaker[np.unique(test.id, return_index=True)[1]].tolist())
    found = sorted(zip(means, names, own.tolist(), strict=True))
    return [
        {"speaker": name, "n": clips[name], "ccc": dict(zip(test.names, ccc, strict=True))} for _, name, ccc in found
    ]


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Summarise a figure of speakers, NaN left out: ends, their gap, deviation, and the mean of the worst tenth."""
    known = np.sort([value for value in values if value == value])
    if not len(known):
        return dict.fromkeys(("worst", "best", "gap", "std", "worst_tenth"))
    return {
        "worst": float(known[0]),
        "best": float(known[-1]),
        "gap": float(known[-1] - known[0]),
        "std": deviation(known),
        "worst_tenth": float(known[: max(1, len(known) // 10)].mean()),
    }


def facts_of(clips: Iterable[Utterance]) -> dict[str, dict[str, str]]:
    """Collect what a manifest says of its speakers; what it does not say, or not the same in all clips, is absent."""
    said: dict[str, dict[str, set[str]]] = {column: {} for column in COLUMNS}
    known = Utterances.of(clips)
    for column in COLUMNS:
        for speaker, value in set(zip(known.values("speaker"), known.values(column), strict=True)):
            if value is not None:
                said[column].setdefault(speaker, set()).add(value)
    agreed = {c: {s: min(v) for s, v in sorted(people.items()) if len(v) == 1} for c, people in said.items()}
    return {column: people for column, people in agreed.items() if people}


def of_groups(test: Predictions, facts: Facts) -> dict[str, dict[str, dict[str, Any]]]:
    """Give the figures of each group of test speakers, by `facts_of` them.

    Returns:
        column -> value -> `n_speakers`, `n_utterances` and `metrics` with their intervals, which are None where there
        are fewer than 3 speakers. A column by which the test speakers do not differ is absent.
    """
    found = {}
    for column, people in facts.items():
        names, who = np.unique(test.speaker, return_inverse=True)
        value_of = np.array([people.get(name, "") for name in names.tolist()])[who]
        values = [value for value in np.unique(value_of).tolist() if value]
        if len(values) > 1:
            found[column] = {value: _figures(test.rows(value_of == value)) for value in values}
    return found


def _figures(own: Predictions) -> dict[str, Any]:
    speakers = len(np.unique(own.speaker))
    metrics = {name: asdict(one) for name, one in intervals(own).items()} if speakers >= FEWEST else None
    return {"n_speakers": speakers, "n_utterances": len(np.unique(own.id)), "metrics": metrics}
