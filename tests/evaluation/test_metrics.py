"""Every metric by hand, against scikit-learn, and over a stack of confusions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from serene.evaluation.metrics import confusion, macro_f1, per_class_recall, ua, wa

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
ANSWER = np.array([0, 0, 0, 1, 1, 2, 2, 2, 0, 2])


def test_confusion_counts_truths_in_rows() -> None:
    assert confusion(TRUTH, ANSWER, 3).tolist() == [[3, 1, 0], [0, 1, 1], [1, 0, 3]]


def test_metrics_by_hand() -> None:
    matrix = confusion(TRUTH, ANSWER, 3)
    assert per_class_recall(matrix).tolist() == [3 / 4, 1 / 2, 3 / 4]
    assert float(ua(matrix)) == pytest.approx((3 / 4 + 1 / 2 + 3 / 4) / 3)
    assert float(wa(matrix)) == pytest.approx(7 / 10)
    # F1 = 2 tp / (2 tp + false positives + false negatives)
    assert float(macro_f1(matrix)) == pytest.approx((6 / (6 + 1 + 1) + 2 / (2 + 1 + 1) + 6 / (6 + 1 + 1)) / 3)


def test_an_emotion_that_does_not_occur_has_no_say_in_ua() -> None:
    matrix = confusion(np.array([0, 0, 1]), np.array([0, 2, 1]), 4)
    assert float(ua(matrix)) == pytest.approx((1 / 2 + 1) / 2)
    recalls = per_class_recall(matrix)
    assert math.isnan(recalls[2]) and math.isnan(recalls[3])
    # macro-F1 counts emotion 2, which was answered wrongly, and leaves out emotion 3
    assert float(macro_f1(matrix)) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_nothing_has_no_figure() -> None:
    empty = np.zeros((2, 2), dtype=int)
    assert all(math.isnan(float(metric(empty))) for metric in (ua, wa, macro_f1))


@pytest.mark.parametrize("seed", range(5))
def test_metrics_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, answer = rng.integers(0, 6, 80), rng.integers(0, 6, 80)
    matrix = confusion(truth, answer, 6)
    assert matrix.tolist() == confusion_matrix(truth, answer, labels=range(6)).tolist()
    assert float(ua(matrix)) == pytest.approx(balanced_accuracy_score(truth, answer))
    assert float(wa(matrix)) == pytest.approx(accuracy_score(truth, answer))
    assert float(macro_f1(matrix)) == pytest.approx(f1_score(truth, answer, average="macro"))


def test_a_stack_gives_what_its_matrices_give() -> None:
    stack = np.random.default_rng(0).integers(0, 4, size=(7, 2, 5, 5))
    for metric in (ua, wa, macro_f1):
        whole = metric(stack)
        assert whole.shape == (7, 2)
        for place in np.ndindex(7, 2):
            assert whole[place] == pytest.approx(float(metric(stack[place])))
