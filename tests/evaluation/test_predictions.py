"""Predictions survive the disk, keep their columns in step, and refuse what cannot be."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation.columns import BEST, MOST_CLASSES
from serene.evaluation.predictions import Predictions
from serene.task import Task

HEADER = "id,speaker,part,fold,seed,truth,prediction,anger,sadness"


def made(part: str = "test", fold: str | int = 1, seed: int = 0, ids: tuple[str, ...] = ("a", "b", "c")) -> Predictions:
    return Predictions.from_scores(
        ids=ids,
        speakers=["01", "01", "02"],
        truth=["anger", "sadness", "sadness"],
        scores=np.array([[0.75, 0.25], [1 / 3, 2 / 3], [0.9, 0.1]]),
        task=Task(("anger", "sadness")),
        part=part,
        fold=fold,
        seed=seed,
    )


def test_the_highest_score_is_the_decision() -> None:
    assert made().prediction.tolist() == [0, 1, 0]
    assert made().truth.tolist() == [0, 1, 1]


def test_the_table_is_exactly_as_promised(tmp_path) -> None:
    made().write(tmp_path / "predictions.csv")
    assert (tmp_path / "predictions.csv").read_text() == (
        f"{HEADER}\na,01,test,1,0,anger,anger,0.75,0.25\nb,01,test,1,0,sadness,sadness,0.333333,0.666667\n"
        "c,02,test,1,0,sadness,anger,0.9,0.1\n"
    )


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz"])
def test_writing_and_reading_keep_everything(tmp_path, name: str) -> None:
    before = Predictions.concatenate([made("validation", "Ses01", 3), made("test", "Ses01", 3)])
    before.write(tmp_path / name)
    after = Predictions.read(tmp_path / name)
    for column in ("id", "speaker", "part", "fold", "seed", "truth", "prediction"):
        assert getattr(after, column).tolist() == getattr(before, column).tolist()
    assert after.speaker.tolist()[0] == "01", "a speaker named like a number stays a name"
    assert after.names == before.names
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-5)


def test_compressed_tables_are_the_same_bytes_every_time_and_hold_the_plain_table(tmp_path) -> None:
    made().write(tmp_path / "one.csv.gz")
    made().write(tmp_path / "two.csv.gz")
    made().write(tmp_path / "plain.csv")
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "one.csv.gz").read_bytes()) == (tmp_path / "plain.csv").read_bytes()


def many(scores: list[list[float]] | np.ndarray, truth: list[int]) -> Predictions:
    n_classes = len(scores[0])
    return Predictions.from_scores(
        ids=[f"clip{n}" for n in range(len(truth))],
        speakers=[f"s{t}" for t in truth],
        truth=np.array(truth),
        scores=np.array(scores),
        task=Task(tuple(f"s{n}" for n in range(n_classes))),
        part="test",
        fold="official",
        seed=0,
    )


def cells(path: Path) -> list[list[str]]:
    """The scores of each row, as they stand in the table."""
    return [line.split(",")[7:] for line in path.read_text().splitlines()[1:]]


@pytest.mark.parametrize("extra", [0, 1])
def test_of_very_many_classes_the_best_scores_and_the_true_class_are_kept(tmp_path, extra: int) -> None:
    """Row 0 is right by far; in row 1 the true class is the worst of all."""
    n = MOST_CLASSES + extra
    rising = [(place + 1) / 1000 for place in range(n)]
    before = many([rising, rising], [n - 1, 0])
    before.write(tmp_path / "p.csv")
    best = [*range(n - BEST, n)]
    kept = [[*range(n)]] * 2 if extra == 0 else [best, [0, *best]]
    for row, places in zip(cells(tmp_path / "p.csv"), kept, strict=True):
        assert row == [f"{rising[place]:.6g}" if place in places else "" for place in range(n)]
    after = Predictions.read(tmp_path / "p.csv")
    for row, places in enumerate(kept):
        assert after.scores[row].tolist() == [rising[place] if place in places else 0.0 for place in range(n)]
    assert after.prediction.tolist() == before.prediction.tolist() == [n - 1, n - 1]
    assert (after.truth.tolist(), after.names) == ([n - 1, 0], before.names)


@pytest.mark.parametrize("kind", ["random", "shared in the sixth digit", "few above zero", "true class at zero"])
def test_a_table_that_was_read_is_written_as_it_was(tmp_path, kind: str) -> None:
    n = 2 * MOST_CLASSES
    scores, truth = np.random.default_rng(0).dirichlet(np.ones(n), size=5), [3, 1, 4, 1, 5]
    if kind == "shared in the sixth digit":  # the true class is 11th by less than what is written, and first in order
        scores[:] = np.linspace(1e-3, 2e-3, n)
        scores[:, 0], truth = scores[:, -BEST] - 1e-12, [0] * 5
    if kind == "few above zero":
        scores[:, 4:] = 0
    if kind == "true class at zero":
        scores[np.arange(5), truth] = 0
    many(scores, truth).write(tmp_path / "one.csv")
    once = Predictions.read(tmp_path / "one.csv")
    once.write(tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    for row, own in zip(cells(tmp_path / "one.csv"), truth, strict=True):
        assert row[own] != ""
        assert sum(cell != "" for cell in row) <= BEST + 1
    rows = np.arange(5)
    np.testing.assert_allclose(once.scores[rows, truth], scores[rows, truth], rtol=1e-5)


def test_scores_below_zero_are_all_written(tmp_path) -> None:
    """An empty cell is read as 0, which would stand above them."""
    before = many(np.random.default_rng(0).normal(size=(4, MOST_CLASSES + 5)), [0, 1, 2, 3])
    before.write(tmp_path / "p.csv")
    after = Predictions.read(tmp_path / "p.csv")
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-5)
    assert after.scores.argmax(axis=1).tolist() == before.prediction.tolist()


def test_a_table_of_a_thousand_speakers_takes_little_more_room_than_its_scores(tmp_path) -> None:
    n, classes = 300, 1000
    before = many(np.random.default_rng(0).dirichlet(np.ones(classes), size=n), [*range(n)])
    before.write(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").stat().st_size < n * (classes + 300)  # a comma for each class, and some scores
    tracemalloc.start()
    Predictions.read(tmp_path / "p.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * before.scores.nbytes  # the list of all cells as text takes four times as much, of pointers alone


def test_select_narrows_by_part_fold_and_seed() -> None:
    runs = [made(part, fold, seed) for part in ("validation", "test") for fold in (1, 2) for seed in (0, 1)]
    everything = Predictions.concatenate(runs)
    assert len(everything) == 24
    assert len(everything.select(part="test")) == 12
    assert len(everything.select(part="test", fold=2)) == 6
    assert len(everything.select(fold="2", seed=1)) == 6
    assert len(everything.select(fold="3")) == 0


def test_reordered_classes_name_the_same_things() -> None:
    turned = made().ordered(("sadness", "anger"))
    assert [turned.names[i] for i in turned.truth] == ["anger", "sadness", "sadness"]
    assert [turned.names[i] for i in turned.prediction] == ["anger", "sadness", "anger"]
    assert turned.scores[0].tolist() == [0.25, 0.75]


def test_three_classes_are_reordered_by_the_right_permutation() -> None:
    p = Predictions.from_scores(
        ids=["x", "y", "z"],
        speakers=["1"] * 3,
        truth=["a", "b", "c"],
        scores=np.array([[5.0, 1, 2], [1, 5, 2], [1, 2, 5]]),
        task=Task(("a", "b", "c")),
        part="test",
        fold=0,
        seed=0,
    ).ordered(("c", "a", "b"))
    assert [p.names[i] for i in p.truth] == ["a", "b", "c"]
    assert p.scores.argmax(axis=1).tolist() == p.prediction.tolist() == p.truth.tolist()


def test_runs_over_other_emotions_cannot_be_put_together() -> None:
    other = Predictions.from_scores(
        ids=["a"],
        speakers=["1"],
        truth=["calm"],
        scores=np.ones((1, 2)),
        task=Task(("calm", "anger")),
        part="test",
        fold=1,
        seed=0,
    )
    with pytest.raises(SereneError, match="different emotions"):
        Predictions.concatenate([made(), other])


def test_no_run_at_all_is_a_message() -> None:
    with pytest.raises(SereneError, match="no run has finished"):
        Predictions.concatenate([])


def test_an_utterance_cannot_be_tested_twice_in_one_run() -> None:
    with pytest.raises(SereneError, match="'a' occurs twice in the test part of fold 1, seed 0"):
        made(ids=("a", "b", "a"))


def test_scores_that_are_not_finite_name_the_utterance() -> None:
    scores = np.array([[0.5, 0.5], [np.nan, 1]])
    with pytest.raises(SereneError, match="scores of utterance 'q'"):
        Predictions.from_scores(
            ids=["p", "q"],
            speakers=["1", "1"],
            truth=[0, 1],
            scores=scores,
            task=Task(("0", "1")),
            part="test",
            fold=1,
            seed=0,
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a table of predictions"),
        ("id,speaker\n", "expected 'id,speaker,part,fold,seed,truth,prediction'"),
        (f"{HEADER}\n", "holds no predictions"),
        (f"{HEADER}\na,1,test,1,0,anger,anger,1\n", "line 2: 8 columns, expected 9"),
        (f"{HEADER}\na,1,test,1,0,angr,anger,1,0\n", "Unknown emotion 'angr'. Did you mean 'anger'?"),
        (f"{HEADER}\na,1,test,1,0,anger,anger,1,0\nb,1,test,1,0,anger,anger,1,much\n", "line 3: could not convert"),
        (f"{HEADER}\na,1,test,1,0,anger,anger,1,much\n", "scores are numbers"),
        (f"{HEADER}\na,1,test,1,0,anger,anger,1,\n", "scores are numbers"),  # of few classes, no cell is left empty
        (f"{HEADER}\na,1,te\rst,1,0,anger,anger,1,0\n", "Cannot read the predictions"),
        (f"{HEADER}\na,1,test,1,first,anger,anger,1,0\n", "seeds are whole numbers"),
        (f"{HEADER}\na,1,exam,1,0,anger,anger,1,0\n", "Unknown part 'exam'"),
        (f"{HEADER}\na,1,test,1,0,anger,anger,1,nan\n", "not finite"),
    ],
)
def test_a_bad_table_is_refused_with_its_reason(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SereneError) as error:
        Predictions.read(path)
    assert message in str(error.value)


def test_a_missing_and_a_cut_table_are_messages(tmp_path) -> None:
    with pytest.raises(SereneError, match="Cannot read the predictions"):
        Predictions.read(tmp_path / "none.csv")
    made().write(tmp_path / "p.csv.gz")
    (tmp_path / "p.csv.gz").write_bytes((tmp_path / "p.csv.gz").read_bytes()[:-12])
    with pytest.raises(SereneError, match="Cannot read the predictions"):
        Predictions.read(tmp_path / "p.csv.gz")
