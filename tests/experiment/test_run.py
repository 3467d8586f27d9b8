"""Run folders: begun, taken up, opened, refused; and what a trial keeps."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from serene.errors import MissingExtra, SereneError
from serene.evaluation.predictions import Predictions
from serene.experiment import recipe
from serene.experiment.run import OF_THE_CORPUS, Run, Trial
from serene.experiment.sections import Recipe
from serene.files import write_text
from serene.task import Task
from serene.training.checkpoint import environment


@pytest.fixture
def made(tiny_recipe: Path) -> Recipe:
    return recipe.load(tiny_recipe)


def answers_of(trial: Trial) -> Predictions:
    answers = {"ids": ["a", "b"], "speakers": ["A", "B"], "truth": ["x", "y"], "task": Task(("x", "y"))}
    scores = np.array([[0.75, 0.25], [0.5, 0.5]])
    return Predictions.from_scores(**answers, scores=scores, part="test", fold=trial.fold, seed=trial.seed)


def finish(trial: Trial, name: str = "predictions.csv") -> None:
    """Finish a trial as versions did that kept no digests."""
    answers_of(trial).write(trial.folder / name)


FILES = {
    "log.jsonl": '{"epoch": 1}\n',
    "steps.jsonl": '{"epoch": 1}\n',
    "probes.json": '{"test": null, "train": null}\n',
}
VECTORS = {"test": np.eye(2, 3, dtype=np.float32)}


@pytest.fixture
def sealed(made: Recipe, tmp_path: Path) -> Trial:
    """A trial that has kept all but a model, and digests of it."""
    trial = Run.begin(tmp_path / "runs", made, "data").trial("1", 0)
    for name, text in FILES.items():
        write_text(trial.folder / name, text)
    write_text(trial.folder / "embeddings.json", '{"test": ["a", "b"]}')
    safetensors.numpy.save_file(VECTORS, trial.folder / "embeddings.safetensors")
    write_text(trial.folder / "model/model.safetensors", "weights")
    for name in OF_THE_CORPUS:
        write_text(trial.folder.parents[1] / name, '{"language": {"anna": "English"}}')
    trial.finish({**environment(1.0), "split": {}, "of_folds": 1, "selection": "last epoch"}, answers_of(trial))
    return trial


def unsealed(trial: Trial) -> None:
    """Take the digests out, as if an older version had finished it."""
    facts = trial.facts()
    del facts["files"]
    write_text(trial.folder / "environment.json", json.dumps(facts))


def test_a_run_is_begun_and_taken_up_wherever_its_corpus_lies(made: Recipe, tmp_path: Path) -> None:
    run = Run.begin(tmp_path, made, "data")
    assert run.folder == tmp_path / f"tiny-{made.identity('data')}"
    moved = replace(made, corpus=replace(made.corpus, path="elsewhere"), seeds=(4,), run=None)
    again = Run.begin(tmp_path, moved, "data")
    assert again.folder == run.folder
    assert recipe.load(run.folder / "recipe.yaml") == replace(moved, name="recipe")
    opened = Run.open(run.folder)
    assert (opened.recipe, opened.identity) == (moved, run.folder.name.removeprefix("tiny-"))
    assert Run.begin(tmp_path, made, "other data").folder != run.folder


def test_a_run_folder_with_another_recipe_is_refused_and_left_as_it_is(made: Recipe, tmp_path: Path) -> None:
    run = Run.begin(tmp_path, made, "data")
    changed = (run.folder / "recipe.yaml").read_text().replace("epochs: 2", "epochs: 3")
    (run.folder / "recipe.yaml").write_text(changed)
    with pytest.raises(SereneError, match=r"holds a run of another recipe: its recipe\.yaml was changed. Restore"):
        Run.begin(tmp_path, made, "data")
    assert (run.folder / "recipe.yaml").read_text() == changed


def test_a_run_whose_recipe_is_not_the_one_of_its_trials_is_not_reported_on(sealed: Trial, made: Recipe) -> None:
    run = Run.open(sealed.folder.parents[1])
    write_text(sealed.folder / "recipe.yaml", replace(made, seeds=(0, 1)).to_yaml())
    assert len(run.finished()) == 1  # as more seeds and folds may be asked for
    changed = (run.folder / "recipe.yaml").read_text().replace("epochs: 2", "epochs: 3")
    (run.folder / "recipe.yaml").write_text(changed)
    with pytest.raises(SereneError, match=r"tiny-\w+/recipe\.yaml .*fold-1/seed-0/recipe\.yaml has other settings"):
        Run.open(run.folder).finished()


@pytest.mark.parametrize("name", OF_THE_CORPUS)
def test_what_a_trial_met_of_its_corpus_stays(sealed: Trial, name: str) -> None:
    run = Run.open(sealed.folder.parents[1])
    path = run.folder / name
    path.write_text("{}")
    with pytest.raises(
        SereneError, match=rf"{run.folder}/{name} is missing or damaged: it is not what the trial wrote"
    ):
        run.finished()
    path.unlink()
    with pytest.raises(SereneError, match=rf"{run.folder}/{name} is missing or damaged: "):
        run.finished()
    unsealed(sealed)
    assert run.finished()


def test_a_finished_trial_whose_predictions_are_gone_is_missed_and_an_interrupted_one_is_not(sealed: Trial) -> None:
    run = Run.open(sealed.folder.parents[1])
    finish(run.trial("2", 0))
    answers = sealed.folder / "predictions.csv"
    answers.unlink()
    with pytest.raises(SereneError, match=rf"{answers} is missing or damaged: the trial had finished"):
        run.finished()
    (sealed.folder / "training.pt").touch()
    assert [trial.fold for trial in run.finished()] == ["2"]


def test_half_of_the_embeddings_is_damage(sealed: Trial) -> None:
    (sealed.folder / "embeddings.json").unlink()
    with pytest.raises(SereneError, match=r"embeddings\.json is missing or damaged: the embeddings are there"):
        sealed.embeddings("test")
    (sealed.folder / "embeddings.safetensors").unlink()
    assert sealed.embeddings("test") is None


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SereneError, match=r"is not a run's folder: it has no recipe\.yaml"):
            Run.open(folder)


def test_finished_cells_come_in_the_order_of_folds_and_seeds(made: Recipe, tmp_path: Path) -> None:
    run = Run.begin(tmp_path, made, "data")
    with pytest.raises(SereneError, match=r"No fold of .* has finished; run `serene train` again"):
        run.finished()
    for fold, seed in (("10", 0), ("2", 1), ("2", 0), ("1/a b", 0)):
        finish(run.trial(fold, seed), "predictions.csv.gz" if seed else "predictions.csv")
    begun = run.trial("3", 0).folder
    begun.mkdir(parents=True)
    (begun / "log.jsonl").write_text("{}\n")
    (run.folder / "fold-9").touch()
    trials = [(trial.fold, trial.seed) for trial in run.finished()]
    assert trials == [("2", 0), ("2", 1), ("10", 0), ("1/a b", 0)]  # a fold may bear a speaker's name, slash and all
    assert all(trial.predictions().id.tolist() == ["a", "b"] for trial in run.finished())


def test_a_cell_keeps_all_that_a_report_needs(tiny_run: Path) -> None:
    trial = Run.open(tiny_run).finished()[0]
    assert {path.name for path in trial.folder.iterdir()} == {
        *("recipe.yaml", "environment.json", "log.jsonl", "steps.jsonl", "predictions.csv", "probes.json", "model"),
        *("embeddings.safetensors", "embeddings.json"),
    }
    assert {path.name for path in (trial.folder / "model").iterdir()} == {
        *("config.json", "preprocessor_config.json", "model.safetensors", "trained_on.json"),
        *("README.md", "metrics.json"),
    }
    assert [row["epoch"] for row in trial.log()] == [1, 2]
    answers = trial.predictions()
    for part in ("train", "validation", "test"):
        ids, vectors = trial.embeddings(part) or ([], np.zeros(0))
        assert vectors.shape == (len(ids), 512)
        assert len(ids) == 16  # two speakers of eight clips
        if part != "train":
            assert ids == answers.select(part=part).id.tolist()
    assert safetensors.numpy.load_file(trial.folder / "embeddings.safetensors").keys() == {
        "train",
        "validation",
        "test",
    }
    facts = trial.json("environment.json")
    assert facts["split"] == {
        "protocol": "speaker_folds",
        "version": 1,
        "validation_rule": "speaker",
        "speaker_independent": True,
        "saw_unlabelled_test_audio": False,
        "stamps": [],
    }
    assert facts["selected_epoch"] in (1, 2)
    assert facts["seconds"] > 0
    assert recipe.load(trial.folder / "recipe.yaml") == replace(Run.open(tiny_run).recipe, name="recipe")


def test_the_selected_epoch_is_the_best_of_its_log(tiny_run: Path) -> None:
    for trial in Run.open(tiny_run).finished():
        rates = [row["validation_ua"] for row in trial.log()]
        assert trial.json("environment.json")["selected_epoch"] == rates.index(max(rates)) + 1


def test_what_was_not_kept_is_none(tmp_path: Path, tiny_run: Path) -> None:
    own = Run.open(tiny_run).finished()[0]
    shutil.copytree(own.folder, tmp_path / "trial")
    trial = Trial(tmp_path / "trial", own.fold, own.seed)
    for name in ("embeddings.safetensors", "embeddings.json", "probes.json", "log.jsonl"):
        (trial.folder / name).unlink()
    assert (trial.embeddings("test"), trial.json("probes.json"), trial.log()) == (None, None, [])


def test_the_environment_names_kinds_and_versions_not_the_machine() -> None:
    import platform

    facts = environment(1.234)
    assert facts["seconds"] == 1.2
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["processor"]
    assert platform.node() not in json.dumps(facts)


def test_a_missing_extra_travels_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(MissingExtra("tensorboard", "track")))
    assert isinstance(error, MissingExtra)
    assert str(error) == "tensorboard is not installed. Install it with: pip install 'serene-ser[track]'"


def test_a_finished_trial_is_as_it_was_written(sealed: Trial) -> None:
    run = Run.open(sealed.folder.parents[1])
    (trial,) = run.finished()
    trial.check("model")
    assert trial.facts()["files"]["log.jsonl"]["bytes"] == len(FILES["log.jsonl"])
    assert (sealed.folder / "predictions.csv").stat().st_size == trial.facts()["files"]["predictions.csv"]["bytes"]
    for name in ("steps.jsonl", "embeddings.safetensors"):  # which archives leave out
        (sealed.folder / name).unlink()
    plain = (sealed.folder / "predictions.csv").read_bytes()
    (sealed.folder / "predictions.csv.gz").write_bytes(gzip.compress(plain))
    (sealed.folder / "predictions.csv").unlink()
    assert [len(trial.predictions()) for trial in run.finished()] == [2]


SPOILT: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "emptied": lambda path: path.write_bytes(b""),
    "replaced": lambda path: path.write_bytes(path.read_bytes()[:-2] + b"!\n"),
    "a row less": lambda path: path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1])),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
@pytest.mark.parametrize("name", [*FILES, "predictions.csv", "embeddings.json", "embeddings.safetensors"])
def test_a_file_that_is_not_as_the_trial_wrote_it_is_named(
    sealed: Trial, name: str, spoil: Callable[[Path], object]
) -> None:
    spoil(sealed.folder / name)
    with pytest.raises(SereneError, match=rf"{name} is missing or damaged: .*Restore it, or delete it and run again"):
        Run.open(sealed.folder.parents[1]).finished()


def test_weights_are_checked_where_models_answer(sealed: Trial) -> None:
    (sealed.folder / "model/model.safetensors").write_text("Weights")
    (trial,) = Run.open(sealed.folder.parents[1]).finished()
    with pytest.raises(SereneError, match=r"model\.safetensors is missing or damaged: it is not what the trial wrote"):
        trial.check("model")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("environment.json", lambda trial: trial.facts()),
        ("probes.json", lambda trial: trial.json("probes.json", "test")),
        ("log.jsonl", lambda trial: trial.log()),
        ("embeddings.safetensors", lambda trial: trial.embeddings("test")),
        ("embeddings.json", lambda trial: trial.embeddings("test")),
        ("predictions.csv", lambda trial: trial.predictions()),
    ],
)
def test_what_an_older_version_wrote_without_digests_is_named_where_it_is_cut(
    sealed: Trial, name: str, read: Callable[[Trial], object]
) -> None:
    unsealed(sealed)
    read(sealed)
    path = sealed.folder / name
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) if len(lines) > 1 and name.endswith("csv") else path.read_bytes()[:-4])
    with pytest.raises(SereneError, match=rf"{name} is missing or damaged"):
        read(sealed)


def test_vectors_of_other_clips_are_refused(sealed: Trial) -> None:
    unsealed(sealed)
    safetensors.numpy.save_file({"test": np.eye(3, dtype=np.float32)}, sealed.folder / "embeddings.safetensors")
    with pytest.raises(SereneError, match=r"embeddings\.safetensors is missing or damaged: test is of the shape"):
        sealed.embeddings("test")


def test_a_missing_environment_and_an_odd_folder_are_named(sealed: Trial) -> None:
    (sealed.folder / "environment.json").unlink()
    with pytest.raises(SereneError, match=r"environment\.json is missing or damaged: No such file"):
        sealed.facts()
    (sealed.folder.parent / "seed-x").mkdir()
    with pytest.raises(SereneError, match=r"seed-x is no trial's folder: seed-NUMBER was expected"):
        Run.open(sealed.folder.parents[1]).finished()
