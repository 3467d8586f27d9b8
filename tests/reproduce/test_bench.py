"""How a table's cells are trained: shared recipes once, upstream first, and what cannot be measured is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serene.corpora import synthetic
from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.experiment.run import Run
from serene.experiment.sections import Recipe
from serene.models import weights
from serene.reproduce import bench, reproduce
from serene.task import Task

GAT = {"iemocap": "/i", "voxceleb1": "/v"}
METHODS = ("", " + projector, lambda = 0", " + SNP", " + TAP")
EIGHT = [f"HuBERT {size}{method}" for size in ("Base", "Large") for method in METHODS]


@pytest.fixture(autouse=True)
def nearby(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All weights are on this machine."""
    asked: list[str] = []
    monkeypatch.setattr(weights, "find", lambda name: asked.append(name) or Path(name))
    return asked


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Recipe]:
    """Instead of training, plant answers: with n clips per class, a tenth of n of 100 are right; logs and batches."""
    asked: list[Recipe] = []

    def train(made: Recipe, runs: Path, **_: Any) -> Run:
        asked.append(made)
        run = Run(tmp_path / "runs" / f"{made.name}-{len(asked):010d}", made)
        for fold in made.run or ("1", "2"):
            for seed in made.seeds:
                folder = run.trial(fold, seed).folder
                plant(fold, seed, made.protocol.settings.get("per_class", 500) // 10).write(folder / "predictions.csv")
                (folder / "log.jsonl").write_text(json.dumps({"epoch": 1, "validation_wa": 0.5}) + "\n")
                rows = [{"emotion/accuracy": 0.4 + 0.2 * (step % 2)} for step in range(80)]
                (folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run

    monkeypatch.setattr(bench, "train", train)
    return asked


def plant(fold: str, seed: int, right: int, of: int = 100) -> Predictions:
    truth = np.arange(of) % 2
    answer = np.where(np.arange(of) < right, truth, 1 - truth)
    return Predictions.from_scores(
        ids=[f"{fold}-{n}" for n in range(of)],
        speakers=[f"{fold}-{n % 5}" for n in range(of)],
        truth=truth,
        scores=np.eye(2)[answer],
        task=Task(("anger", "sadness")),
        part="test",
        fold=fold,
        seed=seed,
    )


def test_the_low_resource_curve(trained: list[Recipe], tmp_path: Path) -> None:
    result = reproduce("gat2022-figure2", GAT, tmp_path / "runs", rows=EIGHT[:2])
    assert len(trained) == 2 * 7  # the points, the area and the mean are of the same runs
    assert [line["system"] for line in result.lines()] == EIGHT
    steps = [1.0, 2, 5, 10, 20, 40, 60]  # per cent: a tenth of the clips per class
    places = [10, 20, 50, 100, 200, 400, 600]
    area = sum((b - a) * (y + z) / 2 for a, b, y, z in zip(places, places[1:], steps, steps[1:], strict=False)) / 590
    line = result.lines()[0]
    assert [float(line[f"our {x}"].partition(" ")[0]) for x in places] == steps
    assert line["our AUC"] == f"{area:.1f}"
    assert line["our mean of steps"] == f"{sum(steps) / 7:.1f}"
    assert line["published AUC"] == "61.0"
    assert "published 10" not in line
    assert "run" not in line
    assert " to " in line["AUC interval"]
    runs = result.runs()["HuBERT Base"]
    assert runs["10"] == runs["AUC"][:1]
    assert len(runs["AUC"]) == 7
    assert result.remarks()[0] == f"{runs['10'][0]}: HuBERT Base, 10 and AUC and mean of steps"
    assert result.picture == tmp_path / "runs" / "gat2022-figure2.png"
    with Image.open(result.picture) as picture:
        assert picture.size[0] > 800


def test_systems_of_others_are_blank_and_what_was_not_asked_for_is_not_measured(
    trained: list[Recipe], tmp_path: Path
) -> None:
    result = reproduce("gat2022-table1", GAT, tmp_path, columns=["5-fold WA"], rows=["HuBERT Base + TAP"])
    assert [made.name for made in trained] == ["gat2022-iemocap-tap"]
    lines = {line["system"]: line for line in result.lines()}
    assert lines["ACTC"]["published 5-fold WA"] == "69.0"
    assert {lines["ACTC"][column] for column in lines["ACTC"] if column.startswith("our")} == {""}
    ours = lines["HuBERT Base + TAP"]
    assert (ours["our 5-fold WA"], ours["our AUC"], ours["AUC interval"]) == ("50.0 ± 0.0", "not measured", "")
    assert lines["HuBERT Base"]["our 5-fold WA"] == "not measured"
    for asked, said in (({"rows": ["TAP"]}, "Unknown row of gat2022-table1"), ({"columns": ["UA"]}, "Unknown column")):
        with pytest.raises(SereneError, match=said):
            reproduce("gat2022-table1", GAT, tmp_path, **asked)


def test_the_probe_stands_on_models_that_are_trained_first(
    trained: list[Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Planned:
        splits = (type("Split", (), {"fold": "Session1"}), type("Split", (), {"fold": "Session2"}))

    monkeypatch.setattr(bench, "make_plan", lambda *_: Planned)
    result = reproduce("gat2022-probe", GAT, tmp_path)
    names = [made.name.removeprefix("gat2022-") for made in trained]
    upstreams = [f"iemocap-{row}" for row in ("baseline", "tap", "projector", "snp")]
    assert names == ["probe", *(name for upstream in upstreams for name in (upstream, "probe"))]
    for upstream, probe in zip(trained[1::2], trained[2::2], strict=True):
        assert (upstream.run, upstream.seeds) == (("Session1",), (0,))
        assert upstream.model.encoder["weights"] == "facebook/hubert-large-ll60k"
        assert probe.front_end["weights"].endswith("/fold-Session1/seed-0/model")
        assert upstream.name in probe.front_end["weights"]
    assert trained[0].front_end["weights"] == "facebook/hubert-large-ll60k"
    assert [line["published accuracy"] for line in result.lines()] == ["60.7", "", "45.9", "", ""]
    assert {made.front_end["longest"] for made in trained} == {15}  # before, after, and what was trained between
    assert all(line["run"].startswith("gat2022-probe-") for line in result.lines())
    assert result.picture is None


def test_the_brown_report(trained: list[Recipe], tmp_path: Path) -> None:
    monkey = {"crema_d": "/c"}
    result = reproduce("brown-trials", monkey, tmp_path)
    rates = [(made.training["batch_size"], made.training["learning_rate"]) for made in trained]
    assert rates == [(30, 1e-4), (150, 1e-4), (150, 1e-3), (150, 1.1e-3)] * 2
    assert {len(made.seeds) for made in trained} == {5}
    line = result.lines()[3]
    assert line["published test loss"] == "1.04"
    assert float(line["our spread"].partition(" ")[0]) == pytest.approx(10, abs=0.4)
    assert (line["our validation, last ten epochs"], line["run"][:28]) == ("50.0 ± 0.0", "brown-speaker_dependent-base")
    assert result.picture is not None
    assert result.picture.exists()
    trained.clear()
    result = reproduce("brown-table1", monkey, tmp_path)
    protocols = [made.protocol.name for made in trained]
    assert protocols == ["random_speaker_dependent", "speaker_holdout"] * 5
    assert trained[1].protocol["balance"] == ("gender", "ethnicity")
    assert [made.model.parts.speaker_embedding for made in trained[::2]] == [
        *("none", "table", "mfcc_raw", "mfcc_learned", "none")
    ]
    assert [made.front_end["length"] for made in trained[::2]] == [48000] * 4 + [None]
    assert any("1.845" in text and "2.543" in text for text in result.differences)


def test_a_protocol_that_a_stand_in_cannot_serve_is_said(trained: list[Recipe], tmp_path: Path) -> None:
    corpus = tmp_path / "speech"
    synthetic.make(corpus, speakers=5, clips_per_speaker=16, shortcut=0.0, seconds=0.3)
    data = {"synthetic": str(corpus), "voxceleb1": "/v"}
    result = reproduce("gat2022-figure2", data, tmp_path / "runs", rows=["HuBERT Base"])
    line = result.lines()[0]
    assert line["our 10"].startswith("1.0")
    assert {line[f"our {x}"] for x in (20, 50, 100, 200, 400, 600)} == {"not measured"}
    assert line["our AUC"] == "not measured"  # of a single point
    (said,) = (text for text in result.differences if "cannot serve" in text)
    assert said.startswith(
        "synthetic cannot serve the protocol of 20, 50, 100, 200, 400, 600, AUC from 20 on, mean of steps from 20 on: "
        "not measured. Protocol low_resource needs 20 training clips of each emotion;"
    )


def test_weights_are_looked_for_before_anything_is_trained(
    trained: list[Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nearby: list[str]
) -> None:
    reproduce("gat2022-table1", GAT, tmp_path, columns=["5-fold WA"])
    assert set(nearby) == {"facebook/hubert-base-ls960", "facebook/hubert-large-ll60k"}
    trained.clear()

    def find(name: str) -> Path:
        if "large" in name:
            raise SereneError(f"no {name}")
        return Path(name)

    monkeypatch.setattr(weights, "find", find)
    with pytest.raises(SereneError, match="no facebook/hubert-large-ll60k"):
        reproduce("gat2022-table1", GAT, tmp_path)
    assert trained == []


def test_folds_that_were_not_run_are_said(trained: list[Recipe], tmp_path: Path) -> None:
    changes = ("protocol.run=[2]",)
    result = reproduce("gat2022-table1", GAT, tmp_path, columns=["5-fold WA"], rows=EIGHT[:1], overrides=changes)
    assert result.differences[0] == "Of no other folds than 2: 5-fold WA."
    result = reproduce("gat2022-table1", GAT, tmp_path, columns=["5-fold WA"], rows=EIGHT[:1])
    assert not any("no other fold" in text for text in result.differences)


def test_random_weights_are_said_to_be_random(trained: list[Recipe], tmp_path: Path) -> None:
    changes = ("model.weights=null", "model.config={num_hidden_layers: 2}")
    result = reproduce("gat2022-table1", GAT, tmp_path, columns=["5-fold WA"], overrides=changes)
    assert len(trained) == 4 + 4  # Large differs by its rate for the encoder alone
    assert result.differences[0].startswith("Our encoder begins with random weights")


def test_the_command_takes_two_corpora_and_parts_of_a_table(
    serene: Callable[..., Any], trained: list[Recipe], tmp_path: Path
) -> None:
    words = ("reproduce", "gat2022-table1", "--data", "iemocap=/i", "--data", "voxceleb1=/v", "-o", tmp_path)
    part = ("--row", "HuBERT Base", "--column", "5-fold WA", "--weights", "facebook/hubert-base-ls960=/near")
    ended = serene(*words, *part)
    assert ended.code == 0, ended.err
    assert trained[0].model.encoder["weights"] == "/near"
    for text in ("mean over folds", "69.9", "50.0 ± 0.0", "HuBERT Base, 5-fold WA", "- AUC is the area under WA"):
        assert text in ended.out
    found = serene(*words, *part, "--json").json
    assert (found["our_corpus"], found["runs"].keys()) == ("iemocap and voxceleb1", {"HuBERT Base"})
    ended = serene(*words[:4])
    assert ended.code == 2
    assert "--data voxceleb1=FOLDER" in ended.err
    ended = serene(*words, "--weights", "large")
    assert (ended.code, "--weights large is not of the form NAME=FOLDER." in ended.err) == (2, True)
