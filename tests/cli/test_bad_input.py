"""Mistakes of a user: one clear message, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serene import files
from serene.corpora import synthetic
from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment import train as training
from serene.experiment.run import Run
from serene.models.model import EmotionModel

Serene = Callable[..., Any]  # the fixture of conftest.py: words -> exit code, output, errors


def message(ended: Any) -> str:
    """Check that a command ended with one message, and give it."""
    assert ended.code == 2, (ended.out, ended.err)
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert ended.err.count("error: ") == 1
    return " ".join(ended.err.partition("error: ")[2].split())


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def train(serene: Serene, tiny_recipe: Path, tmp_path: Path) -> Callable[..., str]:
    """Train the tiny recipe with bad overrides; give the message, and check that no run has begun."""

    def run(*overrides: str) -> str:
        said = message(serene("train", tiny_recipe, *overrides, "-o", tmp_path / "runs", "--jobs", "1"))
        assert not list(tmp_path.glob("runs/tiny-*"))
        assert not [name for name in tree(tmp_path) if Path(name).name.startswith(".")]
        return said

    return run


LONG = "x" * 5000  # more than a system's paths may have


@pytest.mark.parametrize(
    "words",
    [
        ("prepare", "table", LONG, "-o", "m.jsonl"),
        ("prepare", "files", LONG, "-o", "m.jsonl"),
        ("prepare", "emodb", LONG, "-o", "m.jsonl"),
        ("audit", LONG),
        ("audit", "m.jsonl", "--splits", LONG),
        ("train", LONG),
        ("evaluate", LONG),
        ("predict", LONG),
        ("probe", LONG, LONG),
    ],
    ids=" ".join,
)
def test_a_path_that_no_system_allows_is_quoted_in_part(serene: Serene, words: tuple[str, ...]) -> None:
    said = message(serene(*words))
    assert "x... (5" in said
    assert len(said) < 1000


# --- recipe, corpus, protocol: refused before anything is begun


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainin.epochs=3"], "Unknown key in the recipe 'trainin'. Did you mean 'training'?"),
        (["training.epochs=few"], "training.epochs is 'few': input should be a valid integer"),
        (["training.epochs=0"], "training.epochs is 0; at least 1 was expected."),
        (
            ["corpus.name=emobd"],
            "Unknown corpus 'emobd'. Did you mean 'emodb'? Choices: crema_d, emodb, esd, ",
        ),
        (["method.name=dann"], "Unknown method 'dann'. Choices: baseline, cross_gradient, domain_adversarial, "),
        (["protocol.name=kfold"], "Unknown protocol 'kfold'. Choices: leave_one_session_out, leave_one_speaker_out, "),
        (["corpus.name=emodb", "corpus.path=nowhere"], "There is no folder nowhere. Expected: "),
        (["corpus.path=absent.jsonl"], "Cannot read the manifest absent.jsonl: [Errno 2] No such file"),
        (["features.coefficients=0"], "features.coefficients is 0 and features.deltas 2; 1 to 23 coefficients"),
        (["corpus.only={speaker: S1F}"], "All 8 utterances are of one speaker (S1F): a speaker-independent protocol"),
        (["protocol={name: speaker_folds, folds: 9}"], "was asked for 9 folds of 6 speakers; at least 2 folds and no"),
        (["protocol.run=4"], "protocol.run asks for fold '4'; the folds are 1, 2, 3."),
        (["protocol.validation=none"], "The protocol keeps no validation part; set training.select_on to 'last'."),
        (["labels.use=[anger, joy]"], "No utterance has the emotion 'joy'. The corpus has: anger "),
        (["labels.target=emotion_perceived"], "No utterance has an emotion perceived; to learn speakers set labels."),
        (["model.head_dropout=1.5"], "model.head_dropout is 1.5; a probability below 1 was expected."),
        (["model.hidden=[64, 0]"], "model.hidden is (64, 0) and model.speaker_width 64; a width is at least 1."),
        (["training.encoder_learning_rate=0"], "training.encoder_learning_rate is 0.0; a positive number was expected"),
        (
            ["features={normalize: speaker, enrolment_prior: -1}"],
            "features.enrolment_prior is -1.0; a number of frames",
        ),
        (["method.name=speaker_normalization"], "learns from a speaker corpus: add `speakers: {name: speechocean762"),
        (["speakers={name: synthetic}"], "The method baseline learns from no speaker corpus; drop `speakers`"),
        (
            ["method.name=speaker_normalization", "speakers={name: synthetic}"],
            "does not say where the corpus 'synthetic' lies: add speakers.path=FOLDER, or the manifest",
        ),
        (["model={encoder: hubert, weights: no such/na me}"], "The weights 'no such/na me' are neither a folder nor a"),
        (["model={encoder: frozen}"], "features.weights is missing."),
        (["features={normalize: speaker, enrolment_clips: 0}"], "0 unlabelled clips per speaker were asked for"),
        (
            ["protocol={name: official}"],
            "48 of 48 utterances have no split; this protocol needs one. This corpus can serve: leave_one_session_out, "
            "tu2019, speaker_folds, leave_one_speaker_out, speaker_holdout, random_speaker_dependent.",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_recipe_that_cannot_be_run(overrides: list[str], said: str, train: Callable[..., str]) -> None:
    assert said in train(*overrides)


def test_a_speaker_corpus_of_one_speaker(train: Callable[..., str], made_up: Path) -> None:
    speakers = f"speakers={{name: synthetic, path: '{made_up}', only: {{speaker: S1F}}}}"
    said = train("method.name=speaker_normalization", speakers, "protocol.run=2")
    assert re.search(r"The speaker corpus has [01] speakers; telling speakers apart needs at least two\.", said)


def test_weights_that_are_not_there(train: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    said = train("model={encoder: hubert}", f"model.weights={tmp_path / 'weights'}")
    lacking = f"{tmp_path / 'weights'} is no model folder: config.json and model.safetensors or pytorch_model.bin"
    assert f"{lacking} is not there." in said


HUBERT = (
    "model={encoder: hubert, config: {model_type: hubert, hidden_size: 16, num_hidden_layers: 1, "
    "num_attention_heads: 2, intermediate_size: 16, conv_dim: [16, 16, 16, 16, 16, 16, 16]}}"
)


def test_a_clip_that_is_shorter_than_the_encoder_sees(
    serene: Serene, tiny_recipe: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    short = [replace(u, duration=0.02, audio_hash=None) if u.id == "S2F_003" else u for u in made_up_manifest]
    Manifest(tuple(short)).write(tmp_path / "short.jsonl")
    words = ("train", tiny_recipe, HUBERT, f"corpus.path={tmp_path / 'short.jsonl'}", "protocol.run=[1, 2, 3]")
    said = message(serene(*words, "-o", tmp_path / "runs", "--jobs", "1"))
    assert "The clip 'S2F_003' has 320 samples; this encoder needs at least 400. Leave it out of the manifest." in said
    assert not list(tmp_path.rglob("predictions.csv"))


def test_a_recipe_that_is_not_there(serene: Serene, tmp_path: Path) -> None:
    assert "Cannot read the recipe absent.yaml" in message(serene("train", "absent.yaml", "-o", tmp_path / "runs"))
    assert tree(tmp_path) == set()


def test_an_empty_manifest(train: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "The manifest is empty: no utterance was found or kept." in train(f"corpus.path={tmp_path / 'empty.jsonl'}")


def test_a_class_that_only_a_test_speaker_has(
    train: Callable[..., str], made_up_manifest: Manifest, tmp_path: Path
) -> None:
    clips = [replace(u, emotion="boredom") if u.speaker == "S2M" else u for u in made_up_manifest]
    Manifest(tuple(clips)).write(tmp_path / "bored.jsonl")
    said = train(f"corpus.path={tmp_path / 'bored.jsonl'}")
    assert "fold 2: training holds no clip of boredom, which its test has." in said
    assert "leave the class out in the recipe's `labels`" in said


def test_a_dropout_that_is_no_probability(serene: Serene, tiny_recipe: Path, tmp_path: Path) -> None:
    ended = serene("train", tiny_recipe, "model.dropout=1.5", "-o", tmp_path, "--jobs", "1")
    assert message(ended).endswith("model.dropout is 1.5; a probability below 1 was expected.")
    assert not list(tmp_path.rglob("seed-*"))


# --- audio that was there when the corpus was prepared


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda clip: clip.unlink(), "cannot be read as audio"),
        (lambda clip: clip.write_bytes(b""), "cannot be read as audio"),
        (lambda clip: clip.write_bytes(clip.read_bytes()[:60]), "cannot be read as audio"),
        (lambda clip: soundfile.write(clip, np.zeros(0), 16_000, format="WAV"), "holds no samples"),
        (
            lambda clip: soundfile.write(clip, np.full(8000, np.nan), 16_000, format="WAV", subtype="FLOAT"),
            "holds samples that are not finite numbers",
        ),
        (lambda clip: soundfile.write(clip, np.full(8000, 0.1), 16_000), "has changed since its manifest was made"),
    ],
    ids=["deleted", "empty", "cut", "no samples", "not finite", "another sound"],
)
def test_audio_that_was_damaged_since(
    damage: Callable[[Path], object], said: str, serene: Serene, tiny_recipe: Path, made_up: Path, tmp_path: Path
) -> None:
    shutil.copytree(made_up.parent, tmp_path / "copy")
    manifest = Manifest.read(tmp_path / "copy" / made_up.name)
    clip = Path(manifest.utterances[0].audio)
    assert clip.is_relative_to(tmp_path)
    damage(clip)
    words = ("train", tiny_recipe, f"corpus.path={tmp_path / 'copy' / made_up.name}", "-o", tmp_path / "runs")
    ended = serene(*words, "--jobs", "1")
    assert f"{clip} {said}" in message(ended)
    assert not list(tmp_path.glob("runs/**/seed-*"))
    assert not [name for name in tree(tmp_path) if Path(name).name.startswith(".")]


# --- a disk that refuses


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)


@pytest.mark.usefixtures("full_disk")
def test_a_write_that_fails_leaves_nothing(serene: Serene, made_up: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    for words in (
        ("prepare", "synthetic", made_up.parent / "corpus", "-o", tmp_path / "m.jsonl"),
        ("train", tiny_recipe, "-o", tmp_path / "runs", "--jobs", "1"),
    ):
        said = message(serene(*words))
        assert f"Cannot write {tmp_path}" in said
        assert "No space left on device. Nothing was changed; check that the folder can be written to" in said
    assert not [name for name in tree(tmp_path) if (tmp_path / name).is_file()]


@pytest.mark.usefixtures("full_disk")
def test_an_evaluation_that_cannot_be_written_leaves_the_old_one(
    serene: Serene, tiny_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / tiny_run.name)
    before = {name: (tmp_path / name).read_bytes() for name in tree(tmp_path) if (tmp_path / name).is_file()}
    assert "Cannot write" in message(serene("evaluate", tmp_path / tiny_run.name))
    assert {name: (tmp_path / name).read_bytes() for name in tree(tmp_path) if (tmp_path / name).is_file()} == before


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let the system refuse, inside the block, what would make a file larger than this many bytes."""
    resource = pytest.importorskip("resource", reason="this system has no such limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [20, 20_000])
def test_a_disk_that_is_full_in_the_middle_is_one_message(size: int, tiny_recipe: Path, tmp_path: Path) -> None:
    """The libraries that write weights and arrays report this in ways of their own."""
    with files_up_to(size), pytest.raises(SereneError, match=r"Cannot write .* check .* that the disk has room"):
        training.train(recipe.load(tiny_recipe), tmp_path)
    assert not [name for name in tree(tmp_path) if Path(name).name.startswith(".")]
    assert not list(tmp_path.rglob("training.pt"))


def test_models_and_corpora_that_do_not_fit_on_the_disk(tmp_path: Path) -> None:
    model = EmotionModel(("a", "b"), 5)
    with files_up_to(20_000), pytest.raises(SereneError, match="Cannot write"):
        model.save(tmp_path / "model", {})
    with files_up_to(2_000), pytest.raises(SereneError, match="Cannot write"):
        synthetic.make(tmp_path / "corpus", speakers=2, clips_per_speaker=4, seconds=0.3)
    assert tree(tmp_path) == set()


def test_a_full_disk_behind_the_output_is_one_message() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "serene", "train", "recipes/quickstart.yaml", "--rows"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: Cannot write the output: No space left on device.\n")


def test_a_model_that_is_larger_than_the_memory(serene: Serene, tiny_recipe: Path, tmp_path: Path) -> None:
    words = ("train", tiny_recipe, "model={encoder: residual_tdnn, channels: 600000}", "--jobs", "1")
    ended = serene(*words, "-o", tmp_path / "runs")
    assert (ended.code, "Traceback" in ended.err) == (2, False)
    assert "error: There is too little memory (" in ended.err


@pytest.mark.parametrize(
    "words", [("train", "r.yaml"), ("predict", "r.jsonl"), ("predict", "a.wav", "--profile", "r.json")]
)
def test_a_pipe_in_place_of_a_file(
    words: tuple[str, ...], serene: Serene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(words[-1])
    assert f"{words[-1]}" in (said := message(serene(*words)))
    assert "it is a pipe or device, and a file was expected" in said


def test_two_trainings_of_one_fold_are_kept_apart(
    serene: Serene, tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / "runs" / tiny_run.name)
    trial = tmp_path / "runs" / tiny_run.name / "fold-1/seed-0"
    (trial / "predictions.csv").unlink()
    with files.locked(trial):
        ended = serene("train", tiny_recipe, "--jobs", "1", "-o", tmp_path / "runs")
    assert ended.code == 2
    assert f"error: Another process is writing {trial}; wait until it has finished" in ended.err
    assert not (trial / "predictions.csv").exists()


# --- folders that are something else


def test_a_run_folder_of_another_recipe(serene: Serene, tiny_run: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / tiny_run.name)
    kept = tmp_path / tiny_run.name / "recipe.yaml"
    kept.write_text(kept.read_text().replace("batch_size: 8", "batch_size: 9"))
    said = message(serene("train", tiny_recipe, "-o", tmp_path, "--jobs", "1"))
    assert f"{tmp_path / tiny_run.name} holds a run of another recipe: its recipe.yaml was changed." in said
    assert "batch_size: 9" in kept.read_text()


def test_what_is_no_run(serene: Serene, tiny_run: Path, made_up: Path, tmp_path: Path) -> None:
    for words in (("evaluate", tmp_path), ("evaluate", tmp_path / "x"), ("compare", tiny_run, tmp_path)):
        assert "is not a run's folder: it has no recipe.yaml. `serene train` makes one" in message(serene(*words))
    begun = tmp_path / tiny_run.name
    begun.mkdir()
    shutil.copy(tiny_run / "recipe.yaml", begun)
    assert f"No fold of {begun} has finished; run `serene train` again" in message(serene("evaluate", begun))
    assert tree(begun) == {"recipe.yaml"}
    assert "compare needs two runs or more." in message(serene("compare", tiny_run))
    assert f"{tmp_path} is not a readable model folder" in message(serene("probe", tmp_path, made_up))
    said = message(serene("leaderboard", tmp_path, "-o", tmp_path / "tables"))
    assert f"There is no finished run in {tmp_path} or {tmp_path / 'tables' / 'runs.tar.bz2'}" in said
    assert not (tmp_path / "tables").exists()


def test_runs_that_cannot_be_compared(serene: Serene, tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / tiny_run.name)
    shutil.rmtree(tmp_path / tiny_run.name / "fold-2")
    said = message(serene("compare", tiny_run, tmp_path / tiny_run.name))
    assert "The two runs were tested on different utterances: 16 are in only one of them" in said


def test_another_corpus_that_a_run_cannot_be_scored_on(
    serene: Serene, tiny_run: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / tiny_run.name)
    before = tree(tmp_path)
    other = {"anger": "boredom", "sadness": "sadness"}
    Manifest(tuple(replace(u, emotion=other.get(str(u.emotion), "calm")) for u in made_up_manifest)).write(
        tmp_path / "bored.jsonl"
    )
    said = message(serene("evaluate", tmp_path / tiny_run.name, "--on", tmp_path / "bored.jsonl"))
    assert "has the classes boredom, calm, sadness, and the models know anger, happiness, neutral, sadness: at" in said
    said = message(serene("evaluate", tmp_path / tiny_run.name, "--on", tmp_path / "absent.jsonl"))
    assert f"Cannot read the manifest {tmp_path / 'absent.jsonl'}" in said
    assert tree(tmp_path) - {"bored.jsonl", "bored.left_out.csv"} == before
    small = Run.open(tmp_path / tiny_run.name).finished()[0].folder / "model"
    shutil.rmtree(small)  # as in the runs that `leaderboard` keeps
    said = message(serene("evaluate", tmp_path / tiny_run.name, "--on", tmp_path / "bored.jsonl"))
    assert f"{small} is not a readable model folder" in said


# --- prepare, audit


def test_prepare(serene: Serene, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "m.jsonl")
    said = message(serene("prepare", "emodb", tmp_path / "nowhere", *output))
    assert f"There is no folder {tmp_path / 'nowhere'}. Expected: " in said
    assert "http" in said  # where it is had
    assert "Licence: " in said
    assert "Unknown corpus 'emobd'. Did you mean 'emodb'?" in message(serene("prepare", "emobd", tmp_path, *output))
    (tmp_path / "table.csv").write_text("path,emotion\na.wav,anger\n")
    assert "has no column for the speaker" in message(serene("prepare", "table", tmp_path / "table.csv", *output))
    assert tree(tmp_path) == {"table.csv"}


def test_audit(serene: Serene, made_up: Path, tmp_path: Path) -> None:
    assert "Cannot read the manifest" in message(serene("audit", tmp_path / "absent.jsonl"))
    (tmp_path / "train.csv").write_text("id\nunheard_of\n")
    (tmp_path / "test.csv").write_text("id\nS1F_001\n")
    said = message(serene("audit", made_up, "--splits", tmp_path / "train.csv", tmp_path / "test.csv"))
    assert "No clip of the part train is in the manifest, for example 'unheard_of'." in said
