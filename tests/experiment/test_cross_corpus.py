"""Trained models on a manifest they were not trained on: scored, or probed for the speaker."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from quick_trials import give_recipe, unseal

from serene.audio.dataset import Dataset, contexts_of
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import hashed
from serene.corpora.synthetic import make
from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import DEPENDENT, NAMED
from serene.experiment import cross_corpus, embedding_probes, recipe
from serene.experiment.cross_corpus import evaluate_on, probe_model
from serene.experiment.run import Run
from serene.experiment.run_report import write_cards
from serene.experiment.train import train
from serene.models.model import EmotionModel
from serene.models.scoring import score


@pytest.fixture(autouse=True)
def made_up_voices_are_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the detector they are none; `test_one_path.py` looks at what is counted then."""
    monkeypatch.setattr(cross_corpus, "why_not", lambda samples: None)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three unseen speakers of another corpus; the last clip of each has an emotion that no model knows."""
    folder = tmp_path_factory.mktemp("others")
    clips = list(make(folder / "corpus", speakers=3, clips_per_speaker=8, seconds=0.3, seed=9))
    clips = [replace(u, corpus="elsewhere", emotion="awe" if u.id.endswith("8") else u.emotion) for u in clips]
    Manifest(tuple(clips)).write(folder / "others.jsonl")  # without hashes, as `prepare --fast` leaves them
    return folder / "others.jsonl"


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Run:
    shutil.copytree(tiny_run, tmp_path / "runs" / tiny_run.name)
    return Run.open(tmp_path / "runs" / tiny_run.name)


def test_every_model_scores_the_classes_it_knows(run: Run, others: Path) -> None:
    told = []
    report, folder = evaluate_on(run, others, lambda *news: told.append(news))
    assert folder == run.folder / "on" / "others"
    content = json.loads((folder / "report.json").read_text())
    assert content == report.to_json()
    assert (folder / "report.html").exists()
    assert content["n_utterances"] == 21
    assert content["stamps"][0] == "3 clips without a label that the models know were left out"
    assert (content["speaker_independent"], content["saw_unlabelled_test_audio"]) == (True, False)
    assert content["protocol"] == f"cross-corpus: models of {run.folder.name}, all of others"
    assert told[-1] == ("scoring", 2, 2)

    known = [u for u in hashed(Manifest.read(others)) if u.emotion != "awe"]
    store = Store(run.folder.parent / "another store", Mfcc())
    right = []
    for one in run.finished():
        model = EmotionModel.load(one.folder / "model")
        answers = score(model, Dataset(known, store, task=model.task, speakers=())).outputs.argmax(axis=1)
        right += [model.task.names[answer] == u.emotion for answer, u in zip(answers, known, strict=True)]
    assert content["metrics"]["wa"]["value"] == pytest.approx(np.mean(right))


def test_a_models_card_has_its_own_figures_and_not_the_mean_of_the_runs_models(run: Run, others: Path) -> None:
    second = run.finished()[1].folder / "model"
    model = EmotionModel.load(second)
    model.head.classify.weight.data.neg_()  # so that the two do not answer alike
    model.save(second, json.loads((second / "preprocessor_config.json").read_text()))
    unseal(second.parent)
    report, folder = evaluate_on(run, others)
    answers = Predictions.read(folder / "predictions.csv")
    own = {}
    for one in run.finished():
        rows = answers.select(fold=one.fold, seed=one.seed)
        own[one.fold] = float(np.mean(rows.truth == rows.prediction))
        told = json.loads((one.folder / "model" / "metrics.json").read_text())["elsewhere"][0]
        assert told["metrics"]["wa"]["value"] == pytest.approx(own[one.fold])
        for place, name in enumerate(rows.names):
            hits = [p == place for t, p in zip(rows.truth, rows.prediction, strict=True) if t == place]
            recall = sum(hits) / len(hits) if hits else None
            assert told["per_class_recall"][name] == (None if recall is None else pytest.approx(recall))
    assert len(set(own.values())) > 1
    assert report.content["metrics"]["wa"]["value"] == pytest.approx(np.mean([*own.values()]))
    (folder / "models.json").unlink()  # as evaluations before it are kept
    write_cards(run)
    assert "the figures are of all models of the run" in (one.folder / "model" / "README.md").read_text()


def test_speakers_of_the_corpus_that_was_trained_on_are_not_unseen(run: Run, made_up: Path) -> None:
    content = evaluate_on(run, made_up)[0].content
    assert content["speaker_independent"] is False
    assert any("Speaker dependent" in stamp for stamp in content["stamps"])


def test_of_clips_without_a_corpus_it_is_unknown_whether_their_speakers_were_met(
    run: Run, others: Path, tmp_path: Path
) -> None:
    """Neither dependent nor independent, until somebody says of which corpus they are."""
    nameless = tmp_path / "nameless.jsonl"
    Manifest(tuple(replace(u, corpus=None) for u in Manifest.read(others))).write(nameless)
    report, folder = evaluate_on(run, nameless)
    assert report.content["speaker_independent"] is None
    assert [stamp for stamp in report.content["stamps"] if "peaker" in stamp] == [
        "it is unknown whether the models have met these speakers: the clips do not say their corpus; say it with "
        "--corpus NAME"
    ]
    assert "on unseen speakers" not in (folder / "report.html").read_text()
    assert evaluate_on(run, nameless, corpus="elsewhere")[0].content["speaker_independent"] is True
    met = evaluate_on(run, nameless, corpus="synthetic")[0].content  # their namesakes are the very speakers
    assert (met["speaker_independent"], met["stamps"][0]) == (False, DEPENDENT)
    with pytest.raises(SereneError, match="say their corpus, which is elsewhere; leave --corpus out"):
        evaluate_on(run, others, corpus="elsewhere")


def test_other_speakers_of_the_corpus_that_was_trained_on_are_unseen(run: Run, others: Path, tmp_path: Path) -> None:
    clips = [replace(u, corpus="synthetic", speaker=f"new {u.speaker}") for u in Manifest.read(others)]
    Manifest(tuple(clips)).write(tmp_path / "more.jsonl")
    assert evaluate_on(run, tmp_path / "more.jsonl")[0].content["speaker_independent"] is True


def test_a_model_that_standardises_by_speaker_is_told_of_unlabelled_clips(
    enrolled_run: Path, others: Path, tmp_path: Path
) -> None:
    shutil.copytree(enrolled_run, tmp_path / "runs" / enrolled_run.name)
    content = evaluate_on(Run.open(tmp_path / "runs" / enrolled_run.name), others)[0].content
    assert content["saw_unlabelled_test_audio"] is True


@pytest.fixture(params=["table", "mfcc_raw"])
def told(request: pytest.FixtureRequest, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A short run whose models are told who speaks."""
    monkeypatch.setattr(embedding_probes, "speaker_probe", partial(embedding_probes.speaker_probe, draws=1))
    changes = [f"model.speaker_embedding={request.param}", "protocol.run=2", "training.epochs=1"]
    return train(recipe.load(tiny_recipe, changes), tmp_path / "runs")


def test_a_model_that_is_told_who_speaks_takes_all_of_another_corpus_for_unseen(told: Run, others: Path) -> None:
    """Some of them bear the names of training speakers."""
    content = evaluate_on(told, others)[0].content
    (one,) = told.finished()
    model = EmotionModel.load(one.folder / "model")
    known = [u for u in hashed(Manifest.read(others)) if u.emotion != "awe"]
    enrolled = "cepstra" in model.needs
    assert content["saw_unlabelled_test_audio"] == enrolled
    if not enrolled:
        assert {name.partition("/")[2] for name in model.speakers} & {u.speaker for u in known}
    store = Store(told.folder.parent / "another store", Mfcc())
    contexts = contexts_of(known, model.needs, store, known=model.speakers)
    answers = score(model, Dataset(known, store, task=model.task, speakers=(), contexts=contexts)).outputs
    right = [model.task.names[a] == u.emotion for a, u in zip(answers.argmax(axis=1), known, strict=True)]
    assert content["metrics"]["wa"]["value"] == pytest.approx(np.mean(right))


@pytest.fixture(scope="module")
def naming(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run whose models name the six speakers."""
    changes = ["labels.target=speaker", "protocol={name: random_speaker_dependent}", "training.epochs=1"]
    return train(recipe.load(tiny_recipe, changes), tmp_path_factory.mktemp("naming") / "runs")


def test_models_that_name_speakers_are_scored_on_those_speakers(naming: Run, made_up: Path, tmp_path: Path) -> None:
    clips = [*Manifest.read(made_up)]
    known = naming.finished()[0].predictions().names[:2]
    clips = [u if u.speaker in known else replace(u, speaker=f"new {u.speaker}") for u in clips]
    clips = [replace(u, emotion=None) for u in clips]  # which they do not need
    Manifest(tuple(clips)).write(tmp_path / "more.jsonl")
    report, folder = evaluate_on(naming, tmp_path / "more.jsonl")
    content = report.content
    assert content["target"] == "speaker"
    assert (content["n_utterances"], content["n_speakers"], len(content["classes"])) == (16, 2, 6)
    assert content["stamps"] == [
        NAMED,
        "32 clips without a label that the models know were left out",
        "it is not proven that the models were not trained on these clips",
    ]
    page = (folder / "report.html").read_text()
    assert "one of 6 speakers" in page
    assert "emotions" not in page
    (one,) = naming.finished()
    model = EmotionModel.load(one.folder / "model")
    own = [u for u in clips if u.speaker in known]
    labelled = [replace(u, emotion=u.speaker) for u in own]
    store = Store(tmp_path / "another store", Mfcc())
    answers = score(model, Dataset(labelled, store, task=model.task, speakers=())).outputs
    right = [model.task.names[answer] == u.speaker for answer, u in zip(answers.argmax(axis=1), own, strict=True)]
    assert content["metrics"]["wa"]["value"] == pytest.approx(np.mean(right))


def test_they_are_not_scored_on_namesakes_of_another_corpus(naming: Run, others: Path) -> None:
    known = naming.finished()[0].predictions().names
    assert {u.speaker for u in Manifest.read(others)} <= {*known}
    with pytest.raises(SereneError) as caught:
        evaluate_on(naming, others)
    assert str(caught.value) == (
        f"The models of {naming.folder.name} name speakers of synthetic, and {others} has clips of elsewhere, whose "
        "speakers are others even if they bear the same names. Give a manifest of the same corpus."
    )


def test_nor_where_fewer_than_two_speakers_are_known_of_whom_some_are_named(
    naming: Run, made_up: Path, tmp_path: Path
) -> None:
    clips = [replace(u, speaker=f"new {n:02}") for n, u in enumerate(Manifest.read(made_up))]
    Manifest(tuple(clips)).write(tmp_path / "new.jsonl")
    with pytest.raises(SereneError, match=r"has the classes new 00, new 01, .*, new 19 and 28 more, and the models "):
        evaluate_on(naming, tmp_path / "new.jsonl")


@pytest.fixture
def voted(run: Run) -> Run:
    """The same run, as if its models had learnt listeners' votes."""
    text = (run.folder / "recipe.yaml").read_text()
    give_recipe(run.folder, text.replace("target: emotion", "target: votes"))
    return Run.open(run.folder)


def test_models_of_votes_are_scored_on_what_most_listeners_heard(voted: Run, others: Path, tmp_path: Path) -> None:
    """Of the classes that the models know: most listeners heard awe, which they do not."""
    known = voted.finished()[0].predictions().names
    clips = [replace(u, votes={"awe": 5, known[n % 2]: 3, known[2]: 1}) for n, u in enumerate(Manifest.read(others))]
    clips[0] = replace(clips[0], votes={"awe": 2})
    Manifest(tuple(clips)).write(tmp_path / "heard.jsonl")
    content = evaluate_on(voted, tmp_path / "heard.jsonl")[0].content
    assert content["target"] == "votes"
    assert content["n_utterances"] == len(clips) - 1
    assert content["stamps"][0] == "1 clips without a label that the models know were left out"
    truth = np.sum(content["confusion"], axis=1) / len(voted.finished())
    assert dict(zip(content["classes"], truth, strict=True)) == {
        name: {known[0]: 11, known[1]: 12}.get(name, 0) for name in known
    }


def test_and_on_the_emotions_of_a_manifest_without_votes(voted: Run, tiny_run: Path, others: Path) -> None:
    content = evaluate_on(voted, others)[0].content
    assert content["target"] == "emotion"
    assert content["stamps"][-1] == "the models learnt listeners' votes, of which there are none here"
    (voted.folder / "recipe.yaml").write_text((tiny_run / "recipe.yaml").read_text())
    plain = evaluate_on(Run.open(voted.folder), others)[0].content
    assert plain["metrics"] == content["metrics"]
    assert (plain["target"], plain["stamps"]) == ("emotion", content["stamps"][:-1])


def test_a_model_is_probed_on_anybodys_clips(tiny_run: Path, enrolled_run: Path, others: Path) -> None:
    plain, enrolled = (probe_model(run / "fold-1/seed-0/model", others) for run in (tiny_run, enrolled_run))
    for found in (plain, enrolled):
        assert (found["n_speakers"], found["chance"]) == (3, pytest.approx(1 / 3))
        assert 0 <= found["accuracy"] <= 1
    assert plain["standardized"] == "by the training half"
    assert enrolled["standardized"] == "by speaker inside each half"  # statistics over both halves would fool the probe
