"""What several tests of reports share: the facts of a run, and one of dimensions that is made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Embedding, Report, ReportFacts, build
from serene.task import Dimensions

FACTS = ReportFacts(
    title="a report",
    protocol="speaker_folds",
    speaker_independent=True,
    selection="last epoch",
    saw_unlabelled_test_audio=False,
)
RATED = replace(FACTS, title="papt", selection="best validation CCC", target="dimensions")
DIMENSIONS = ("arousal", "<valence>")


def rated(
    part: str = "test", *, seed: int = 0, speakers: int = 6, clips: int = 8, dimensions=DIMENSIONS
) -> Predictions:
    """One part of a trial; its first speaker has no spread in the last dimension."""
    draw, noise = np.random.default_rng(len(part)), np.random.default_rng(seed)
    names = np.repeat([f"{part[0]}{s}" for s in range(6)], clips)
    truth = draw.normal(4, 1, (len(names), len(dimensions)))
    truth[:clips, -1] = 2.5
    given = 4 + 0.5 * (truth - 4) + 0.4 * noise.normal(size=truth.shape)
    return Predictions.from_scores(
        ids=[f"{part}{i}" for i in range(len(names))],
        speakers=names.tolist(),
        truth=truth,
        scores=given,
        task=Dimensions(tuple(dimensions)),
        part=part,
        fold="1",
        seed=seed,
    )


def ratings() -> Predictions:
    """Both parts of two seeds."""
    return Predictions.concatenate([rated(), rated(seed=1), rated("validation"), rated("validation", seed=1)])


def made_of(ratings: Predictions, **more: Any) -> Report:
    """Report on ratings, with shifts, logs and an embedding."""
    rng, test = np.random.default_rng(0), ratings.select(part="test", seed=0)
    logs = [[{"epoch": e, "emotion/emotion": 1 / e, "validation_ccc": 0.5 - 0.1 / e} for e in (1, 2, 3)]]
    vectors = np.c_[test.truth, rng.normal(size=(len(test), 2))]
    return build(
        ratings,
        facts=replace(RATED, **more),
        shifts=[{name: float(place) for place, name in enumerate(np.unique(test.speaker).tolist())}],
        logs=logs,
        embedding=Embedding(vectors, test),
    )
