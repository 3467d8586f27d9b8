"""Unseen speakers are enrolled after the training: embeddings by hand, curve and report, and the same by a profile."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serene.corpora.manifest import Manifest
from serene.corpora.synthetic import make
from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.cross_corpus import evaluate_on
from serene.experiment.enrolment_curve import CLIPS, UnseenSpeakers, evaluate_enrolled
from serene.experiment.plan import load_corpus
from serene.experiment.run import Run
from serene.experiment.run_report import write_cards
from serene.experiment.train import train
from serene.inference import features
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.protocols.split import enrolment_clips
from serene.sound import read

SETTINGS = ["model={encoder: residual_tdnn, channels: 8, embedding_norm: speaker, pooling: attentive}"]


@pytest.fixture(scope="module")
def run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose models standardise embeddings by speaker, measured on speakers enrolled with unlabelled clips."""
    changes = [*SETTINGS, "features.crop=0.2", "training.epochs=6", "training.learning_rate=0.01"]
    trained = train(recipe.load(tiny_recipe, changes), tmp_path_factory.mktemp("enrolled") / "runs")
    evaluate_enrolled(trained)
    return trained


def manifest_of(run: Run) -> Manifest:
    return load_corpus(run.recipe.corpus, run.folder.parent)


@pytest.mark.parametrize("clips", [0, 1, 3, None])
def test_each_speaker_is_standardised_by_their_own_clips(run: Run, clips: int | None) -> None:
    unseen = UnseenSpeakers.of(run.finished()[0])
    made, names = unseen.enrolled(clips), unseen.answers.id.tolist()
    place = {name: row for row, name in enumerate(names)}
    known = [u for u in manifest_of(run) if u.id in place]
    for speaker in {u.speaker for u in known}:
        said = [u for u in known if u.speaker == speaker]
        enrolled = [unseen.embeddings[place[u.id]].tolist() for u in enrolment_clips(said, clips)]
        share = len(enrolled) / (len(enrolled) + 5)
        for utterance in said:
            own = unseen.embeddings[place[utterance.id]].tolist()
            for f in (0, 7, len(own) - 1):
                column = [vector[f] for vector in enrolled] or [0.0]
                mean = sum(column) / len(column)
                deviation = max(math.sqrt(sum((value - mean) ** 2 for value in column) / len(column)), 1e-5)
                divisor = math.sqrt(share * deviation**2 + (1 - share))
                expected = (own[f] - share * mean) / divisor
                assert made[place[utterance.id], f] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_nobody_enrolled_is_what_the_run_measured(run: Run) -> None:
    for trial in run.finished():
        unseen = UnseenSpeakers.of(trial)
        assert unseen.answered(0).scores == pytest.approx(trial.predictions().select(part="test").scores, abs=1e-5)
        assert unseen.answered(None).scores != pytest.approx(unseen.answers.scores, abs=1e-3)


def test_the_curve_begins_at_the_report_and_ends_at_the_enrolled_report(run: Run) -> None:
    content = json.loads((run.folder / "report.json").read_text())
    enrolled = json.loads((run.folder / "enrolled" / "report.json").read_text())
    curve = json.loads((run.folder / "enrolled" / "cold_start.json").read_text())
    assert list(curve) == ["0", "1", "2", "5", "10", "20", "all"] and len(curve) == len(CLIPS)
    assert curve["0"]["value"] == pytest.approx(content["metrics"]["ua"]["value"], abs=1e-9)
    assert curve["all"]["value"] == pytest.approx(enrolled["metrics"]["ua"]["value"], abs=1e-9)
    assert curve["all"]["low"] <= curve["all"]["value"] <= curve["all"]["high"]
    assert (content["saw_unlabelled_test_audio"], enrolled["saw_unlabelled_test_audio"]) == (False, True)
    assert "enrolled with all of their unlabelled test clips" in enrolled["stamps"][-1]
    assert enrolled["speaker_probe"]["standardized"] == "by speaker inside each half"
    assert (run.folder / "enrolled" / "cold_start.png").read_bytes().startswith(b"\x89PNG")


def test_the_cards_show_the_curve(run: Run) -> None:
    card = (run.finished()[0].folder / "model" / "README.md").read_text()
    assert "## Cold start" in card and "| all |" in card


def test_a_profile_gives_what_the_evaluation_gave(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the sounds themselves, through features, network and profile, to the same scores."""
    monkeypatch.setattr(features, "why_not", lambda samples: None)  # made-up voices are none to the detector
    trial = run.finished()[0]
    expected = UnseenSpeakers.of(trial).answered(None)
    speaker = expected.speaker[0]
    rows = np.flatnonzero(expected.speaker == speaker)
    clips = {u.id: u for u in manifest_of(run)}
    sounds = [(read(clips[name].audio), 16_000) for name in expected.id[rows].tolist()]
    recognizer = Recognizer.load(trial.folder / "model", device="cpu")
    profile = recognizer.enrol(sounds)
    assert profile.clips == len(rows)
    profile = replace(profile, said=dict.fromkeys(profile.said, 1))  # as varied as can be: the evaluation counts all
    answers = recognizer(sounds, profile=profile)
    given = np.array([[answer.scores[name] for name in expected.names] for answer in answers])
    assert given == pytest.approx(expected.scores[rows], abs=1e-4)
    again = Recognizer.load(trial.folder / "model", device="cpu", profile=profile).enrol(sounds)
    own, others = (one.context.embeddings for one in (profile, again))
    assert others.count == own.count == len(rows)
    assert others.moments == pytest.approx(own.moments, abs=1e-6), "with a profile as without"


def test_models_that_enrol_no_embeddings_are_told_apart(tiny_run: Path) -> None:
    with pytest.raises(SereneError, match=r"train with model\.embedding_norm=speaker"):
        evaluate_enrolled(Run.open(tiny_run))


def test_the_command_line_measures_it_and_asks_for_one_thing_at_a_time(run: Run, serene) -> None:
    done = serene("evaluate", run.folder, "--enrolled", "--json")
    assert done.code == 0 and done.json["saw_unlabelled_test_audio"] is True
    both = serene("evaluate", run.folder, "--enrolled", "--on", "x.jsonl")
    assert both.code == 2 and "ask for one at a time" in both.err


def test_two_kinds_of_enrolment_at_once_are_refused(tiny_recipe: Path) -> None:
    with pytest.raises(SereneError, match="choose one of them"):
        recipe.load(tiny_recipe, [*SETTINGS, "features.normalize=speaker"])


def test_unseen_speakers_of_another_corpus_are_enrolled_as_well(run: Run, tmp_path: Path) -> None:
    clips = make(tmp_path / "corpus", speakers=3, clips_per_speaker=8, seconds=0.3, seed=9)
    Manifest(tuple(replace(u, corpus="elsewhere") for u in clips)).write(tmp_path / "others.jsonl")
    report, folder = evaluate_on(run, tmp_path / "others.jsonl")
    curve = json.loads((folder / "cold_start.json").read_text())
    assert [*curve][:: len(curve) - 1] == ["0", "all"]
    assert curve["0"]["value"] == pytest.approx(report.to_json()["metrics"]["ua"]["value"], abs=1e-9)
    card = (run.finished()[0].folder / "model" / "README.md").read_text()
    assert "UA, each speaker enrolled with all of their unlabelled clips" in card


def test_a_test_of_one_speaker_has_no_probe_and_a_curve_all_the_same(tiny_recipe: Path, tmp_path: Path) -> None:
    alone = ["protocol={name: leave_one_speaker_out, run: [S1F]}", "features.crop=0.2"]
    trained = train(recipe.load(tiny_recipe, [*SETTINGS, *alone]), tmp_path / "runs")
    report, _ = evaluate_enrolled(trained)
    assert report.to_json()["speaker_probe"] is None
    assert (trained.folder / "enrolled" / "cold_start.json").exists()


def test_a_curve_of_other_trainings_than_the_reports_is_left_out_of_the_cards(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / run.folder.name)
    other = Run.open(tmp_path / run.folder.name)
    path = other.folder / "enrolled" / "cold_start.json"
    curve = json.loads(path.read_text())
    curve["0"]["value"] += 0.01
    path.write_text(json.dumps(curve))
    write_cards(other)
    assert "## Cold start" not in (other.finished()[0].folder / "model" / "README.md").read_text()


def test_a_model_cannot_be_made_of_both_kinds() -> None:
    with pytest.raises(SereneError, match="standardises features by speaker, or embeddings, and not both"):
        EmotionModel(("a", "b"), 39, normalize="speaker", parts=Parts(embedding_norm="speaker"))
