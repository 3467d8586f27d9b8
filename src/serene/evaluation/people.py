"""The speakers of a test one by one, the worst first, and how far they are apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from serene.evaluation import concordance
from serene.evaluation.confidence import tallies
from serene.evaluation.metrics import mean_known, per_class_recall, ua, wa
from serene.evaluation.predictions import Predictions


def classified(test: Predictions, *, by_class: bool) -> list[dict[str, Any]]:
    """Describe each speaker, the worst UA first: figures are means over seeds, `n` counts distinct utterances.

    Args:
        test: rows of one part.
        by_class: whether to give the recall of each class too.
    """
    names, ends = np.unique(np.sort(test.speaker), return_index=True)
    rows = np.split(np.argsort(test.speaker, kind="stable"), ends[1:])
    people = []
    for name, own in zip(names.tolist(), rows, strict=True):
        counts = tallies(test, own)
        one = {
            "speaker": name,
            "n": len(np.unique(test.id[own])),
            "ua": float(ua(counts).mean()),
            "wa": float(wa(counts).mean()),
        }
        if by_class:
            recall = per_class_recall(counts.sum(axis=0)).tolist()
            one["recall"] = dict(zip(test.names, recall, strict=True))
        people.append(one)
    return sorted(people, key=lambda one: (one["ua"], one["speaker"]))


def rated(test: Predictions) -> list[dict[str, Any]]:
    """Describe each speaker, the lowest mean CCC over dimensions first and those without any last.

    `ccc` holds the speaker's own CCC of each dimension, the mean over seeds: NaN where the true values do not differ.
    """
    names, own = concordance.of_each_speaker(test)
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
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
        "worst_tenth": float(known[: max(1, len(known) // 10)].mean()),
    }
