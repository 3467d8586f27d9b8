"""Reports and pages of dimensions: CCC by hand, every speaker's own, and pages where classes have no say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serene.evaluation import metrics
from serene.evaluation import report as reports
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Embedding, Report, ReportFacts, build
from serene.reporting.report_page import write_html
from serene.reporting.style import STYLE
from serene.task import Dimensions, Task

FACTS = ReportFacts(
    title="papt",
    protocol="speaker_folds",
    speaker_independent=True,
    selection="best validation CCC",
    saw_unlabelled_test_audio=False,
    target="dimensions",
)
DIMENSIONS = ("arousal", "<valence>")


def cell(part: str = "test", *, seed: int = 0, speakers: int = 6, clips: int = 8, dimensions=DIMENSIONS) -> Predictions:
    """One part of a cell; its first speaker has no spread in the last dimension."""
    draw, noise = np.random.default_rng(len(part)), np.random.default_rng(seed)
    names = np.repeat([f"{part[0]}{s}" for s in range(speakers)], clips)
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


@pytest.fixture(scope="module")
def ratings() -> Predictions:
    return Predictions.concatenate([cell(), cell(seed=1), cell("validation"), cell("validation", seed=1)])


def made(ratings: Predictions, **more: Any) -> Report:
    rng, test = np.random.default_rng(0), ratings.select(part="test", seed=0)
    logs = [[{"epoch": e, "emotion/emotion": 1 / e, "validation_ccc": 0.5 - 0.1 / e} for e in (1, 2, 3)]]
    vectors = np.c_[test.truth, rng.normal(size=(len(test), 2))]
    return build(
        ratings,
        facts=replace(FACTS, **more),
        shifts=[{name: float(place) for place, name in enumerate(np.unique(test.speaker).tolist())}],
        logs=logs,
        embedding=Embedding(vectors, test),
    )


def test_the_report_holds_what_was_promised(ratings: Predictions, tmp_path) -> None:
    made(ratings).write(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert ReportFacts.of(content) == replace(FACTS, stamps=[], languages=[])
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
    content = made(ratings).to_json()
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
    one = cell(dimensions=("valence",))
    content = build(one, facts=FACTS).to_json()
    order = [person["ccc"]["valence"] for person in content["per_speaker"]]
    assert order[-1] is None and order[:-1] == sorted(order[:-1])
    assert content["validation"] is None and content["gap"] is None and content["speaker_probe"] is None


def test_one_clip_of_each_speaker_leaves_the_overall_figure() -> None:
    content = build(cell(clips=1), facts=FACTS).to_json()
    assert content["speakers_without_ccc"] == dict.fromkeys(DIMENSIONS, 6)
    nothing = {"value": None, "low": None, "high": None, "std": None}
    assert content["metrics"]["ccc_arousal_of_speakers"] == nothing
    assert content["metrics"]["ccc_arousal"]["value"] is not None
    assert content["speaker_spread"]["arousal"]["worst"] is None
    assert content["shift"]["correlations"]["arousal"]["labels"] is None


def test_warnings_follow_from_the_facts(ratings: Predictions) -> None:
    facts = {"speaker_independent": False, "saw_unlabelled_test_audio": True}
    assert made(ratings, **facts).content["stamps"] == [reports.DEPENDENT, reports.ENROLLED]
    ragged = Predictions.concatenate([ratings, replace(cell(seed=1), fold=np.full(48, "2"))])
    assert build(ragged, facts=FACTS).content["stamps"] == [reports.INCOMPLETE]


def test_shifts_of_both_kinds_stand_in_the_report(ratings: Predictions) -> None:
    found = made(ratings).to_json()["shift"]
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
    content = build(answers, facts=replace(FACTS, target="emotion"), shifts=[{f"s{i}": -i for i in range(5)}]).to_json()
    assert content["shift"]["performance"] == "ua"
    r = content["shift"]["correlations"]["emotion"]["embedding"]["r"]
    ua = [one["performance"]["emotion"] for one in sorted(content["shift"]["per_speaker"], key=lambda o: o["speaker"])]
    assert r == pytest.approx(np.corrcoef([0, -1, -2, -3, -4], ua)[0, 1]) and r < -0.9


@pytest.fixture(scope="module")
def text(ratings: Predictions, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html([made(ratings)], path)
    return path.read_text(encoding="utf-8")


def test_the_page_shows_what_the_report_holds(text: str, ratings: Predictions) -> None:
    content = made(ratings).to_json()
    for name in ("arousal", "&lt;valence&gt;"):
        figure = content["metrics"][f"ccc_{name.replace('&lt;', '<').replace('&gt;', '>')}"]
        said = f"{figure['value']:.3f} [{figure['low']:.3f} to {figure['high']:.3f}]"
        assert f"<td>CCC of {name}</td><td>{said}</td>" in text
        assert f"CCC of {name} on unseen speakers" in text
    assert "Without a CCC of their own: 1 speaker (&lt;valence&gt;)" in text
    assert text.count("<svg") == 5, "agreement, speakers, shift, t-SNE and curves"
    assert "predicted arousal" in text and "validation CCC" in text and "by arousal" in text
    assert "<valence>" not in text
    r = content["shift"]["correlations"]["arousal"]["embedding"]
    assert f"r = {r['r']:.2f} [{r['low']:.2f} to {r['high']:.2f}]" in text


def test_the_page_speaks_of_no_accuracy_or_class(text: str) -> None:
    said = re.sub(r"speaker probe.*?<h3>", "", text.replace(STYLE, ""), flags=re.IGNORECASE | re.DOTALL)
    assert not re.search(r"\bUA\b|\bWA\b|macro|recall|confus", said)
    for reference in re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text):
        assert "".join(reference).startswith(("#", "data:")), reference


def test_without_embedding_values_or_logs_the_page_is_shorter(tmp_path) -> None:
    content = build(cell(), facts=FACTS).content
    write_html([Report({**content, "shift": None})], tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().count("<svg") == 1


def test_classes_and_dimensions_have_tables_of_their_own_on_one_page(ratings: Predictions, tmp_path) -> None:
    answers = Predictions.from_scores(
        ids=[f"u{i}" for i in range(12)],
        speakers=[f"s{i % 3}" for i in range(12)],
        truth=np.arange(12) % 2,
        scores=np.eye(2)[np.arange(12) % 2],
        task=Task(("anger", "calm")),
        part="test",
        fold=1,
        seed=0,
    )
    plain = build(answers, facts=replace(FACTS, title="classes", target="emotion"))
    bare = [Report(made(ratings, title=title).content) for title in ("first", "second")]
    write_html([bare[0], plain, bare[1]], tmp_path / "r.html")
    first, second = re.findall(r'<table class="summary">.*?</table>', (tmp_path / "r.html").read_text())
    assert re.findall(r"#report-(\d)", first) == ["1", "3"] and "CCC of arousal" in first and "UA" not in first
    assert re.findall(r"#report-(\d)", second) == ["2"] and "CCC" not in second
