"""Papers' tables: published and ours side by side, each figure re-derived by hand, none standing in for another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.synthetic import make
from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.experiment.run import Run
from serene.experiment.sections import Recipe
from serene.published import TABLES, Figure
from serene.reproduce import Entry, Reproduction, bench, reproduce
from serene.reproduce.measures import Ours
from serene.task import Task

ROWS = ("SER-only", "MTL", "DAT", "CGT")
OURS = ("our validation", "our test", "interval", "our gap", "our error reduction", "run")


@pytest.mark.parametrize(
    ("table", "reductions", "gaps"),
    [
        # (54.9 - 53.9) / (100 - 53.9), (56.5 - 53.9) / 46.1, (57.3 - 53.9) / 46.1: the paper says 5.6 and 7.4 %
        ("tu2019-table2", ["", "2.2 %", "5.6 %", "7.4 %"], ["3.1", "1.7", "0.1", "-1.7"]),
        # (80.9 - 81.7) / (100 - 81.7), (83.5 - 81.7) / 18.3, (81.1 - 81.7) / 18.3: the paper says 9.8 %
        ("tu2019-table3", ["", "-4.4 %", "9.8 %", "-3.3 %"], ["2.0", "1.6", "1.4", "0.9"]),
    ],
)
def test_the_published_columns(table: str, reductions: list[str], gaps: list[str]) -> None:
    lines = Reproduction(TABLES[table], {}, ("none",), ()).lines()
    assert [line["system"] for line in lines] == list(ROWS)
    assert [line["published error reduction"] for line in lines] == reductions
    assert [line["published gap"] for line in lines] == gaps
    if table == "tu2019-table2":
        assert lines[0]["published validation"] == "57.0 ± 1.0"
        assert [line["published test"] for line in lines] == ["53.9 ± 1.0", "54.9 ± 0.6", "56.5 ± 1.4", "57.3 ± 1.2"]


def test_a_published_figure_never_fills_ours() -> None:
    table = TABLES["tu2019-table2"]
    for line in Reproduction(table, {}, ("none",), ()).lines():
        assert [line[column] for column in OURS] == ["not measured", "not measured", "", "", "", ""]
    mine = {
        ("DAT", "validation"): Entry(Ours(Figure(61.0, 0.5)), ("run-1",)),
        ("DAT", "test"): Entry(Ours(Figure(60.25), 55.0, 65.0), ("run-1",)),
    }
    lines = {line["system"]: line for line in Reproduction(table, mine, ("none",), ()).lines()}
    assert [lines["DAT"][column] for column in OURS] == ["61.0 ± 0.5", "60.2", "55.0 to 65.0", "0.8", "", "run-1"]
    assert lines["CGT"]["our test"] == "not measured"


def plant(run: Run, part: str, fold: str, seed: int, right: int, of: int) -> Predictions:
    """Make predictions of which so many are right, the classes in turn."""
    truth = np.arange(of) % 2
    answer = np.where(np.arange(of) < right, truth, 1 - truth)
    return Predictions.from_scores(
        ids=[f"{part}-{fold}-{n}" for n in range(of)],
        speakers=[f"{part}-{fold}-{n % 3}" for n in range(of)],
        truth=truth,
        scores=np.eye(2)[answer],
        task=Task(("anger", "sadness")),
        part=part,
        fold=fold,
        seed=seed,
    )


RIGHT = {"SER-only": (4, 6, 5), "MTL": (5, 5, 5), "DAT": (7, 8, 9), "CGT": (3, 6, 9)}  # of fold 1's 12, by seed
VALIDATED = (9, 10, 8)  # of 12


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Recipe]:
    """Instead of training, plant predictions: fold 1 has 12 clips, fold 2 has 8 of which 6 are right."""
    asked: list[Recipe] = []

    def train(made: Recipe, runs: Path, **_: Any) -> Run:
        asked.append(made)
        run = Run(tmp_path / f"{made.name}-0000000000", made)
        for seed in (*made.seeds, 99):  # a seed that was run before and is not asked for now
            counts = RIGHT[ROWS[len(asked) - 1]]
            right = counts[made.seeds.index(seed) % 3] if seed in made.seeds else 12
            for fold, of, good in (("1", 12, right), ("2", 8, 6)):
                parts = [plant(run, "test", fold, seed, good, of)]
                if fold == "1":
                    parts.append(plant(run, "validation", fold, seed, VALIDATED[seed % 3], 12))
                Predictions.concatenate(parts).write(run.trial(fold, seed).folder / "predictions.csv")
        return run

    monkeypatch.setattr(bench, "train", train)
    return asked


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def test_ours_by_hand(trained: list[Recipe], tmp_path: Path) -> None:
    result = reproduce("tu2019-table2", {"iemocap": "x"}, tmp_path, overrides=("seeds=[0, 1, 2]",))
    reference = sum(RIGHT["SER-only"]) / 3 + 6
    for line in result.lines():
        system = line["system"]
        accuracies = [100 * (right + 6) / 20 for right in RIGHT[system]]  # both folds together
        mean, deviation = mean_and_deviation(accuracies)
        test, validation = (result.ours[system, column].ours for column in ("test", "validation"))
        assert (test.figure.value, test.figure.deviation) == pytest.approx((mean, deviation))
        assert (validation.figure.value, validation.figure.deviation) == pytest.approx(
            mean_and_deviation([100 * right / 12 for right in VALIDATED])
        )
        assert test.low < mean < test.high
        assert (validation.low, validation.high) == (None, None)
        assert line["our test"] == f"{mean:.1f} ± {deviation:.1f}"
        assert line["our gap"] == f"{75 - mean:.1f}"
        better = 100 * (mean / 5 - reference) / (20 - reference)  # of 20 clips
        assert line["our error reduction"] == ("" if system == "SER-only" else f"{better:.1f} %")
        assert line["run"] == result.ours[system, "test"].runs[0]


def test_one_run_has_no_deviation(trained: list[Recipe], tmp_path: Path) -> None:
    result = reproduce("tu2019-table2", {"iemocap": "x"}, tmp_path, overrides=("seeds=[0]",))
    assert result.lines()[0]["our test"] == "50.0"


def test_the_papers_own_corpus_takes_the_papers_recipes(trained: list[Recipe], tmp_path: Path) -> None:
    result = reproduce("tu2019-table2", {"iemocap": "/data/iemocap"}, tmp_path)
    assert [made.name for made in trained] == [f"tu2019-iemocap-{row}" for row in ("ser_only", "mtl", "dat", "cgt")]
    for made in trained:
        assert (made.corpus.path, made.corpus.only) == ("/data/iemocap", {"text_id": "impro*"})
        assert (made.protocol.name, made.seeds) == ("tu2019", (0, 1, 2, 3, 4))
    assert not any("cannot be compared" in text for text in result.differences)
    assert result.differences == tuple(map(str, TABLES["tu2019-table2"].differences))


def test_a_stand_in_is_said_to_be_one(trained: list[Recipe], tmp_path: Path) -> None:
    result = reproduce("tu2019-table2", {"esd": "/data/esd"}, tmp_path, overrides=("training.epochs=3",))
    assert result.differences[0] == "The published figures are of iemocap, ours of esd: they cannot be compared."
    assert result.to_json()["differences"][0] == result.differences[0]
    assert (result.to_json()["published_corpus"], result.to_json()["our_corpus"]) == ("iemocap", "esd")
    for made in trained:
        assert (made.corpus.name, made.corpus.path, made.corpus.only) == ("esd", "/data/esd", {})
        assert made.labels.use is None
        assert made.protocol.plain("name") == {"name": "speaker_folds", "folds": 5, "validation": "speaker", "seed": 0}
        assert made.training["epochs"] == 3


def test_a_corpus_with_recipes_of_its_own_takes_them(trained: list[Recipe], tmp_path: Path) -> None:
    result = reproduce("tu2019-table2", {"emodb": "x"}, tmp_path)
    assert [made.name for made in trained][:2] == ["tu2019-emodb-ser_only", "tu2019-emodb-mtl"]
    assert "emodb has recipes of its own" in result.differences[1]


@pytest.mark.parametrize(("speakers", "train"), [(250, 200), (10, 0.8)])
def test_table_3_takes_any_manifest(
    trained: list[Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speakers: int, train: float
) -> None:
    clips = tuple(Utterance(id=f"{n}", audio=f"{n}.wav", speaker=f"{n}") for n in range(speakers))
    monkeypatch.setattr(bench, "load_corpus", lambda *_: Manifest(clips))
    result = reproduce("tu2019-table3", {"table": "mine.csv"}, tmp_path)
    assert all(made.model.encoder["size"] == "mandarin" and made.protocol["train"] == train for made in trained)
    assert ("10 speakers, the paper has 250" in result.differences[0]) == (speakers == 10)
    assert "commercial" in " ".join(result.differences)
    trained.clear()
    result = reproduce("tu2019-table3", {"crema_d": "x"}, tmp_path)
    assert "cannot be compared" in result.differences[0]
    assert all(made.model.encoder["size"] == "mandarin" and len(made.seeds) == 3 for made in trained)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("tu2019-table2", {}, ("--data iemocap=FOLDER", "sail.usc.edu", "100 trainings of 100 epochs")),
        ("tu2019-table3", {}, ("--data table=FOLDER", "commercial (SpeechOcean)", "12 trainings of 100 epochs")),
        ("tu2019-table2", {"emodb": "x", "esd": "y"}, ("needs data",)),
        ("tu2019-table2", {"emobd": "x"}, ("Unknown corpus 'emobd'. Did you mean 'emodb'?",)),
        ("tu2019-table4", {}, ("Unknown table 'tu2019-table4'. Did you mean", "tu2019-table2, tu2019-table3.")),
    ],
)
def test_without_its_data_it_says_which_where_and_at_what_cost(
    name: str, data: dict[str, str], said: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(SereneError) as caught:
        reproduce(name, data, tmp_path / "runs")
    for part in said:
        assert part in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_the_command_ends_with_2_without_data(serene: Callable[..., Any], tmp_path: Path) -> None:
    ended = serene("reproduce", "tu2019-table2", "-o", tmp_path / "runs")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("error: ") == 1
    assert "--data iemocap=FOLDER" in ended.err
    ended = serene("reproduce", "tu2019-table2", "--data", "iemocap")
    assert ended.code == 2
    assert "--data iemocap is not of the form CORPUS=FOLDER." in ended.err


def test_the_command_prints_both_columns(serene: Callable[..., Any], trained: list[Recipe], tmp_path: Path) -> None:
    words = ("reproduce", "tu2019-table2", "--data", "esd=/data/esd", "--set", "seeds=[0, 1]", "-o", tmp_path)
    ended = serene(*words)
    assert ended.code == 0, ended.err
    text = " ".join(ended.out.split())
    for part in ("53.9 ± 1.0", "55.0 ± 7.1", "5.6 %", "- The published figures are of iemocap, ours of esd:"):
        assert part in text  # ours of SER-only: 10 and 12 of 20
    trained.clear()
    assert [row["system"] for row in serene(*words, "--json").json["rows"]] == list(ROWS)


@pytest.mark.slow
def test_tiny_runs_the_whole_table_on_made_up_speech(
    serene: Callable[..., Any], quick_trials: None, tmp_path: Path
) -> None:
    make(tmp_path / "synthetic", speakers=6, clips_per_speaker=8, seconds=0.3)  # found there, and not made anew
    words = ("reproduce", "tu2019-table2", "--tiny", "--set", "protocol.run=[1]", "-o", tmp_path, "--jobs", "1")
    ended = serene(*words, "--json")
    assert ended.code == 0, ended.err
    for row in ended.json["rows"]:
        assert "±" in row["our test"]
        assert row["run"].startswith("tu2019-")
    assert ended.json["our_corpus"] == "synthetic"
    assert "cannot be compared" in ended.json["differences"][0]
    again = serene(*words, "--json")  # nothing is trained twice
    assert again.json == ended.json
