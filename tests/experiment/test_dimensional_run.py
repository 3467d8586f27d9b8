"""Dimensions through the whole line: trained, reported, rebuilt, compared, tabled, and scored on another corpus."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serene import protocols
from serene.audio.dataset import Dataset
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed
from serene.corpora.synthetic import make
from serene.errors import SereneError
from serene.evaluation import metrics, shift
from serene.experiment import embedding_probes, recipe
from serene.experiment.archive import ARCHIVE, unpack
from serene.experiment.cross_corpus import evaluate_on, probe_model
from serene.experiment.leaderboard import COLUMNS, SHARED, leaderboard
from serene.experiment.plan import make_plan
from serene.experiment.run import Run
from serene.experiment.run_report import report_of, write_report
from serene.experiment.train import train
from serene.models.model import EmotionModel
from serene.models.scoring import score
from serene.task import Dimensions

DIMENSIONS = ["arousal", "tension"]
CHANGES = (
    *("labels={target: dimensions, use: [arousal, tension]}", "protocol={name: speaker_folds, folds: 3, run: [1, 2]}"),
    "training={epochs: 1, batch_size: 8, optimizer: adam, select_on: validation CCC}",
)
EMOTIONS = ("anger", "happiness", "neutral", "sadness")


def rating_of(clip: Utterance, place: int) -> Utterance:
    """Rate a clip by its emotion, more or less, and take the emotion away."""
    height = EMOTIONS.index(str(clip.emotion)) if clip.emotion in EMOTIONS else 2
    return replace(
        clip, emotion=None, arousal=1 + 1.5 * height + place % 5 / 7, numbers={"tension": 50.0 - 10 * height}
    )


@pytest.fixture(scope="module")
def rated(made_up_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up speech with two dimensions and no emotion."""
    path = tmp_path_factory.mktemp("rated") / "rated.jsonl"
    clips = tuple(rating_of(u, place) for place, u in enumerate(made_up_manifest))
    replace(made_up_manifest, utterances=clips).write(path)
    return path


@pytest.fixture(scope="module")
def one_draw() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_probes, "speaker_probe", partial(embedding_probes.speaker_probe, draws=1))
        yield


@pytest.fixture(scope="module")
def trained(
    rated: Path, tiny_recipe: Path, one_draw: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """Give a function that trains the tiny recipe on dimensions for one epoch, into one folder of runs."""
    runs = tmp_path_factory.mktemp("dimensions") / "runs"

    def train_dimensions(*changes: str) -> Run:
        return train(recipe.load(tiny_recipe, [f"corpus.path={rated}", *CHANGES, *changes]), runs)

    return train_dimensions


@pytest.fixture(scope="module")
def run(trained: Callable[..., Run]) -> Run:
    return trained()


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    shutil.copytree(run.folder, tmp_path / "runs" / run.folder.name)
    return Run.open(tmp_path / "runs" / run.folder.name)


def content_of(run: Run) -> dict[str, Any]:
    return json.loads((run.folder / "report.json").read_text())


def test_a_run_keeps_what_was_true_and_what_was_predicted(run: Run, rated: Path) -> None:
    corpus = {u.id: u for u in Manifest.read(rated)}
    for one in run.finished():
        answers = one.predictions()
        assert answers.task == Dimensions(tuple(DIMENSIONS))
        for name, truth in zip(answers.id.tolist(), answers.truth.tolist(), strict=True):
            assert truth == pytest.approx([corpus[name].arousal, corpus[name].numbers["tension"]])
        header = (one.folder / "predictions.csv").read_text().partition("\n")[0]
        assert header == "id,speaker,part,fold,seed,truth_arousal,arousal,truth_tension,tension"


def test_its_report_is_of_ccc_with_the_speaker_probe_as_ever(run: Run) -> None:
    content = content_of(run)
    tests = [one.predictions().select(part="test") for one in run.finished()]
    truth, given = (np.concatenate([getattr(p, name) for p in tests]) for name in ("truth", "prediction"))
    for place, name in enumerate(DIMENSIONS):
        expected = metrics.ccc(truth[:, place], given[:, place])
        assert content["metrics"][f"ccc_{name}"]["value"] == pytest.approx(float(expected))
    assert (content["target"], content["dimensions"]) == ("dimensions", DIMENSIONS)
    assert content["selection"] == "best validation CCC over epochs; validation: speaker"
    assert (content["n_speakers"], content["n_utterances"], content["speaker_independent"]) == (4, 32, True)
    assert content["saw_unlabelled_test_audio"] is False
    assert content["speaker_probe"]["trials"] == 2 and content["speaker_probe"]["chance"] == 0.5
    assert content["stamps"] == ["2 of the protocol's 3 folds were run"]
    shifts = {one["speaker"]: one["embedding"] for one in content["shift"]["per_speaker"]}
    first = run.finished()[0]
    ids, test = first.embeddings("test") or ([], np.zeros(0))
    speaker = {u: s for u, s in zip(first.predictions().id, first.predictions().speaker, strict=True)}
    _, training = first.embeddings("train") or ([], np.zeros(0))
    own = shift.of_embeddings(training, test, [speaker[name] for name in ids])
    assert own and {name: shifts[name] for name in own} == pytest.approx(own)


def test_its_page_draws_predictions_over_truths(run: Run) -> None:
    page = (run.folder / "report.html").read_text()
    assert "predicted tension" in page and "validation CCC" in page and "by arousal" in page
    assert "recall" not in page and "emotions" not in page


def test_a_report_is_rebuilt_from_files_and_from_what_a_table_keeps(copied: Run, tmp_path: Path) -> None:
    before = content_of(copied)
    assert write_report(copied).to_json() == before
    leaderboard(copied.folder.parent, tmp_path / "board")
    (tmp_path / "kept").mkdir()
    unpack(tmp_path / "board" / ARCHIVE, tmp_path / "kept")
    kept = tmp_path / "kept" / copied.folder.name
    assert not list(kept.rglob("*.safetensors"))
    assert len(list(kept.rglob("shift.json"))) == len(list(kept.rglob("predictions.csv"))) == 2
    again = report_of(Run.open(kept)).to_json()
    assert again.pop("recipe") != before.pop("recipe")  # the path of the corpus
    assert again == before


@pytest.fixture(scope="module")
def other(trained: Callable[..., Run]) -> Run:
    """The same with another rate and another method."""
    return trained("training.learning_rate=0.03", "method={name: domain_adversarial}")


def test_two_runs_are_compared_by_their_ccc(serene: Any, run: Run, other: Run) -> None:
    ended = serene("compare", run.folder, other.folder, "--json")
    assert ended.code == 0, ended.err
    rows = ended.json["differences"]
    assert [row["metric"] for row in rows] == [f"ccc_{n}{w}" for n in DIMENSIONS for w in ("", "_of_speakers")]
    a, b = content_of(run)["metrics"], content_of(other)["metrics"]
    for row in rows:
        assert row["value"] == pytest.approx(b[row["metric"]]["value"] - a[row["metric"]]["value"])
    printed = serene("compare", run.folder, other.folder).out
    assert printed.startswith(f"Differences to {run.folder.name}:\n")
    assert f"{rows[0]['value']:+.3f}" in printed


def test_a_run_of_classes_is_no_match(serene: Any, run: Run, tiny_run: Path) -> None:
    for pair in ((run.folder, tiny_run), (tiny_run, run.folder)):
        ended = serene("compare", *pair)
        assert ended.code == 2
        assert "they answer different questions, and cannot be put together or compared" in ended.err


def test_tables_of_dimensions_have_columns_of_their_own(
    serene: Any, run: Run, other: Run, tiny_run: Path, tmp_path: Path
) -> None:
    runs, board = tmp_path / "runs", tmp_path / "board"
    for folder in (run.folder, other.folder, tiny_run):
        shutil.copytree(folder, runs / folder.name)
    tables = leaderboard(runs, board)
    plain, rated = sorted(tables, key=lambda title: "arousal" in title)
    assert re.fullmatch(
        r"synthetic, arousal and tension: speaker_folds v1 \(folds 3, .*\), folds 1 2 \[[0-9a-f]{6}\]", rated
    )
    assert plain.startswith("synthetic, 4 emotions: ")
    rows = tables[rated]
    assert {row["run"] for row in rows} == {run.folder.name, other.folder.name}
    columns = [*rows[0]]
    assert columns[0] == "system" and tuple(columns[-len(SHARED) :]) == SHARED
    assert not {"UA", "WA", "macro-F1"} & {*columns}
    means = [sum(float(row[f"CCC {name}"]) for name in DIMENSIONS) for row in rows]
    assert means == sorted(means, reverse=True)
    (row,) = (row for row in rows if row["run"] == run.folder.name)
    found = content_of(run)["metrics"]["ccc_tension"]
    assert row["CCC tension"] == f"{found['value']:.3f}"
    assert row["CCC tension interval"] == f"{found['low']:.3f} to {found['high']:.3f}"
    assert row["CCC tension of speakers"] == f"{content_of(run)['metrics']['ccc_tension_of_speakers']['value']:.3f}"
    assert row["gap"] == f"{content_of(run)['gap']:.3f}"
    with (board / "tables.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    both = dict.fromkeys(column for column in (*COLUMNS, *columns) if column not in SHARED)
    assert [*written[0]] == ["table", *both, *SHARED]
    for row in written:  # what the other table has columns for is empty
        own = next(own for own in tables[row["table"]] if own["run"] == row["run"])
        assert row == dict.fromkeys(row, "") | {"table": row["table"]} | own
    ended = serene("leaderboard", runs, "-o", board)
    assert ended.code == 0, ended.err
    assert "CCC tension interval" in ended.out and "speaker probe, test speakers" in ended.out


def test_the_command_line_shows_ccc(serene: Any, run: Run) -> None:
    ended = serene("evaluate", run.folder)
    assert ended.code == 0, ended.err
    found = content_of(run)["metrics"]["ccc_arousal"]
    assert f"{found['value']:.3f} [{found['low']:.3f} to {found['high']:.3f}]" in ended.out
    assert "UA" not in ended.out.replace(str(run.folder.resolve()), "")


# --- another corpus


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three unseen speakers of another corpus; one clip lacks a dimension."""
    folder = tmp_path_factory.mktemp("others")
    clips = [*make(folder / "corpus", speakers=3, clips_per_speaker=6, seconds=0.3, seed=9)]
    clips = [replace(rating_of(u, place), corpus="elsewhere") for place, u in enumerate(clips)]
    clips[0] = replace(clips[0], arousal=None)
    Manifest(tuple(clips)).write(folder / "others.jsonl")
    return folder / "others.jsonl"


def test_models_are_scored_on_the_dimensions_of_another_corpus(copied: Run, others: Path) -> None:
    report, folder = evaluate_on(copied, others)
    content = json.loads((folder / "report.json").read_text())
    assert content == report.to_json()
    assert (content["n_utterances"], content["n_speakers"], content["dimensions"]) == (17, 3, DIMENSIONS)
    assert content["stamps"][:2] == [
        "1 clips without a label that the models know were left out",
        "the models give values on the scale of synthetic: CCC takes another one for disagreement",
    ]
    clips = [u for u in hashed(Manifest.read(others)) if u.arousal is not None]
    store, truth, given = Store(copied.folder.parent / "another store", Mfcc()), [], []
    for one in copied.finished():
        model = EmotionModel.load(one.folder / "model")
        given.append(score(model, Dataset(clips, store, task=Dimensions(tuple(DIMENSIONS)), speakers=())).outputs)
        truth.append([[u.number(name) for name in DIMENSIONS] for u in clips])
    expected = metrics.ccc(np.concatenate(truth), np.concatenate(given))
    found = [content["metrics"][f"ccc_{name}"]["value"] for name in DIMENSIONS]
    assert found == pytest.approx(expected.tolist(), abs=1e-6)
    assert all(one["embedding"] is not None for one in content["shift"]["per_speaker"])


def test_a_corpus_that_lacks_a_dimension_is_refused(copied: Run, others: Path, tmp_path: Path) -> None:
    clips = [replace(u, numbers={}) for u in Manifest.read(others)]
    Manifest(tuple(clips)).write(tmp_path / "less.jsonl")
    with pytest.raises(SereneError) as caught:
        evaluate_on(copied, tmp_path / "less.jsonl")
    assert str(caught.value).startswith(
        f"The models give arousal, tension, and {tmp_path / 'less.jsonl'} does not have all. "
        "No utterance has the dimension 'tension'. The corpus has: arousal"
    )


def test_the_embedding_of_such_a_model_is_probed_without_any_label(run: Run, others: Path) -> None:
    found = probe_model(run.folder / "fold-1/seed-0/model", others)
    assert found["n_speakers"] == 3 and 0 <= found["accuracy"] <= 1


# --- where there are no emotions


def test_protocols_deal_clips_without_emotions(rated: Path) -> None:
    manifest, _ = choose(Manifest.read(rated), target="dimensions", use=DIMENSIONS, join={})
    official = replace(
        manifest, utterances=tuple(replace(u, split="test" if u.speaker == "S1F" else "train") for u in manifest)
    )
    for name, settings, source in (
        ("speaker_folds", {"folds": 3, "validation": "random20"}, manifest),
        ("speaker_holdout", {"balance": ("gender",)}, manifest),
        ("official", {"validation": "random10"}, official),
        ("leave_one_session_out", {}, manifest),
        ("random_speaker_dependent", {}, manifest),
    ):
        for split in protocols.make_splits(name, source, settings):
            assert len(split.train) + len(split.validation) + len(split.test) == len(manifest)
            assert split.validation, name
    with pytest.raises(
        SereneError, match="low_resource takes so many clips of each emotion, and these clips have none"
    ):
        protocols.make_splits("low_resource", manifest, {"of": "speaker_folds", "folds": 3, "per_class": 2})


def test_a_column_that_a_table_needs_itself_is_refused_before_training(
    rated: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    clips = tuple(replace(u, numbers={"fold": 1.0}) for u in Manifest.read(rated))
    Manifest(clips).write(tmp_path / "odd.jsonl")
    changes = [f"corpus.path={tmp_path / 'odd.jsonl'}", *CHANGES, "labels.use=[fold]"]
    with pytest.raises(SereneError, match="no two columns may have one name"):
        make_plan(recipe.load(tiny_recipe, changes), tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("tiny-*"))


def test_splits_of_such_a_manifest_are_audited(serene: Any, rated: Path) -> None:
    ended = serene("audit", rated, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["passed"] is True
