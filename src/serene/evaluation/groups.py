"""Groups of test speakers that a corpus tells apart, such as women and men, and the figures of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from serene.corpora.manifest import Utterance
from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions

COLUMNS = ("gender", "ethnicity", "language")  # of a manifest, whose values are a speaker's and not a clip's
FEWEST = 3  # speakers of a group, below which its figures would be those of persons

Facts = Mapping[str, Mapping[str, str]]
"""Column -> speaker -> value."""


def facts_of(clips: Iterable[Utterance]) -> dict[str, dict[str, str]]:
    """Collect what a manifest says of its speakers; what it does not say, or not the same in all clips, is absent."""
    said: dict[str, dict[str, set[str]]] = {column: {} for column in COLUMNS}
    for clip in clips:
        for column in COLUMNS:
            value = getattr(clip, column)
            if value is not None:
                said[column].setdefault(clip.speaker, set()).add(value)
    agreed = {c: {s: min(v) for s, v in sorted(people.items()) if len(v) == 1} for c, people in said.items()}
    return {column: people for column, people in agreed.items() if people}


def measured(test: Predictions, facts: Facts) -> dict[str, dict[str, dict[str, Any]]]:
    """Give the figures of each group of test speakers.

    Args:
        test: rows of one part; all folds and seeds of a run.
        facts: of speakers, as `facts_of` collects them.

    Returns:
        column -> value -> `n_speakers`, `n_utterances` and `metrics` with their intervals, which are None where there
        are fewer than 3 speakers. A column by which the test speakers do not differ is absent.
    """
    found = {}
    for column, people in facts.items():
        value_of = np.array([people.get(speaker, "") for speaker in test.speaker.tolist()])
        values = [value for value in np.unique(value_of).tolist() if value]
        if len(values) > 1:
            found[column] = {value: _figures(test.rows(np.flatnonzero(value_of == value))) for value in values}
    return found


def _figures(own: Predictions) -> dict[str, Any]:
    speakers = len(np.unique(own.speaker))
    metrics = {name: one.to_dict() for name, one in intervals(own).items()} if speakers >= FEWEST else None
    return {"n_speakers": speakers, "n_utterances": len(np.unique(own.id)), "metrics": metrics}
