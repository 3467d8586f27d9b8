"""A report says what was promised, averages what it is given, and never leaves a warning out."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up_reports import FACTS

from serene.errors import SereneError
from serene.evaluation import report as reports
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Report, ReportFacts, average_probes, build
from serene.task import Task

CLASSES = ("anger", "calm", "joy")


def cell(truth, answer, speakers, *, fold="1", seed=0, part="test") -> Predictions:
    return Predictions.from_scores(
        ids=[f"{s}-{i}" for i, s in enumerate(speakers)],
        speakers=list(speakers),
        truth=np.asarray(truth),
        scores=np.eye(3)[list(answer)],
        task=Task(CLASSES),
        part=part,
        fold=fold,
        seed=seed,
    )


@pytest.fixture
def two_folds() -> Predictions:
    return Predictions.concatenate(
        [
            cell([0, 0, 1, 1], [0, 0, 1, 0], "aabb", fold="1"),
            cell([0, 1, 1, 1], [1, 1, 1, 1], "cccc", fold="2"),
            cell([0, 1, 0, 1], [0, 1, 0, 1], "cccc", fold="1", part="validation"),
            cell([0, 1, 0, 1], [0, 1, 0, 1], "aabb", fold="2", part="validation"),
        ]
    )


def probe(linear: float = 0.4, nonlinear: float = 0.6, **more: Any) -> dict[str, Any]:
    return {
        "accuracy": max(linear, nonlinear),
        "linear": {"mean": linear, "std": 0.1},
        "nonlinear": {"mean": nonlinear, "std": None},
        "chance": 0.5,
        "majority": 0.5,
        "eer": 0.3,
        "n_utterances": 100,
        "n_speakers": 2,
        "n_speakers_left_out": 1,
        "draws": 5,
        "text_disjoint": True,
        "standardized": "by the training half",
    } | more


def test_the_report_holds_what_was_promised(two_folds: Predictions, tmp_path) -> None:
    build(two_folds, facts=FACTS, probes=[{"test": probe(), "train": None}]).write(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert ReportFacts.of(content) == replace(FACTS, target="emotion", stamps=[], languages=[])
    assert content["seeds"] == [0]
    assert (content["n_utterances"], content["n_speakers"]) == (8, 3)
    assert set(content["metrics"]) == {"ua", "wa", "macro_f1"}
    assert set(content["metrics"]["ua"]) == {"value", "low", "high", "std"}
    assert {"accuracy", "chance", "majority"} <= set(content["speaker_probe"])
    assert content["per_speaker"][0] == {
        "speaker": "b",
        "n": 2,
        "ua": 0.5,
        "wa": 0.5,
        "recall": {"anger": None, "calm": 0.5, "joy": None},
    }


def test_figures_by_hand(two_folds: Predictions) -> None:
    content = build(two_folds, facts=FACTS).to_json()
    assert content["metrics"]["wa"]["value"] == pytest.approx(6 / 8)
    assert content["metrics"]["ua"]["value"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert content["metrics_mean_of_folds"]["wa"]["value"] == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert content["metrics_mean_of_folds"]["ua"]["folds"] == pytest.approx({"1": 0.75, "2": 0.5})
    assert content["validation"]["ua"]["value"] == 1
    assert content["gap"] == pytest.approx(1 - (2 / 3 + 4 / 5) / 2)
    assert content["per_class_recall"] == {"anger": pytest.approx(2 / 3), "calm": pytest.approx(4 / 5), "joy": None}
    assert content["confusion"] == [[2, 1, 0], [1, 4, 0], [0, 0, 0]]
    assert content["speaker_probe"] is None


def test_speakers_come_worst_first_averaged_over_seeds() -> None:
    both = [
        cell([0, 1, 0, 1], [0, 1, 0, 0], "xxyy", seed=0),
        cell([0, 1, 0, 1], [0, 0, 1, 0], "xxyy", seed=1),
    ]
    content = build(Predictions.concatenate(both), facts=FACTS).to_json()
    assert [(one["speaker"], one["n"], one["ua"]) for one in content["per_speaker"]] == [("y", 2, 0.25), ("x", 2, 0.75)]
    assert content["speaker_spread"] == {
        "worst": 0.25,
        "best": 0.75,
        "gap": 0.5,
        "std": pytest.approx(0.125**0.5),
        "worst_tenth": 0.25,
    }
    assert content["validation"] is None and content["gap"] is None


def test_warnings_follow_from_the_facts(two_folds: Predictions) -> None:
    facts = replace(FACTS, speaker_independent=False, saw_unlabelled_test_audio=True, stamps=["seen", "seen"])
    assert build(two_folds, facts=facts).content["stamps"] == [reports.DEPENDENT, reports.ENROLLED, "seen"]
    assert build(two_folds, facts=FACTS).content["stamps"] == []
    assert build(cell([0, 1], [0, 1], "aa"), facts=FACTS).content["stamps"] == [reports.ALONE]
    ragged = Predictions.concatenate([two_folds, cell([0, 1], [0, 1], "ab", fold="1", seed=1)])
    assert build(ragged, facts=FACTS).content["stamps"] == [reports.INCOMPLETE]


def many(n_classes: int, *, speakers: bool) -> Predictions:
    """Answer three clips of each class: the first two rightly but for the last class, the third as the next class."""
    truth = np.repeat(np.arange(n_classes), 3)
    answer = np.where(np.arange(len(truth)) % 3 < 2, truth, (truth + 1) % n_classes)
    answer[-3:] = 0
    classes = [f"c{i:03d}" for i in range(n_classes)]
    return Predictions.from_scores(
        ids=[f"u{i}" for i in range(len(truth))],
        speakers=[classes[t] for t in truth] if speakers else [f"s{i % 4}" for i in range(len(truth))],
        truth=truth,
        scores=np.eye(n_classes)[answer],
        task=Task(tuple(classes)),
        part="test",
        fold="1",
        seed=0,
    )


def test_more_classes_than_can_be_read_are_not_laid_out_against_each_other() -> None:
    most = reports.MOST_CLASSES
    few = build(many(most, speakers=False), facts=FACTS).to_json()
    assert np.sum(few["confusion"]) == 3 * most and len(few["per_speaker"][0]["recall"]) == most
    more = build(many(most + 1, speakers=False), facts=FACTS).to_json()
    assert more["confusion"] is None
    assert set(more["per_speaker"][0]) == {"speaker", "n", "ua", "wa"}
    assert len(more["per_class_recall"]) == most + 1


def test_speakers_who_are_the_classes_have_one_figure_each() -> None:
    facts = replace(FACTS, speaker_independent=False, target="speaker")
    content = build(many(5, speakers=True), facts=facts).to_json()
    assert content["per_speaker"][0] == {"speaker": "c004", "n": 3, "ua": 0.0, "wa": 0.0}
    assert content["per_speaker"][1] == {
        "speaker": "c000",
        "n": 3,
        "ua": pytest.approx(2 / 3),
        "wa": pytest.approx(2 / 3),
    }
    assert content["metrics"]["ua"]["value"] == pytest.approx(4 / 5 * 2 / 3)
    assert content["confusion"][4] == [3, 0, 0, 0, 0]
    assert content["stamps"] == [reports.NAMED]


def test_a_report_on_many_speakers_takes_little_memory() -> None:
    predictions = many(300, speakers=True)
    tracemalloc.start()
    try:
        report = build(predictions, facts=replace(FACTS, speaker_independent=False, target="speaker"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6, "one confusion matrix per draw would take 1.4 GB, one per speaker 200 MB"
    assert len(json.dumps(report.to_json())) < 100_000


def test_a_shared_speaker_contradicts_independence() -> None:
    shared = Predictions.concatenate([cell([0, 1], [0, 1], "ab"), cell([0, 1], [0, 1], "bc", part="validation")])
    with pytest.raises(SereneError, match="share 1 speakers, for example 'b'"):
        build(shared, facts=FACTS)
    assert build(shared, facts=replace(FACTS, speaker_independent=False)).content["stamps"] == [reports.DEPENDENT]


def test_a_split_that_goes_by_the_seed_may_test_whom_another_seed_validates() -> None:
    each = [("ab", "cd", 0), ("cd", "ab", 1)]
    trials = [cell([0, 1], [0, 1], test, seed=seed) for test, _, seed in each]
    trials += [cell([0, 1], [0, 1], validation, seed=seed, part="validation") for _, validation, seed in each]
    assert build(Predictions.concatenate(trials), facts=FACTS).content["seeds"] == [0, 1]


def test_without_a_test_there_is_no_report(two_folds: Predictions) -> None:
    with pytest.raises(SereneError, match="no test predictions"):
        build(two_folds.select(part="validation"), facts=FACTS)


def test_probes_of_several_trials_are_averaged() -> None:
    one, two = probe(0.5, 0.4), probe(0.1, 0.6, chance=0.25, text_disjoint=False, note="shared texts", n_speakers=4)
    averaged = average_probes([one, two])
    assert averaged["linear"] == {"mean": pytest.approx(0.3), "std": pytest.approx(0.1)}
    assert averaged["nonlinear"] == {"mean": pytest.approx(0.5), "std": None}
    assert averaged["accuracy"] == pytest.approx(0.5), "the better probe's mean, not the mean of each trial's best"
    assert averaged["chance"] == pytest.approx(0.375)
    assert averaged["n_speakers"] == 3
    assert (averaged["draws"], averaged["n_speakers_left_out"], averaged["trials"]) == (10, 2, 2)
    assert averaged["text_disjoint"] is False
    assert averaged["note"] == "shared texts"


def test_training_speakers_stand_beside_and_a_part_may_be_unmeasured(two_folds: Predictions) -> None:
    cells = [{"test": None, "train": probe(0.2, 0.1)}, {"test": probe(0.7, 0.8), "train": probe(0.4, 0.3)}, None]
    found = build(two_folds, facts=FACTS, probes=cells).to_json()["speaker_probe"]
    assert (found["accuracy"], found["trials"]) == (0.8, 1)
    assert (found["train_speakers"]["accuracy"], found["train_speakers"]["trials"]) == (pytest.approx(0.3), 2)
    only_train = build(two_folds, facts=FACTS, probes=[{"test": None, "train": probe()}]).to_json()["speaker_probe"]
    assert only_train["accuracy"] is None and only_train["train_speakers"]["accuracy"] == 0.6
    assert build(two_folds, facts=FACTS, probes=[None]).to_json()["speaker_probe"] is None


def test_json_has_no_nan() -> None:
    assert Report({"a": [float("nan"), {"b": (1.0, None)}]}).to_json() == {"a": [None, {"b": [1.0, None]}]}
