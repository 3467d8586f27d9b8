"""Every metric by hand, against scikit-learn, and over a stack of tallies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from serene.errors import SereneError
from serene.evaluation.metrics import area_under_curve, confusion, macro_f1, per_class_recall, tally, ua, wa

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
ANSWER = np.array([0, 0, 0, 1, 1, 2, 2, 2, 0, 2])


def test_confusion_counts_truths_in_rows() -> None:
    assert confusion(TRUTH, ANSWER, 3).tolist() == [[3, 1, 0], [0, 1, 1], [1, 0, 3]]


def test_a_tally_counts_what_there_is_what_is_right_and_what_is_answered() -> None:
    assert tally(TRUTH, ANSWER, 3).tolist() == [[4, 2, 4], [3, 1, 3], [4, 2, 4]]
    assert tally(np.array([0, 0, 1]), np.array([0, 2, 1]), 4).tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]


def test_a_tally_does_not_grow_with_the_square_of_the_classes() -> None:
    classes = np.arange(100_000)  # their confusion matrix would fill 80 GB
    counts = tally(classes, classes[::-1], 100_000)
    assert counts.shape == (3, 100_000)
    assert float(ua(counts)) == 0
    assert float(macro_f1(tally(classes, classes, 100_000))) == 1


def test_metrics_by_hand() -> None:
    counts = tally(TRUTH, ANSWER, 3)
    assert per_class_recall(counts).tolist() == [3 / 4, 1 / 2, 3 / 4]
    assert float(ua(counts)) == pytest.approx((3 / 4 + 1 / 2 + 3 / 4) / 3)
    assert float(wa(counts)) == pytest.approx(7 / 10)
    # F1 = 2 tp / (2 tp + false positives + false negatives)
    assert float(macro_f1(counts)) == pytest.approx((6 / (6 + 1 + 1) + 2 / (2 + 1 + 1) + 6 / (6 + 1 + 1)) / 3)


def test_an_emotion_that_does_not_occur_has_no_say_in_ua() -> None:
    counts = tally(np.array([0, 0, 1]), np.array([0, 2, 1]), 4)
    assert float(ua(counts)) == pytest.approx((1 / 2 + 1) / 2)
    recalls = per_class_recall(counts)
    assert math.isnan(recalls[2]) and math.isnan(recalls[3])
    # macro-F1 counts emotion 2, which was answered wrongly, and leaves out emotion 3
    assert float(macro_f1(counts)) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_nothing_has_no_figure() -> None:
    empty = np.zeros((3, 2), dtype=int)
    assert all(math.isnan(float(metric(empty))) for metric in (ua, wa, macro_f1))


@pytest.mark.parametrize("seed", range(5))
def test_metrics_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, answer = rng.integers(0, 6, 80), rng.integers(0, 6, 80)
    matrix, counts = confusion(truth, answer, 6), tally(truth, answer, 6)
    assert matrix.tolist() == confusion_matrix(truth, answer, labels=range(6)).tolist()
    assert counts.tolist() == [matrix.sum(axis=1).tolist(), matrix.diagonal().tolist(), matrix.sum(axis=0).tolist()]
    assert float(ua(counts)) == pytest.approx(balanced_accuracy_score(truth, answer))
    assert float(wa(counts)) == pytest.approx(accuracy_score(truth, answer))
    assert float(macro_f1(counts)) == pytest.approx(f1_score(truth, answer, average="macro"))


def test_a_stack_gives_what_its_tallies_give() -> None:
    truth, answer = np.random.default_rng(0).integers(0, 5, size=(2, 7, 2, 30))
    stack = np.array([[tally(truth[i, j], answer[i, j], 5) for j in range(2)] for i in range(7)])
    for metric in (ua, wa, macro_f1):
        whole = metric(stack)
        assert whole.shape == (7, 2)
        for place in np.ndindex(7, 2):
            assert whole[place] == pytest.approx(float(metric(stack[place])))


STEPS, SCORES = [10, 20, 50, 100, 400], [0.30, 0.36, 0.45, 0.50, 0.62]


def test_area_under_a_curve_by_hand() -> None:
    # trapezoids of width 1 and 3: (2 + 4) / 2 * 1 + (4 + 8) / 2 * 3 = 21, over a range of 4
    assert area_under_curve([1, 2, 5], [2, 4, 8]) == pytest.approx(21 / 4)
    # by powers of ten: widths 1 and 2, (2 + 4) / 2 * 1 + (4 + 8) / 2 * 2 = 15, over a range of 3
    assert area_under_curve([1, 10, 1000], [2, 4, 8], log=True) == pytest.approx(15 / 3)


@pytest.mark.parametrize("log", [False, True])
def test_area_under_a_curve_is_the_mean_height_of_its_lines(log: bool) -> None:
    axis = [math.log(step) for step in STEPS] if log else STEPS
    heights, pieces = 0.0, 20_000
    for piece in range(pieces):
        place = axis[0] + (axis[-1] - axis[0]) * (piece + 0.5) / pieces
        after = next(n for n in range(1, len(axis)) if axis[n] >= place)
        share = (place - axis[after - 1]) / (axis[after] - axis[after - 1])
        heights += SCORES[after - 1] + share * (SCORES[after] - SCORES[after - 1])
    assert area_under_curve(STEPS, SCORES, log=log) == pytest.approx(heights / pieces, abs=1e-6)


def test_area_under_a_curve_does_not_depend_on_the_units_of_x() -> None:
    assert area_under_curve(STEPS, [0.7] * 5) == pytest.approx(0.7)
    for log in (False, True):
        area = area_under_curve(STEPS, SCORES, log=log)
        assert area_under_curve([7 * step for step in STEPS], SCORES, log=log) == pytest.approx(area)
        assert area_under_curve(np.array(STEPS), np.array(SCORES), log=log) == area
    assert area_under_curve([step + 10 for step in STEPS], SCORES) == pytest.approx(area_under_curve(STEPS, SCORES))


@pytest.mark.parametrize(
    ("x", "y", "log", "message"),
    [
        ([5], [0.5], False, "at least two points"),
        ([1, 2, 3], [0.5, 0.6], False, r"x is of shape \(3,\) and y of \(2,\)"),
        ([[1, 2]], [[0.5, 0.6]], False, "at least two points"),
        ([1, 3, 2], [0.5, 0.6, 0.7], False, r"have to increase; they are \[1.0, 3.0, 2.0\]"),
        ([1, 1], [0.5, 0.6], False, "have to increase"),
        ([1, math.nan], [0.5, 0.6], False, "have to increase"),
        ([0, 1], [0.5, 0.6], True, "above 0; the first is 0"),
    ],
)
def test_what_has_no_area(x: list, y: list, log: bool, message: str) -> None:
    with pytest.raises(SereneError, match=message):
        area_under_curve(x, y, log=log)
    if log:
        assert area_under_curve(x, y) == pytest.approx(0.55)
