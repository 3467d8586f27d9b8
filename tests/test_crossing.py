"""Trained models on a manifest they were not trained on: scored, or probed for the speaker."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serene.audio.dataset import Dataset
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import hashed
from serene.corpora.synthetic import make
from serene.crossing import evaluate_on, probe_model
from serene.evaluation.scoring import score
from serene.models.model import EmotionModel
from serene.run import Run


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three strangers of another corpus; the last clip of each has an emotion that no model knows."""
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
    assert content["stamps"][0] == "3 clips of other classes than the models' were left out"
    assert (content["speaker_independent"], content["saw_unlabelled_test_audio"]) == (True, False)
    assert content["protocol"] == f"cross-corpus: models of {run.folder.name}, all of others"
    assert told[-1] == ("scoring", 2, 2)

    known = [u for u in hashed(Manifest.read(others)) if u.emotion != "awe"]
    store = Store(run.folder.parent / "another store", Mfcc())
    right = []
    for cell in run.finished():
        model = EmotionModel.load(cell.folder / "model")
        answers = score(model, Dataset(known, store, emotions=model.emotions, speakers=())).probabilities.argmax(axis=1)
        right += [model.emotions[answer] == u.emotion for answer, u in zip(answers, known, strict=True)]
    assert content["metrics"]["wa"]["value"] == pytest.approx(np.mean(right))


def test_the_corpus_that_was_trained_on_is_no_stranger(run: Run, made_up: Path) -> None:
    content = evaluate_on(run, made_up)[0].content
    assert content["speaker_independent"] is False
    assert any("Speaker dependent" in stamp for stamp in content["stamps"])


def test_a_model_that_standardises_by_speaker_hears_the_strangers_clips(
    enrolled_run: Path, others: Path, tmp_path: Path
) -> None:
    shutil.copytree(enrolled_run, tmp_path / "runs" / enrolled_run.name)
    content = evaluate_on(Run.open(tmp_path / "runs" / enrolled_run.name), others)[0].content
    assert content["saw_unlabelled_test_audio"] is True


def test_a_model_is_probed_on_anybodys_clips(tiny_run: Path, enrolled_run: Path, others: Path) -> None:
    plain, enrolled = (probe_model(run / "fold-1/seed-0/model", others) for run in (tiny_run, enrolled_run))
    for leak in (plain, enrolled):
        assert (leak["n_speakers"], leak["chance"]) == (3, pytest.approx(1 / 3))
        assert 0 <= leak["accuracy"] <= 1
    assert plain["standardized"] == "by the training half"
    assert enrolled["standardized"] == "by speaker inside each half"  # statistics over both halves would fool the probe
