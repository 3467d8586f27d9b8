"""Predictions survive the disk, keep their columns in step, and refuse what cannot be."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation.predictions import Predictions

HEADER = "id,speaker,part,fold,seed,truth,prediction,anger,sadness"


def made(part: str = "test", fold: str | int = 1, seed: int = 0, ids: tuple[str, ...] = ("a", "b", "c")) -> Predictions:
    return Predictions.from_scores(
        ids=ids,
        speakers=["01", "01", "02"],
        truth=["anger", "sadness", "sadness"],
        scores=np.array([[0.75, 0.25], [1 / 3, 2 / 3], [0.9, 0.1]]),
        classes=("anger", "sadness"),
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
    assert after.classes == before.classes
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-5)


def test_compressed_tables_are_the_same_bytes_every_time_and_hold_the_plain_table(tmp_path) -> None:
    made().write(tmp_path / "one.csv.gz")
    made().write(tmp_path / "two.csv.gz")
    made().write(tmp_path / "plain.csv")
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "one.csv.gz").read_bytes()) == (tmp_path / "plain.csv").read_bytes()


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
    assert [turned.classes[i] for i in turned.truth] == ["anger", "sadness", "sadness"]
    assert [turned.classes[i] for i in turned.prediction] == ["anger", "sadness", "anger"]
    assert turned.scores[0].tolist() == [0.25, 0.75]


def test_three_classes_are_reordered_by_the_right_permutation() -> None:
    p = Predictions.from_scores(
        ids=["x", "y", "z"],
        speakers=["1"] * 3,
        truth=["a", "b", "c"],
        scores=np.array([[5.0, 1, 2], [1, 5, 2], [1, 2, 5]]),
        classes=("a", "b", "c"),
        part="test",
        fold=0,
        seed=0,
    ).ordered(("c", "a", "b"))
    assert [p.classes[i] for i in p.truth] == ["a", "b", "c"]
    assert p.scores.argmax(axis=1).tolist() == p.prediction.tolist() == p.truth.tolist()


def test_runs_over_other_emotions_cannot_be_put_together() -> None:
    other = Predictions.from_scores(
        ids=["a"],
        speakers=["1"],
        truth=["calm"],
        scores=np.ones((1, 2)),
        classes=("calm", "anger"),
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
            classes=("0", "1"),
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
        (f"{HEADER}\na,1,test,1,0,anger,anger,1,much\n", "scores are numbers"),
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
