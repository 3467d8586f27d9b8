"""The whole line: a recipe meets its corpus, cells are trained once, and the report comes from their files alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serene import experiment, recipe
from serene.corpora import synthetic
from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.run import Run

TRAINED = "model/model.safetensors"


def test_folds_and_seeds_are_those_that_the_recipe_asks_for(tiny_recipe: Path, tmp_path: Path) -> None:
    def cells(*overrides: str) -> list[tuple[str, int]]:
        plan = experiment.plan(recipe.load(tiny_recipe, overrides), tmp_path)
        return [(split.fold, cell.seed) for split, cell in plan.cells]

    assert cells() == [("1", 0), ("2", 0)]
    assert cells("protocol.run=3", "seeds=[5, 2]") == [("3", 5), ("3", 2)]
    assert cells("protocol={name: speaker_folds, folds: 3}") == [("1", 0), ("2", 0), ("3", 0)]
    assert len({path.name for path in tmp_path.iterdir()}) == 1  # one run holds them all


def test_enrolment_hears_the_first_clips_of_each_speaker(tiny_recipe: Path, tmp_path: Path) -> None:
    made = recipe.load(tiny_recipe, ["features={normalize: speaker, enrolment_clips: 2}"])
    for split in experiment.plan(made, tmp_path).splits:
        assert split.saw_unlabelled_test_audio
        speakers = {u.speaker for u in (*split.train, *split.validation, *split.test)}
        heard = sorted(f"{speaker}_00{n}" for speaker in speakers for n in (1, 2))
        assert [u.id for u in split.unlabelled] == heard


def test_a_finished_cell_is_not_trained_again(tiny_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(tiny_run, runs / tiny_run.name)
    before = {path: path.stat().st_mtime_ns for path in runs.rglob(TRAINED)}
    (runs / tiny_run.name / "fold-2/seed-0/predictions.csv").unlink()  # as if it had been killed just before the end
    told = []
    run = experiment.train(recipe.load(tiny_recipe), runs, progress=lambda *news: told.append(news))
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
    experiment.write_report(Run.open(copy))
    rebuilt, original = (json.loads((folder / "report.json").read_text()) for folder in (copy, tiny_run))
    assert rebuilt.pop("recipe") == original.pop("recipe").replace("made_up.jsonl", "gone.jsonl")
    assert rebuilt == original
    assert (copy / "report.html").stat().st_size > 50_000


def test_a_report_says_what_was_run(tiny_run: Path, enrolled_run: Path) -> None:
    plain, enrolled = (experiment.report_of(Run.open(folder)).content for folder in (tiny_run, enrolled_run))
    assert plain["protocol"] == "speaker_folds v1 (folds 3, validation speaker, seed 0)"
    assert plain["selection"] == "best validation UA over epochs; validation: speaker"
    assert (plain["method"], plain["normalize"]) == ("baseline", "training_set")
    assert (plain["folds"], plain["seeds"], plain["n_speakers"], plain["n_utterances"]) == (["1", "2"], [0], 4, 32)
    assert plain["saw_unlabelled_test_audio"] is False
    assert plain["stamps"] == ["2 of the protocol's 3 folds were run"]
    assert (plain["target"], plain["only"], plain["data"]["left_out"]) == ("emotion", {}, {})
    assert plain["recipe_hash"] == tiny_run.name.removeprefix("tiny-")
    cells = Run.open(tiny_run).finished()
    assert plain["seconds"] == pytest.approx(sum(cell.json("environment.json")["seconds"] for cell in cells), abs=0.05)
    assert plain["leak"]["cells"] == 2
    linear = [cell.json("probes.json")["test"]["linear"]["mean"] for cell in cells]
    assert plain["leak"]["linear"]["mean"] == pytest.approx(sum(linear) / 2)
    assert enrolled["saw_unlabelled_test_audio"]
    assert any("unlabelled clips of the test speakers" in stamp for stamp in enrolled["stamps"])
    assert enrolled["leak"]["standardized"] == "by speaker inside each half"


def test_probes_of_one_test_speaker_take_the_validating_stranger_in(tiny_recipe: Path, tmp_path: Path) -> None:
    changes = ["protocol={name: leave_one_speaker_out, run: [S1F]}", "training.epochs=1"]
    strangers = experiment.train(recipe.load(tiny_recipe, changes), tmp_path).finished()[0]
    assert strangers.json("probes.json")["test"]["parts"] == ["validation", "test"]
    assert strangers.json("probes.json")["test"]["n_speakers"] == 2
    known = [changes[0].replace("run", "validation: random20, run"), changes[1]]
    alone = experiment.train(recipe.load(tiny_recipe, known), tmp_path).finished()[0]
    assert alone.json("probes.json")["test"] is None  # who validates has been trained on: nobody to tell apart


def test_a_folder_is_prepared_once_and_anew_when_it_changes(made_up: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    shutil.copytree(made_up.parent / "corpus", tmp_path / "corpus")
    made = recipe.load(tiny_recipe, [f"corpus.path={tmp_path / 'corpus'}"])
    told = []

    def read() -> Manifest:
        told.clear()
        return experiment.load_corpus(made, tmp_path / "runs", lambda *news: told.append(news))

    assert len(read()) == 48
    assert told[-1] == ("decoding", 48, 48)
    first = read()
    assert not told
    assert first.digest == Manifest.read(made_up).digest  # prepared by hand or here: the same run
    next((tmp_path / "corpus/audio").iterdir()).write_bytes(b"damaged")
    assert len(read()) == 47
    assert len(list((tmp_path / "runs/manifests").glob("*.jsonl"))) == 2


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
        assert len(experiment.load_corpus(made, tmp_path / "runs").speakers) == speakers


def test_the_corpus_may_be_filtered(made_up: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    made = recipe.load(tiny_recipe, ["corpus.only={speaker: 'S?F', session: '[12]'}"])
    assert experiment.load_corpus(made, tmp_path).speakers == ("S1F", "S2F")
    with pytest.raises(SereneError, match=r"No utterance matches .* check the patterns of `corpus.only`"):
        experiment.load_corpus(recipe.load(tiny_recipe, ["corpus.only.speaker=nobody"]), tmp_path)
    nowhere = replace(made, corpus=replace(made.corpus, path=None))
    with pytest.raises(SereneError, match=r"does not say where the corpus 'synthetic' lies: add corpus\.path="):
        experiment.load_corpus(nowhere, tmp_path)


@pytest.mark.slow
def test_tensorboard_events_are_written_beside_the_log(tiny_recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `track` is not installed")
    changes = ["protocol.run=1", "training.epochs=1"]
    run = experiment.train(recipe.load(tiny_recipe, changes), tmp_path, tensorboard=True)
    (events,) = run.folder.glob("fold-1/seed-0/tensorboard/events.*")
    assert b"validation_ua" in events.read_bytes()


@pytest.mark.slow
def test_jobs_do_not_change_a_number(tiny_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    run = experiment.train(recipe.load(tiny_recipe), tmp_path / "runs", jobs=2)
    for cell, other in zip(Run.open(tiny_run).finished(), run.finished(), strict=True):
        for name in ("predictions.csv", TRAINED):
            assert (cell.folder / name).read_bytes() == (other.folder / name).read_bytes()
        assert cell.json("probes.json") == other.json("probes.json")
        assert np.array_equal(cell.embeddings("train")[1], other.embeddings("train")[1])
