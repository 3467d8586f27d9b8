"""Predictions survive the disk as the promised table, keep to their kind, and refuse what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation.columns import check_names
from serene.evaluation.predictions import Predictions
from serene.task import Dimensions, Task

HEADER = "id,speaker,part,fold,seed,truth_arousal,arousal,truth_valence,valence"
TRUTH = [[1.0, 97.0], [3.285714286, 0.0], [7.0, 12.5]]
GIVEN = [[1.5, 80.0], [float(np.float32(3.1)), -4.0], [6.0, 1 / 3]]


def made(part: str = "test", fold: str | int = 1, seed: int = 0, **more: Any) -> Predictions:
    given = {
        "ids": ["a", "b", "c"],
        "speakers": ["01", "01", "02"],
        "truth": TRUTH,
        "scores": GIVEN,
        "task": Dimensions(("arousal", "valence")),
    }
    return Predictions.from_scores(**(given | more), part=part, fold=fold, seed=seed)


def classes() -> Predictions:
    return Predictions.from_scores(
        ids=["a"],
        speakers=["01"],
        truth=["x"],
        scores=np.eye(2)[:1],
        task=Task(("x", "y")),
        part="test",
        fold=1,
        seed=0,
    )


def test_the_table_is_exactly_as_promised(tmp_path) -> None:
    made().write(tmp_path / "predictions.csv")
    assert (tmp_path / "predictions.csv").read_text() == (
        f"{HEADER}\na,01,test,1,0,1,1.5,97,80\nb,01,test,1,0,3.28571429,3.0999999,0,-4\n"
        "c,02,test,1,0,7,6,12.5,0.333333333\n"
    )


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz"])
def test_writing_and_reading_keep_everything(tmp_path, name: str) -> None:
    before = Predictions.concatenate([made("validation", "Ses01", 3), made("test", "Ses01", 3)])
    before.write(tmp_path / name)
    after = Predictions.read(tmp_path / name)
    for column in ("id", "speaker", "part", "fold", "seed"):
        assert getattr(after, column).tolist() == getattr(before, column).tolist()
    assert after.names == ("arousal", "valence")
    np.testing.assert_allclose(after.truth, before.truth, rtol=1e-8)
    assert after.prediction.astype(np.float32).tolist() == before.prediction.astype(np.float32).tolist()
    after.write(tmp_path / f"again-{name}")
    assert (tmp_path / f"again-{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_a_header_tells_the_task(tmp_path) -> None:
    made().write(tmp_path / "ratings.csv.gz")
    classes().write(tmp_path / "classes.csv")
    assert Predictions.read(tmp_path / "ratings.csv.gz").task == Dimensions(("arousal", "valence"))
    assert Predictions.read(tmp_path / "classes.csv").task == Task(("x", "y"))
    (tmp_path / "neither.csv").write_text("id,speaker,part,fold,seed,arousal\n")
    with pytest.raises(SereneError, match=r"its first line is .*expected '.*,prediction' and one.* or '.*truth_<"):
        Predictions.read(tmp_path / "neither.csv")


def test_select_narrows_and_dimensions_come_in_any_order() -> None:
    whole = Predictions.concatenate([made("validation"), made("test"), made("test", 2, 5)])
    assert (len(whole), len(whole.select(part="test")), len(whole.select(fold=2, seed=5))) == (9, 6, 3)
    assert whole.rows(np.array([1])).truth.tolist() == [TRUTH[1]]
    turned = made().ordered(("valence", "arousal"))
    assert turned.truth.tolist() == [row[::-1] for row in TRUTH]
    assert turned.prediction.tolist() == [row[::-1] for row in GIVEN]
    both = Predictions.concatenate([made(), made(seed=1).ordered(("valence", "arousal"))])
    assert both.names == ("arousal", "valence")
    assert both.truth.tolist() == TRUTH * 2


def test_classes_and_dimensions_cannot_be_put_together() -> None:
    with pytest.raises(SereneError, match="Some of these runs give dimensions and some emotions"):
        Predictions.concatenate([made(), classes()])
    with pytest.raises(SereneError, match=r"over different dimensions: \['arousal', 'valence'\] and \['arousal'\]"):
        made().ordered(("arousal",))


def test_an_empty_part_keeps_its_dimensions() -> None:
    none = made(ids=[], speakers=[], truth=[], scores=[])
    assert (len(none), none.truth.shape, none.prediction.shape) == (0, (0, 2), (0, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": [[1.0, np.nan], [1, 2], [1, 2]]}, "The values of utterance 'a' are not finite numbers"),
        ({"scores": [[1.0, 1], [np.inf, 2], [1, 2]]}, "The values of utterance 'b' are not finite numbers"),
        ({"truth": [[1.0], [1], [2]]}, r"Predictions have values \(3, 1\) for 2 dimensions"),
        ({"truth": TRUTH[:2]}, "Predictions have columns of different lengths"),
        ({"ids": ["a", "b", "a"]}, "'a' occurs twice in the test part of fold 1, seed 0"),
        ({"task": Dimensions(("fold", "valence"))}, "no two columns may have one name"),
        ({"task": Dimensions(("valence", "valence"))}, "no two columns may have one name"),
        ({"task": Dimensions(("truth_valence", "valence"))}, "no two columns may have one name"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        made(**change)


def test_names_are_checked_without_any_values() -> None:
    check_names(Dimensions(("arousal", "valence")))
    with pytest.raises(SereneError, match="there has to be a name"):
        check_names(Dimensions(()))
    with pytest.raises(SereneError, match="Name the corpus's dimensions otherwise"):
        check_names(Dimensions(("seed",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a table of predictions"),
        (f"{HEADER},truth_x\n", "is not a table of predictions"),
        ("id,speaker,part,fold,seed\n", "is not a table of predictions"),
        ("id,speaker,part,fold,seed,truth_a,b\n", "is not a table of predictions"),
        (f"{HEADER}\n", "holds no predictions"),
        (f"{HEADER}\na,1,test,1,0,1,2,3\n", "line 2: 8 columns, expected 9"),
        (f"{HEADER}\na,1,test,1,0,1,2,3,much\n", "values are numbers"),
        (f"{HEADER}\na,1,test,1,0,1,2,3,\n", "values are numbers"),
        (f"{HEADER}\na,1,test,1,zero,1,2,3,4\n", "seeds are whole numbers"),
        (f"{HEADER}\na,1,exam,1,0,1,2,3,4\n", "Unknown part 'exam'"),
        (f"{HEADER}\na,1,test,1,0,1,2,3,nan\n", "not finite"),
    ],
)
def test_a_bad_table_is_refused_with_its_reason(tmp_path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(SereneError) as error:
        Predictions.read(tmp_path / "bad.csv")
    assert message in str(error.value)
