"""Killed with SIGKILL at any moment and run again: the same bytes as without, and no temporary copy left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from killed import contents, moment, run, was_killed
from small_model import make_folder, spoken, write

from serene.corpora import synthetic
from serene.files import MARK

FAULTS = [pytest.mark.faults, pytest.mark.slow]
HUBERT = {
    **{"model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 32, "conv_dim": [8, 8], "conv_kernel": [40, 16], "conv_stride": [20, 16]},
    **{"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
}


def sounds(folder: Path) -> None:
    for number in range(20):
        write(folder / f"sounds/{number:02}.wav", spoken(0.5 + 0.02 * number, number))


def corpus(folder: Path) -> None:
    synthetic.make(folder / "corpus", speakers=4, clips_per_speaker=4, seconds=0.3)


def recipe(folder: Path) -> None:
    corpus(folder)
    model = "model: {dropout: 0.0}\nmethod: {name: baseline}\n"
    made = "corpus: {name: synthetic, path: corpus}\nprotocol: {name: speaker_folds, folds: 4, run: [1]}\n" + model
    (folder / "r.yaml").write_text(made + "training: {epochs: 2, batch_size: 8, select_on: last}\n")


def stages(folder: Path) -> None:
    corpus(folder)
    stage = {
        "corpora": [{"name": "synthetic", "path": "corpus"}],
        "method": {"name": "masked_prediction", "clusters": 4, "predictor_width": 8},
        "training": {"epochs": 2, "batch_seconds": 4.0, "optimizer": "adam", "device": "cpu"},
    }
    made = {"model": {"encoder": "hubert", "config": HUBERT}, "stages": [stage]}
    (folder / "s.yaml").write_text(yaml.safe_dump(made))


def model(folder: Path) -> None:
    make_folder(folder / "model")


CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "predict": (sounds, ("predict", "sounds", "-o", "out.csv", "--batch-size", "2")),
    "enrol": (sounds, ("enrol", "sounds", "-o", "anna.json")),
    "prepare": (corpus, ("prepare", "synthetic", "corpus", "-o", "m.jsonl")),
    "train": (recipe, ("train", "r.yaml", "-o", "runs", "--jobs", "1")),
    "pretrain": (stages, ("train", "s.yaml", "-o", "runs")),
    "export": (model, ("export", "model", "-o", "model", "--to", "onnx")),
}
POINTS = {"predict": 10, "enrol": 4, "prepare": 6, "train": 16, "pretrain": 8, "export": 6}
ALWAYS = {"predict": 4, "enrol": 2, "prepare": 2}  # of the points, those that are cheap enough for every run of tests
Undisturbed = Callable[[str], tuple[Path, dict[str, bytes], int]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Give a verb's folder before it, what is there after it, and how often it touches a file."""

    @cache
    def of(verb: str) -> tuple[Path, dict[str, bytes], int]:
        top = tmp_path_factory.mktemp(verb)
        make, words = CASES[verb]
        (top / "before").mkdir()
        make(top / "before")
        shutil.copytree(top / "before", top / "after")
        done, touches = run(top / "after", words, 0, top)
        assert done.returncode == 0, done.stderr
        return top / "before", contents(top / "after"), touches

    return of


def test_fifty_points() -> None:
    assert sum(POINTS.values()) == 50
    assert sum(ALWAYS.values()) == 8


@pytest.mark.parametrize(
    ("verb", "point"),
    [
        pytest.param(verb, point, marks=[] if point < ALWAYS.get(verb, 0) else FAULTS)
        for verb, points in POINTS.items()
        for point in range(points)
    ],
)
def test_killed_and_run_again_it_ends_the_same(
    verb: str,
    point: int,
    undisturbed: Undisturbed,
    serene: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, expected, touches = undisturbed(verb)
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    scratch.mkdir()
    shutil.copytree(before, folder)
    at = moment(verb, point, touches)
    killed, _ = run(folder, CASES[verb][1], at, scratch)
    assert was_killed(killed), (at, killed.stderr)
    if verb == "export":
        assert (folder / "model/config.json").is_file()  # whenever it was, one of the two models is there
    monkeypatch.chdir(folder)
    again = serene(*CASES[verb][1])
    assert again.code == 0, (at, again.err)
    assert contents(folder) == expected, at
    assert not [path for path in folder.rglob("*") if MARK in path.name], at
