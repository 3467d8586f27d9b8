"""Reports of dimensions: CCC by hand, and every speaker's own."""

from __future__ import annotations

import json
from dataclasses import replace

import made_up_reports
import numpy as np
import pytest
from made_up_reports import DIMENSIONS, RATED, made_of, rated

from serene.evaluation import metrics
from serene.evaluation import report as reports
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import ReportFacts, build
from serene.task import Task


@pytest.fixture(scope="module")
def ratings() -> Predictions:
    return made_up_reports.ratings()


def test_the_report_holds_what_was_promised(ratings: Predictions, tmp_path) -> None:
    made_of(ratings).write(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert ReportFacts.of(content) == replace(RATED, stamps=[], languages=[])
    assert (content["seeds"], content["folds"], content["n_utterances"], content["n_speakers"]) == (
        [0, 1],
        ["1"],
        48,
        6,
    )
    assert content["dimensions"] == [*DIMENSIONS]
    names = {f"ccc_{dimension}{which}" for dimension in DIMENSIONS for which in ("", "_of_speakers")}
    for part in ("metrics", "validation"):
        assert content[part].keys() == names
        assert all(figure.keys() == {"value", "low", "high", "std"} for figure in content[part].values())
        assert all(figure["low"] < figure["value"] < figure["high"] for figure in content[part].values())
    assert content["metrics_mean_of_folds"].keys() == names
    assert not {"classes", "confusion", "per_class_recall"} & content.keys()


def test_figures_by_hand(ratings: Predictions) -> None:
    content = made_of(ratings).to_json()
    reached = {}
    for part in ("test", "validation"):
        by_seed = [ratings.select(part=part, seed=seed) for seed in (0, 1)]
        reached[part] = np.mean([metrics.ccc(one.truth, one.prediction) for one in by_seed], axis=0)
    assert [content["metrics"][f"ccc_{name}"]["value"] for name in DIMENSIONS] == pytest.approx(
        reached["test"].tolist()
    )
    assert content["gap"] == pytest.approx(float((reached["validation"] - reached["test"]).mean()))
    people = {one["speaker"]: one for one in content["per_speaker"]}
    for name, one in people.items():
        own = [ratings.select(part="test", seed=seed) for seed in (0, 1)]
        own = [rows.rows(rows.speaker == name) for rows in own]
        figures = np.mean([metrics.ccc(rows.truth, rows.prediction) for rows in own], axis=0)
        assert one["n"] == 8
        assert one["ccc"]["arousal"] == pytest.approx(figures[0])
        assert one["ccc"]["<valence>"] == (None if name == "t0" else pytest.approx(figures[1]))
    for place, name in enumerate(DIMENSIONS):
        known = [one["ccc"][name] for one in people.values() if one["ccc"][name] is not None]
        assert content["metrics"][f"ccc_{name}_of_speakers"]["value"] == pytest.approx(sum(known) / (6 - place))
        spread = content["speaker_spread"][name]
        assert (spread["worst"], spread["best"]) == (min(known), max(known))
        assert spread["std"] == pytest.approx(np.std(known, ddof=1))
    assert content["speakers_without_ccc"] == {"arousal": 0, "<valence>": 1}


def test_speakers_come_worst_first_and_those_without_any_ccc_last() -> None:
    one = rated(dimensions=("valence",))
    content = build(one, facts=RATED).to_json()
    order = [person["ccc"]["valence"] for person in content["per_speaker"]]
    assert order[-1] is None and order[:-1] == sorted(order[:-1])
    assert content["validation"] is None and content["gap"] is None and content["speaker_probe"] is None


def test_one_clip_of_each_speaker_leaves_the_overall_figure() -> None:
    content = build(rated(clips=1), facts=RATED).to_json()
    assert content["speakers_without_ccc"] == dict.fromkeys(DIMENSIONS, 6)
    nothing = {"value": None, "low": None, "high": None, "std": None}
    assert content["metrics"]["ccc_arousal_of_speakers"] == nothing
    assert content["metrics"]["ccc_arousal"]["value"] is not None
    assert content["speaker_spread"]["arousal"]["worst"] is None
    assert content["shift"]["correlations"]["arousal"]["labels"] is None


def test_warnings_follow_from_the_facts(ratings: Predictions) -> None:
    facts = {"speaker_independent": False, "saw_unlabelled_test_audio": True}
    assert made_of(ratings, **facts).content["stamps"] == [reports.DEPENDENT, reports.ENROLLED]
    ragged = Predictions.concatenate([ratings, replace(rated(seed=1), fold=np.full(48, "2"))])
    assert build(ragged, facts=RATED).content["stamps"] == [reports.INCOMPLETE]


def test_shifts_of_both_kinds_stand_in_the_report(ratings: Predictions) -> None:
    found = made_of(ratings).to_json()["shift"]
    ccc = {one["speaker"]: one["performance"]["arousal"] for one in found["per_speaker"]}
    embedding = {one["speaker"]: one["embedding"] for one in found["per_speaker"]}
    assert embedding == {f"t{place}": place for place in range(6)}
    r = np.corrcoef([embedding[name] for name in ccc], [*ccc.values()])[0, 1]
    assert found["correlations"]["arousal"]["embedding"]["r"] == pytest.approx(r)
    assert found["correlations"]["<valence>"]["embedding"]["n"] == 5, "one has no CCC"
    assert "the training's labels are not kept" in found["against"]["labels"]


def test_shifts_of_a_task_of_classes_are_set_against_ua() -> None:
    truth = np.arange(40) % 2
    answers = Predictions.from_scores(
        ids=[f"u{i}" for i in range(40)],
        speakers=[f"s{i // 8}" for i in range(40)],
        truth=truth,
        scores=np.eye(2)[np.where(np.arange(40) % 8 < 3 + np.arange(40) // 8, truth, 1 - truth)],
        task=Task(("anger", "calm")),
        part="test",
        fold=1,
        seed=0,
    )
    content = build(answers, facts=replace(RATED, target="emotion"), shifts=[{f"s{i}": -i for i in range(5)}]).to_json()
    assert content["shift"]["performance"] == "ua"
    r = content["shift"]["correlations"]["emotion"]["embedding"]["r"]
    ua = [one["performance"]["emotion"] for one in sorted(content["shift"]["per_speaker"], key=lambda o: o["speaker"])]
    assert r == pytest.approx(np.corrcoef([0, -1, -2, -3, -4], ua)[0, 1]) and r < -0.9
