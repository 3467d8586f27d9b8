from __future__ import annotations

import math

import numpy as np
import pytest

from serene.evaluation.temperature import LARGEST, SMALLEST, fit


def cross_entropy(logits: list[list[float]], target: list[list[float]], temperature: float) -> float:
    total = 0.0
    for row, wanted in zip(logits, target, strict=True):
        shares = [math.exp(value / temperature) for value in row]
        total -= sum(want * math.log(share / sum(shares)) for want, share in zip(wanted, shares, strict=True))
    return total / len(logits)


def test_two_classes_by_hand() -> None:
    # three of four clips right at logits (2, 0): the best p is 3/4, and sigmoid(2 / T) = 3/4 at T = 2 / ln 3
    logits, target = [[2.0, 0.0]] * 4, [[1.0, 0.0]] * 3 + [[0.0, 1.0]]
    assert fit(np.array(logits), np.array(target)) == pytest.approx(2 / math.log(3), rel=1e-3)


def test_no_other_temperature_is_better() -> None:
    rng = np.random.default_rng(0)
    logits = 4 * rng.normal(size=(60, 5))
    target = np.eye(5)[rng.integers(5, size=60)] * 0.7 + 0.06  # soft targets serve too
    best = fit(logits, target)
    found = cross_entropy(logits.tolist(), target.tolist(), best)
    assert all(found <= cross_entropy(logits.tolist(), target.tolist(), other) for other in (0.5, 1, 2, 3, 5, 9, 15))


def test_a_constant_on_every_row_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(30, 3)), np.eye(3)[rng.integers(3, size=30)]
    assert fit(logits + 100 * rng.normal(size=(30, 1)), target) == pytest.approx(fit(logits, target), rel=1e-6)


def test_it_ends_somewhere() -> None:
    sure = np.array([[9.0, 0.0], [0.0, 9.0]])
    assert SMALLEST <= fit(sure, np.eye(2)) < 1, "always right: the sharper the better, until it makes no difference"
    assert fit(sure, np.eye(2)[::-1]) == pytest.approx(LARGEST, rel=1e-2)
