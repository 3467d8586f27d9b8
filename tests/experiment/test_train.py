"""The whole line: a recipe meets its corpus, trials are trained once, and the report comes from their files alone."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import quick_trials
from corpus_trees import CLIPS, huggingface, webdataset

from serene import sound
from serene.audio.mfcc import Mfcc
from serene.corpora import synthetic
from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.experiment import embedding_probes, recipe
from serene.experiment.plan import load_corpus, make_plan
from serene.experiment.run import Run
from serene.experiment.run_report import report_of, write_report
from serene.experiment.train import _clips_of, train
from serene.models.model import EmotionModel
from serene.protocols import make_splits

TRAINED = "model/model.safetensors"
ENROLLED = re.compile(r"test speakers are enrolled with \d+ unlabelled clips of their own")


def test_folds_and_seeds_are_those_that_the_recipe_asks_for(tiny_recipe: Path, tmp_path: Path) -> None:
    def trials(*overrides: str) -> list[tuple[str, int]]:
        plan = make_plan(recipe.load(tiny_recipe, overrides), tmp_path)
        return [(split.fold, trial.seed) for split, trial in plan.trials]

    assert trials() == [("1", 0), ("2", 0)]
    assert trials("protocol.run=3", "seeds=[5, 2]") == [("3", 5), ("3", 2)]
    assert trials("protocol={name: speaker_folds, folds: 3}") == [("1", 0), ("2", 0), ("3", 0)]
    assert len({path.name for path in tmp_path.iterdir()}) == 1  # one run holds them all


def test_a_fold_that_cannot_be_made_stops_only_who_asks_for_it(
    tiny_recipe: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    """All clips of one emotion are of one speaker: the fold that tests them has none to train on."""
    alone = made_up_manifest.speakers[-1]
    clips = tuple(replace(u, emotion="awe") if u.speaker == alone else u for u in made_up_manifest)
    Manifest(clips).write(tmp_path / "m.jsonl")
    changes = [f"corpus.path={tmp_path / 'm.jsonl'}", "protocol={name: speaker_folds, folds: 3}"]
    plan = make_plan(recipe.load(tiny_recipe, [*changes, "protocol.run=[1]"]), tmp_path)
    assert [(split.fold, trial.seed) for split, trial in plan.trials] == [("1", 0)]
    assert plan.of_folds == 3
    with pytest.raises(SereneError, match=r"fold 3: training holds no clip of awe.*can be made: 1, 2 \(protocol.run\)"):
        make_plan(recipe.load(tiny_recipe, changes), tmp_path)


def test_seeds_may_be_the_splits_too(tiny_recipe: Path, made_up_manifest: Manifest, tmp_path: Path) -> None:
    """As a random split of the Brown report's: another one for every training, and its seed is all that decides it."""
    name, shares = "random_speaker_dependent", {"train": 0.5, "validation": 0.25, "test": 0.25}
    changes = [f"protocol={{name: {name}, train: 0.5, validation: 0.25, test: 0.25, seed: training}}", "seeds=[0, 3]"]
    made = recipe.load(tiny_recipe, changes)
    plan = make_plan(made, tmp_path)
    assert [(split.fold, own.seed) for split, own in plan.trials] == [("1", 0), ("1", 3)]
    for split, planned in plan.trials:
        (own,) = make_splits(name, made_up_manifest, shares | {"seed": planned.seed})
        assert (split.train, split.validation, split.test) == (own.train, own.validation, own.test)
    (first, _), (second, _) = plan.trials
    assert {u.id for u in first.test} != {u.id for u in second.test}
    assert "seed: training" in made.to_yaml()
    fixed = recipe.load(tiny_recipe, [changes[0].replace("training", "0"), changes[1]])
    assert fixed.identity("") != made.identity("")
    (first, _), (second, _) = make_plan(fixed, tmp_path).trials
    assert first is second
    with pytest.raises(SereneError, match=r"protocol\.seed is training, and tu2019 draws nothing: it has no seed"):
        recipe.load(tiny_recipe, ["protocol={name: tu2019, seed: training}"])


def test_enrolment_hears_so_many_clips_of_each_speaker_whatever_is_in_them(
    tiny_recipe: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    made = recipe.load(tiny_recipe, ["features={normalize: speaker, enrolment_clips: 2}"])
    for split in make_plan(made, tmp_path).splits:
        assert split.saw_unlabelled_test_audio
        assert Counter(u.speaker for u in split.unlabelled) == dict.fromkeys(made_up_manifest.speakers, 2)
    enrolled = split.unlabelled
    joined = recipe.load(
        tiny_recipe, ["features={normalize: speaker, enrolment_clips: 2}", "labels.use=[anger, neutral]"]
    )
    for split in make_plan(joined, tmp_path).splits:
        assert split.unlabelled == enrolled, "they need no label, and no label chooses them"


def test_a_finished_cell_is_not_trained_again(tiny_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(tiny_run, runs / tiny_run.name)
    before = {path: path.stat().st_mtime_ns for path in runs.rglob(TRAINED)}
    (runs / tiny_run.name / "fold-2/seed-0/predictions.csv").unlink()  # as if it had been killed just before the end
    told = []
    run = train(recipe.load(tiny_recipe), runs, progress=lambda *news: told.append(news))
    after = {path: path.stat().st_mtime_ns for path in runs.rglob(TRAINED)}
    assert {path.relative_to(run.folder).parts[0] for path in after if after[path] != before[path]} == {"fold-2"}
    assert [(done, of) for what, done, of in told if what == "training"] == [(1, 2), (2, 2), (2, 2)]
    for fold in (1, 2):
        file = f"fold-{fold}/seed-0/predictions.csv"
        assert (run.folder / file).read_bytes() == (tiny_run / file).read_bytes()


def test_a_report_is_rebuilt_from_files_alone(tiny_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, copy)
    for report in copy.glob("report.*"):
        report.unlink()
    settings = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(settings.replace("made_up.jsonl", "gone.jsonl"))  # the corpus is out of reach
    write_report(Run.open(copy))
    rebuilt, original = (json.loads((folder / "report.json").read_text()) for folder in (copy, tiny_run))
    assert rebuilt.pop("recipe") == original.pop("recipe").replace("made_up.jsonl", "gone.jsonl")
    assert rebuilt == original
    assert (copy / "report.html").stat().st_size > 50_000


def test_a_report_says_what_was_run(tiny_run: Path, enrolled_run: Path) -> None:
    plain, enrolled = (report_of(Run.open(folder)).content for folder in (tiny_run, enrolled_run))
    assert plain["protocol"] == "speaker_folds v1 (folds 3, validation speaker, seed 0)"
    assert plain["selection"] == "best validation UA over epochs; validation: speaker"
    assert (plain["method"], plain["normalize"]) == ("baseline", "training_set")
    assert (plain["folds"], plain["seeds"], plain["n_speakers"], plain["n_utterances"]) == (["1", "2"], [0], 4, 32)
    assert plain["saw_unlabelled_test_audio"] is False
    assert plain["stamps"] == ["2 of the protocol's 3 folds were run"]
    assert (plain["target"], plain["only"], plain["data"]["left_out"]) == ("emotion", {}, {})
    assert plain["recipe_hash"] == tiny_run.name.removeprefix("tiny-")
    trials = Run.open(tiny_run).finished()
    assert plain["seconds"] == pytest.approx(
        sum(trial.json("environment.json")["seconds"] for trial in trials), abs=0.05
    )
    assert plain["speaker_probe"]["trials"] == 2
    linear = [trial.json("probes.json")["test"]["linear"]["mean"] for trial in trials]
    assert plain["speaker_probe"]["linear"]["mean"] == pytest.approx(sum(linear) / 2)
    assert enrolled["saw_unlabelled_test_audio"]
    assert any(ENROLLED.fullmatch(stamp) for stamp in enrolled["stamps"])
    assert enrolled["speaker_probe"]["standardized"] == "by speaker inside each half"


def test_probes_of_one_test_speaker_take_the_validating_speaker_in(tiny_recipe: Path, tmp_path: Path) -> None:
    changes = ["protocol={name: leave_one_speaker_out, run: [S1F]}", "training.epochs=1"]
    unseen = train(recipe.load(tiny_recipe, changes), tmp_path).finished()[0]
    assert unseen.json("probes.json")["test"]["parts"] == ["validation", "test"]
    assert unseen.json("probes.json")["test"]["n_speakers"] == 2
    known = [changes[0].replace("run", "validation: random20, run"), changes[1]]
    alone = train(recipe.load(tiny_recipe, known), tmp_path).finished()[0]
    assert alone.json("probes.json")["test"] is None  # who validates has been trained on: nobody to tell apart


def test_a_folder_is_prepared_once_and_anew_when_it_changes(made_up: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    shutil.copytree(made_up.parent / "corpus", tmp_path / "corpus")
    made = recipe.load(tiny_recipe, [f"corpus.path={tmp_path / 'corpus'}"])
    told = []

    def read() -> Manifest:
        told.clear()
        return load_corpus(made.corpus, tmp_path / "runs", lambda *news: told.append(news))

    assert len(read()) == 48
    assert told[-1] == ("decoding", 48, 48)
    first = read()
    assert not told
    assert first.digest == Manifest.read(made_up).digest  # prepared by hand or here: the same run
    next((tmp_path / "corpus/audio").iterdir()).write_bytes(b"damaged")
    assert len(read()) == 47
    assert len(list((tmp_path / "runs/manifests").glob("*.jsonl"))) == 2


@pytest.mark.parametrize(("corpus", "made"), [("webdataset", webdataset), ("huggingface", huggingface)])
def test_a_shard_alone_is_a_corpus_that_is_read_once(
    corpus: str, made: Callable[[Path], Path], tiny_recipe: Path, tmp_path: Path
) -> None:
    (shard,) = made(tmp_path / "shards").iterdir()
    settings = recipe.load(tiny_recipe, [f"corpus.name={corpus}", f"corpus.path={shard}"]).corpus
    told = []
    first = load_corpus(settings, tmp_path / "runs", lambda *news: told.append(news))
    assert told[-1] == ("decoding", len(CLIPS), len(CLIPS))
    told.clear()
    assert load_corpus(settings, tmp_path / "runs", lambda *news: told.append(news)).utterances == first.utterances
    assert not told
    first.write(tmp_path / "m.parquet")
    prepared = replace(settings, path=str(tmp_path / "m.parquet"))
    assert load_corpus(prepared, tmp_path / "runs").utterances == first.utterances


def test_clips_of_several_splits_are_computed_once(made_up: Path) -> None:
    splits = make_splits("speaker_folds", Manifest.read(made_up), {"folds": 2, "validation": "random20"})
    assert len(_clips_of(splits, "train", "validation", "test")) == len(Manifest.read(made_up))
    assert {u.id for u in _clips_of(splits[:1], "train")} == {u.id for u in splits[0].train}


def test_a_corpus_that_is_made_only_now_is_not_remembered_as_absent(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = synthetic.make
    sizes = iter((2, 3))
    monkeypatch.setattr(
        synthetic, "make", lambda folder: make(folder, speakers=next(sizes), clips_per_speaker=4, seconds=0.3)
    )
    for name, speakers in (("one", 2), ("two", 3), ("one", 2)):
        made = recipe.load(tiny_recipe, [f"corpus.path={tmp_path / name}"])
        assert len(load_corpus(made.corpus, tmp_path / "runs").speakers) == speakers


def test_the_corpus_may_be_filtered(made_up: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    made = recipe.load(tiny_recipe, ["corpus.only={speaker: 'S?F', session: '[12]'}"])
    assert load_corpus(made.corpus, tmp_path).speakers == ("S1F", "S2F")
    with pytest.raises(SereneError, match=r"No utterance matches .* check the patterns of `corpus.only`"):
        load_corpus(recipe.load(tiny_recipe, ["corpus.only.speaker=nobody"]).corpus, tmp_path)
    nowhere = replace(made.corpus, path=None)
    with pytest.raises(SereneError, match=r"does not say where the corpus 'synthetic' lies: add corpus\.path="):
        load_corpus(nowhere, tmp_path)


# --- more than an emotion corpus and its features


@pytest.fixture
def quickly(tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Give a function that trains one fold of the tiny recipe for one epoch, with a single draw of the probes."""
    monkeypatch.setattr(embedding_probes, "speaker_probe", partial(embedding_probes.speaker_probe, draws=1))

    def train_less(*changes: str) -> Run:
        less = ["protocol.run=1", "training.epochs=1"]
        return train(recipe.load(tiny_recipe, [*changes, *less]), tmp_path / "runs")

    return train_less


def test_trainings_whose_splits_go_by_the_seed_have_one_report(quickly: Callable[..., Run]) -> None:
    protocol = "protocol={name: speaker_holdout, train: 2, validation: 2, test: 2, seed: training}"
    run = quickly(protocol, "seeds=[0, 1]")
    tested, validated = (
        [set(trial.predictions().select(part=part).speaker) for trial in run.finished()]
        for part in ("test", "validation")
    )
    assert set.union(*tested) & set.union(*validated), "one seed tests whom another validates"
    report = json.loads((run.folder / "report.json").read_text())
    assert report["speaker_independent"] and report["seeds"] == [0, 1]


def two_corpora(speakers: Path, *changes: str) -> list[str]:
    return [
        *("method={name: speaker_normalization, step: 0.01}", "model.dropout=0"),
        *(f"speakers={{name: synthetic, path: '{speakers}', crop: 0.2, batch_size: 4}}", *changes),
    ]


def test_a_run_on_two_corpora_logs_both_and_says_so(quickly: Callable[..., Run], made_up: Path) -> None:
    run = quickly(*two_corpora(made_up))
    (one,) = run.finished()
    (row,) = one.log()
    assert {
        "emotion/emotion",
        "emotion/accuracy",
        "emotion/all_gradient",
        "speaker/speaker",
        "speaker/accuracy",
    } <= set(row)
    assert {"speaker/ascent_gradient", "speaker/speaker_head_gradient"} <= set(row)
    report = report_of(run).content
    assert (report["method"], report["speaker_corpus"]) == ("speaker_normalization", "synthetic")
    kept = (one.folder / "model/model.safetensors").read_bytes()
    assert b"speaker_head" not in kept, "what is needed only to learn does not ship"


def test_a_run_is_of_both_corpora_but_not_of_where_they_lie(
    made_up: Path, made_up_manifest: Manifest, tiny_recipe: Path, tmp_path: Path
) -> None:
    def planned(speakers: Path) -> str:
        return make_plan(recipe.load(tiny_recipe, two_corpora(speakers)), tmp_path / "runs").run.folder.name

    made_up_manifest.write(tmp_path / "moved.jsonl")
    Manifest(made_up_manifest.utterances[:-1]).write(tmp_path / "fewer.jsonl")
    own = planned(made_up)
    assert planned(tmp_path / "moved.jsonl") == own
    assert planned(tmp_path / "fewer.jsonl") != own


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("speakers.only={speaker: S1F}", "The speaker corpus has [01] speakers; telling speakers apart needs at least"),
        ("speakers.only={speaker: nobody}", r"No utterance matches .* check the patterns of `speakers\.only`"),
        ("speakers.path=null", r"does not say where the corpus 'synthetic' lies: add speakers\.path=FOLDER"),
        ("speakers={name: voxceleb1}", r"does not say where the corpus 'voxceleb1' lies: add speakers\.path=FOLDER"),
        ("speakers={name: emodb, path: '%s'}", r"is of the corpus synthetic, not of 'emodb'; set speakers\.name to"),
    ],
)
def test_a_speaker_corpus_that_cannot_serve_is_refused_before_a_run_begins(
    change: str, said: str, made_up: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    change = change % made_up if "%" in change else change
    with pytest.raises(SereneError, match=said):
        make_plan(recipe.load(tiny_recipe, two_corpora(made_up, change)), tmp_path)
    assert not list(tmp_path.glob("tiny-*"))


def test_speakers_may_be_what_is_learnt(quickly: Callable[..., Run], made_up_manifest: Manifest) -> None:
    run = quickly("labels.target=speaker", "protocol={name: random_speaker_dependent}")
    report = report_of(run).content
    assert report["target"] == "speaker"
    assert tuple(report["classes"]) == made_up_manifest.speakers
    assert report["speaker_independent"] is False
    answers = run.finished()[0].predictions()
    assert [answers.names[i] for i in answers.truth] == answers.speaker.tolist()
    assert EmotionModel.load(run.finished()[0].folder / "model").task.names == made_up_manifest.speakers


def test_a_table_of_speakers_is_of_those_who_train(quickly: Callable[..., Run]) -> None:
    run = quickly("model.speaker_embedding=table")
    (one,) = run.finished()
    model = EmotionModel.load(one.folder / "model")
    unseen = {*one.predictions().speaker.tolist()}
    assert len(model.speakers) == 2
    assert not {*model.speakers} & unseen
    assert report_of(run).content["saw_unlabelled_test_audio"] is False


def test_a_model_that_hears_voices_knows_the_training_speakers_statistics(
    quickly: Callable[..., Run], made_up_manifest: Manifest, tmp_path: Path
) -> None:
    run = quickly("model.speaker_embedding=mfcc_learned")
    (one,) = run.finished()
    unseen = {*one.predictions().speaker.tolist()}
    maker, voices = Mfcc(coefficients=20, deltas=0, voice_activity=False), []
    for speaker in sorted({*made_up_manifest.speakers} - unseen):
        clips = [u for u in made_up_manifest if u.speaker == speaker]
        voices.append(np.mean([maker(sound.read(u.audio)).mean(axis=0) for u in clips], axis=0))
    embedding = EmotionModel.load(one.folder / "model").speaker_embedding
    assert embedding.mean.numpy() == pytest.approx(np.mean(voices, axis=0), rel=1e-4, abs=1e-4)
    assert embedding.deviation.numpy() == pytest.approx(np.std(voices, axis=0), rel=1e-3, abs=1e-4)
    report = report_of(run).content
    assert report["saw_unlabelled_test_audio"] is True
    assert any(ENROLLED.fullmatch(stamp) for stamp in report["stamps"])


def test_a_prior_blends_the_training_sets_statistics_into_those_of_a_speaker(quickly: Callable[..., Run]) -> None:
    run = quickly("features={normalize: speaker, enrolment_clips: 1, enrolment_prior: 20}")
    model = EmotionModel.load(run.finished()[0].folder / "model")
    assert (model.normalize, model.enrolment_prior) == ("speaker", 20.0)
    assert model.feature_deviation.min() > 0
    assert (model.feature_mean != 0).all(), "the prior is that of the training set"


HUBERT = (
    "{encoder: hubert, config: {model_type: hubert, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, "
    "intermediate_size: 16, conv_dim: [16, 16, 16, 16, 16, 16, 16], num_conv_pos_embeddings: 4, "
    "num_conv_pos_embedding_groups: 2}, hidden: [8], pooling: mean}"
)


def test_an_encoder_of_waveforms_keeps_no_features(quickly: Callable[..., Run], tmp_path: Path) -> None:
    run = quickly(f"model={HUBERT}", "features.longest=0.3")
    model = EmotionModel.load(run.finished()[0].folder / "model")
    assert (model.normalize, model.config["width"], model.embedding_width) == ("utterance", 1, 16)
    assert not list((tmp_path / "runs").rglob("*.shard"))
    settings = json.loads((run.finished()[0].folder / "model/preprocessor_config.json").read_text())
    assert (settings["front_end"], settings["longest"]) == ("waveform", 0.3)


def test_a_run_is_of_the_weights_that_it_begins_with_wherever_they_lie(tiny_recipe: Path, tmp_path: Path) -> None:
    def planned(folder: Path) -> str:
        made = recipe.load(tiny_recipe, ["model={encoder: hubert}", f"model.weights={folder}"])
        return make_plan(made, tmp_path / "runs").run.folder.name

    for name, content in (("one", b"weights"), ("same", b"weights"), ("other", b"others")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(content)  # they are read only when a trial is trained
    assert planned(tmp_path / "one") == planned(tmp_path / "same") != planned(tmp_path / "other")


@pytest.mark.slow
def test_tensorboard_events_are_written_beside_the_log(tiny_recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `track` is not installed")
    changes = ["protocol.run=1", "training.epochs=1"]
    run = train(recipe.load(tiny_recipe, changes), tmp_path, tensorboard=True)
    (events,) = run.folder.glob("fold-1/seed-0/tensorboard/events.*")
    assert b"validation_ua" in events.read_bytes()


@pytest.mark.slow
def test_jobs_do_not_change_a_number(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serene.experiment.train.train_trial", quick_trials.train_trial)  # as tiny_run is probed
    run = train(recipe.load(tiny_recipe), tmp_path / "runs", jobs=2)
    for one, other in zip(Run.open(tiny_run).finished(), run.finished(), strict=True):
        for name in ("predictions.csv", TRAINED):
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()
        assert one.json("probes.json") == other.json("probes.json")
        assert np.array_equal(one.embeddings("train")[1], other.embeddings("train")[1])
