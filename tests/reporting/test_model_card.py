"""A card says what was measured, names nobody, and is metadata that the Hugging Face hub can read."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from made_up_reports import FACTS

from serene.corpora import CORPORA
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import ENROLLED, build
from serene.experiment.run import Run
from serene.experiment.run_report import write_cards
from serene.inference.folder import ModelFolder
from serene.reporting.card_metadata import licence_of, published
from serene.reporting.model_card import write_card
from serene.task import Dimensions, Task

PEOPLE = ("Ann Autumn", "Bob Birch", "Cat Cedar", "Dan Dune", "Eve Elder", "Fay Fern")
GENDERS = {"gender": {name: "female" if i % 2 else "male" for i, name in enumerate(PEOPLE)}}
RUN = replace(
    FACTS,
    title="my run",
    protocol="leave_one_speaker_out v1 (validation speaker)",
    selection="best validation UA over epochs; validation: speaker",
    corpus="crema_d",
    languages=["english", "german", "Klingon"],
    data={"utterances": 40, "speakers": 6, "hours": 1.25},
    method="baseline",
    recipe="model: {encoder: hubert, weights: facebook/hubert-base-ls960}\n",
    recipe_hash="0a1b2c3d4e",
)
CELL = {"selected_epoch": 3, "epochs_run": 9, "of_folds": 6, "temperature": 1.25}
CONFIG = {
    "encoder": "tdnn_bilstm",
    "normalize": "utterance",
    "parts": {"speaker_embedding": "none"},
    "temperature": 1.25,
}


def answers() -> Predictions:
    """Every person is a fold's test; the first is always wrong, the others are right but for one clip in four."""
    draw = np.random.default_rng(0)
    parts = []
    for place, name in enumerate(PEOPLE):
        truth = np.arange(8) % 2
        given = 1 - truth if place == 0 else np.where(np.arange(8) % 4 == 3, 1 - truth, truth)
        sure = draw.uniform(0.55, 1, size=8)
        scores = np.stack([np.where(given == 0, sure, 1 - sure), np.where(given == 1, sure, 1 - sure)], axis=1)
        shared: dict[str, Any] = {"task": Task(("anger", "calm|<b>")), "part": "test", "fold": name, "seed": 7}
        ids = [f"{name}{i}" for i in range(8)]
        parts.append(Predictions.from_scores(ids=ids, speakers=[name] * 8, truth=truth, scores=scores, **shared))
    return Predictions.concatenate(parts)


def content(**facts: Any) -> dict[str, Any]:
    return build(answers(), facts=replace(RUN, **facts), groups_of=GENDERS, temperatures=[1.25]).to_json()


def card(folder: Path, report: dict[str, Any], *, fold: str = PEOPLE[1], config: Any = CONFIG, **more: Any) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"front_end": "mfcc"}))
    write_card(folder, report, fold=fold, seed=7, facts=CELL, **more)
    return (folder / "README.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_hub_reads_the_front_matter(tmp_path: Path) -> None:
    report = content(speaker_corpus="speechocean762")
    text = card(tmp_path, report, licence="cc-by-4.0", elsewhere=[content(corpus="my emodb")])
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("cc-by-4.0", "serene", "audio-classification")
    assert (data.language, data.base_model) == (["en", "de"], "facebook/hubert-base-ls960"), "of codes that there are"
    assert data.datasets == ["crema_d", "speechocean762"]
    assert set(data.tags or ()) == {"speech", "speech-emotion-recognition", "speaker-independent"}
    assert data.model_name == "my run"
    values = {(r.dataset_type, r.metric_type): r.metric_value for r in data.eval_results or ()}
    for name, kind in (("ua", "recall"), ("wa", "accuracy"), ("macro_f1", "f1")):
        assert values["crema_d", kind] == values["my_emodb", kind] == round(report["metrics"][name]["value"], 4)
    index = yaml.safe_load(text.split("---\n")[1])["model-index"]
    name, results = model_index_to_eval_results(index)
    assert eval_results_to_model_index(name, results) == index, "nothing in it that the hub does not know"
    assert [r.dataset_args["speaker_independent"] for r in results if r.dataset_args] == [True] * 6


def test_nothing_is_claimed_that_nobody_said(tmp_path: Path) -> None:
    text = card(tmp_path, content(languages=[], data=None, recipe=None, method="x"))
    data = ModelCard(text).data
    assert data.license is None and data.language is None and data.base_model is None
    assert "Nobody has chosen a licence" in text and "How it does on another corpus was not measured" in text
    assert "* Test speakers: not probed." in text
    assert "## Cold start" not in text and "## On other corpora" not in text


def test_the_text_holds_the_reports_figures(tmp_path: Path) -> None:
    report = content()
    text = card(tmp_path, report)
    ua, error = report["metrics"]["ua"], report["reliability"]["ece"]
    written = f"{100 * ua['value']:.1f} % [{100 * ua['low']:.1f} to {100 * ua['high']:.1f}]"
    assert f"**On unseen speakers: UA {written}**, where chance is 50.0 %" in text
    mean = f"{100 * report['metrics_mean_of_folds']['ua']['value']:.1f} %"
    assert f"| UA, mean recall over classes | {written} | – | {mean} | none |" in section(text, "Figures")
    groups = report["per_group"]["gender"]
    for name in ("female", "male"):
        figure = groups[name]["metrics"]["ua"]["value"]
        assert f"| {name} | 3 | 24 | {100 * figure:.1f} % [" in section(text, "Speakers and groups")
    assert "goes from 0.0 % to 75.0 %" in section(text, "Speakers and groups")
    calibration = section(text, "Reliability")
    assert "divides its logits by 1.25" in calibration and f"{100 * error['value']:.1f} % [" in calibration
    first = report["reliability"]["coverage"][1]
    assert f"| 0.6 | {100 * first['answered']:.1f} % | {100 * first['risk']:.1f} % |" in calibration
    assert "given none of their other, unlabelled clips" in text
    assert "Open Database License" in section(text, "Data") and "CREMA-D: Crowd-sourced" in section(text, "Data")
    assert "fold Bob Birch, seed 7**, after epoch 3 of 9. That fold alone has UA 75.0 %." in text


def test_classes_that_are_hardly_ever_recognised_elsewhere_are_named(tmp_path: Path) -> None:
    """Of both corpora the recalls stand in a table; below one clip in ten a class is named."""
    first, second = content(corpus="emodb"), content(corpus="mine") | {"fold": "1", "seed": 0}
    first["per_class_recall"] = {"anger": 0.85, "calm|<b>": 0.0}
    second["per_class_recall"] = {"anger": 0.099, "calm|<b>": None}
    text = section(card(tmp_path, content(), elsewhere=[first, second]), "On other corpora")
    assert "| recognised | `emodb` | `mine` |" in text
    assert "| anger | 85.0 % | 9.9 % |\n| calm\\|&lt;b> | 0.0 % | – |" in text
    assert "on `emodb` calm\\|&lt;b> 0.0 %; on `mine` anger 9.9 %." in text
    assert "of the model in this folder" not in text
    only = section(card(tmp_path, content(), elsewhere=[second]), "On other corpora")
    assert only.strip().startswith("The figures are of the model in this folder.")


def test_enrolment_and_warnings_stand_above_the_figures(tmp_path: Path) -> None:
    text = card(tmp_path, content(saw_unlabelled_test_audio=True, stamps=["few <clips> | of all"]))
    assert text.index(f"> * {ENROLLED}") < text.index("## How to load it")
    assert "> * Few &lt;clips> \\| of all" in text
    assert "enrolled with, or adapted to, their other, unlabelled clips" in text
    assert "calm\\|&lt;b>" in text, "a class called like a table's edge"


def test_what_a_manifest_says_stays_text(tmp_path: Path) -> None:
    hostile = "x</td><script>alert(1)</script>[a](http://b)|&lt;\x1b[2J`"
    recipe = f"model: {{weights: {json.dumps(hostile)}}}\n"
    report = content(languages=[hostile], only={hostile: hostile}, recipe=recipe, corpus=hostile)
    own = next(iter(report["per_group"]["gender"].values()))
    report["per_group"] = {hostile: {hostile: own}}
    text = ModelCard(card(tmp_path, report, licence=hostile, elsewhere=[content(corpus=hostile)])).text
    told = re.sub(r"(?<!\\)`[^`\n]*`", "", text)  # a code span is text as it is
    assert "alert" in section(text, "Intended use and limits"), "a language"
    assert "alert" in section(text, "Speakers and groups"), "a column and its value"
    assert "\x1b" not in text
    assert "<script" not in told and "&lt;\N{REPLACEMENT CHARACTER}" not in told.replace("&amp;lt;", "")
    assert not re.search(r"(?<!\\)\[a", told)
    for line in section(text, "Speakers and groups").splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line


def test_nobody_and_no_folder_is_named(tmp_path: Path) -> None:
    recipe = f"model: {{weights: {tmp_path}/hidden/tiny}}\ncorpus: {{path: {tmp_path}}}\n"
    text = card(tmp_path, content(corpus="table", recipe=recipe), elsewhere=[content(corpus="mine")])
    numbers = (tmp_path / "metrics.json").read_text()
    for name in PEOPLE:
        assert name not in text and name not in numbers
    assert str(tmp_path) not in text + numbers
    assert "`tiny`, a folder of its author's" in text and "the model of fold number 2, seed 7" in text
    assert ModelCard(text).data.datasets is None and ModelCard(text).data.base_model is None


def test_the_numbers_lie_beside_it(tmp_path: Path) -> None:
    report, cold = content(), {"none": {"value": 0.5}, "10": {"value": 0.75, "low": 0.7, "high": 0.8}}
    text = card(tmp_path, report, cold_start=cold, elsewhere=[content(corpus="emodb", stamps=["seen"])])
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("metrics", "reliability", "per_group", "speaker_spread", "protocol", "recipe_hash"):
        assert numbers[name] == report[name]
    assert numbers["model"] == CELL | {"fold": "Bob Birch", "seed": 7}
    assert (numbers["folds_run"], numbers["cold_start"]) == (6, cold)
    assert numbers["elsewhere"][0]["metrics"] == report["metrics"]
    assert "per_speaker" not in numbers and "recipe" not in numbers
    assert "| none | 50.0 % |\n| 10 | 75.0 % [70.0 to 80.0] |" in section(text, "Cold start")
    assert "| `emodb` | 48 | 6 |" in section(text, "On other corpora") and "* `emodb`: seen" in text


def test_dimensions_have_a_card_of_their_own(tmp_path: Path) -> None:
    truth = [[float(i % 5), float(i % 3)] for i in range(30)]
    ratings = Predictions.from_scores(
        ids=[f"u{i}" for i in range(30)],
        speakers=[f"s{i // 10}" for i in range(30)],
        truth=truth,
        scores=[[a, 1 + b / 2] for a, b in truth],
        task=Dimensions(("arousal", "my_own")),
        part="test",
        fold="1",
        seed=7,
    )
    report = build(ratings, facts=replace(RUN, target="dimensions")).to_json()
    text = card(tmp_path, report, fold="1", cold_start={"1": {"value": 0.5}})
    assert "gives values of 2 dimensions: arousal, my_own." in text
    assert "CCC of arousal 1.000 [1.000 to 1.000]" in text
    own = report["metrics"]["ccc_my_own"]["value"]
    assert f"| CCC of my_own | {own:.3f} [" in section(text, "Figures")
    assert "| CCC of my_own, mean of speakers' own |" in section(text, "Figures")
    assert "CCC of my_own of single test speakers goes from" in text
    assert "## Reliability" not in text and "answer.label" not in text
    assert "| 1 | 0.500 |" in section(text, "Cold start")
    kinds = {(r.metric_type, r.metric_name) for r in ModelCard(text).data.eval_results or ()}
    assert ("ccc", "CCC of arousal") in kinds and ("ccc", "CCC of my_own, mean of speakers' own") in kinds


def test_how_it_is_loaded_depends_on_the_model(tmp_path: Path) -> None:
    plain, enrolled, hubert = (
        section(card(tmp_path, content(), config=CONFIG | more), "How to load it")
        for more in ({}, {"normalize": "speaker"}, {"encoder": "hubert"})
    )
    assert "serene enrol" in enrolled and "serene enrol" not in plain + hubert
    assert "--to transformers" in hubert and "--to transformers" not in plain
    for snippet in re.findall("```python\n(.*?)```", plain, flags=re.DOTALL):
        compile(snippet, "card", "exec")


def test_every_corpus_states_its_licence() -> None:
    for corpus in CORPORA:
        licence, citation = licence_of(corpus)
        assert licence and (citation or not published(corpus)), corpus
    assert licence_of("json:loads") == (None, None), "a reader of one's own may not"


def test_training_writes_a_card_for_every_model(tiny_run: Path, enrolled_run: Path) -> None:
    report = json.loads((tiny_run / "report.json").read_text())
    for trial in Run.open(tiny_run).finished():
        text = (trial.folder / "model/README.md").read_text()
        assert f"the model of fold {trial.fold}, seed 0**" in text and "2 folds, 1 seed" in text
        met = json.loads((trial.folder / "model/trained_on.json").read_text())
        assert f"It was trained on {len(met['trained'])} speakers and selected by {len(met['validated'])} other" in text
        folder = ModelFolder.find(trial.folder / "model")
        assert folder.metrics is not None and folder.metrics["metrics"] == report["metrics"]
        assert folder.metrics["model"]["temperature"] == folder.temperature
    assert report["reliability"]["temperatures"] == [
        trial.json("environment.json")["temperature"] for trial in Run.open(tiny_run).finished()
    ]
    assert report["languages"] == [], "made-up speech is in none"
    enrolled = next(enrolled_run.rglob("model/README.md")).read_text()
    assert ENROLLED in enrolled and "serene enrol" in enrolled


def test_a_card_takes_up_what_was_measured_on_other_corpora(tiny_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, copy)
    (copy / "on/other").mkdir(parents=True)
    (copy / "on/other/report.json").write_text(json.dumps(content(corpus="other")))
    gone = copy / "fold-2/seed-0/model"
    shutil.rmtree(gone)
    write_cards(Run.open(copy))
    assert "| `other` | 48 | 6 |" in (copy / "fold-1/seed-0/model/README.md").read_text()
    assert not gone.exists(), "a model that was not kept has no card"


@pytest.mark.parametrize("file", ["trained_on.json", "nothing"])
def test_the_speakers_of_its_training_are_counted_where_it_is_known(tmp_path: Path, file: str) -> None:
    met = {"trained": [["crema_d", "1"], ["crema_d", "2"], ["voxceleb1", "x"]], "validated": [["crema_d", "3"]]}
    (tmp_path / file).write_text(json.dumps(met))
    text = card(tmp_path, content(speaker_corpus="voxceleb1"))
    assert ("It was trained on 2 speakers and selected by 1 other." in text) is (file == "trained_on.json")
    assert ("It learnt from 2 speakers, who speak English or German or Klingon." in text) is (file == "trained_on.json")
