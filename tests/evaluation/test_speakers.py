"""Groups are those that the corpus tells apart, their figures are of their own clips, and few speakers have none."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from serene.corpora.manifest import Utterance
from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.evaluation.speakers import FEWEST, facts_of, of_groups
from serene.task import Dimensions, Task

GENDERS = {"a": "female", "b": "female", "c": "female", "d": "male", "e": "male"}


def clip(speaker: str, number: int, **more: str) -> Utterance:
    return Utterance(id=f"{speaker}{number}", audio="x.wav", speaker=speaker, **more)


def test_facts_are_those_on_which_all_clips_of_a_speaker_agree() -> None:
    clips = [clip("a", 1, gender="female", language="english"), clip("a", 2, gender="female", language="german")]
    clips += [clip("b", 1, gender="male"), clip("b", 2), clip("c", 1)]
    assert facts_of(clips) == {"gender": {"a": "female", "b": "male"}}


def test_a_groups_figures_are_of_its_own_clips_and_few_speakers_have_none() -> None:
    speakers = [name for name in GENDERS for _ in range(4)]
    right = [True, True, True, False] * 3 + [False] * 8
    test = Predictions.from_scores(
        ids=[f"u{i}" for i in range(20)],
        speakers=speakers,
        truth=np.array([i % 2 if ok else 1 - i % 2 for i, ok in enumerate(right)]),
        scores=np.eye(2)[[i % 2 for i in range(20)]],
        task=Task(("anger", "calm")),
        part="test",
        fold="1",
        seed=0,
    )
    found = of_groups(test, {"gender": GENDERS, "language": dict.fromkeys(GENDERS, "english")})
    assert set(found) == {"gender"}, "speakers of one language are no groups"
    women, men = found["gender"]["female"], found["gender"]["male"]
    assert (women["n_speakers"], women["n_utterances"]) == (FEWEST, 12)
    assert women["metrics"]["wa"]["value"] == pytest.approx(9 / 12)
    assert women["metrics"]["ua"] == asdict(intervals(test.rows(np.arange(12)))["ua"])
    assert men == {"n_speakers": 2, "n_utterances": 8, "metrics": None}
    assert of_groups(test, {}) == {}
    assert of_groups(test, {"gender": {"a": "female", "somebody": "male"}}) == {}


def test_dimensions_have_groups_too() -> None:
    truth = [[float(i % 4)] for i in range(24)]
    speakers = [f"s{i // 4}" for i in range(24)]
    test = Predictions.from_scores(
        ids=[f"u{i}" for i in range(24)],
        speakers=speakers,
        truth=truth,
        scores=[[value if i < 12 else -value] for i, (value,) in enumerate(truth)],
        task=Dimensions(("arousal",)),
        part="test",
        fold="1",
        seed=0,
    )
    found = of_groups(test, {"gender": {f"s{i}": "female" if i < 3 else "male" for i in range(6)}})["gender"]
    assert found["female"]["metrics"]["ccc_arousal"]["value"] == pytest.approx(1)
    assert found["male"]["metrics"]["ccc_arousal"]["value"] < 0
