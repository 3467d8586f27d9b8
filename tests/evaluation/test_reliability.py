"""Calibration error, risk and coverage are the formulas' own, worked out by hand; the interval covers the truth."""

from __future__ import annotations

import math
import random
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from made_up_reports import FACTS

from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.predictions import Predictions
from serene.evaluation.reliability import (
    LARGEST,
    SMALLEST,
    THRESHOLDS,
    bins,
    described,
    ece,
    fit_temperature,
    interval,
    risks,
)
from serene.evaluation.report import build
from serene.task import Task


def answers(scores: list[float], right: list[bool], speakers: list[str] | None = None, seed: int = 0) -> Predictions:
    """Make answers of two classes that score the first so high, and are right or not."""
    n = len(scores)
    return Predictions.from_scores(
        ids=[f"u{i}" for i in range(n)],
        speakers=speakers or [f"s{i % 3}" for i in range(n)],
        truth=np.array([0 if ok else 1 for ok in right]),
        scores=np.array([[score, 1 - score] for score in scores]),
        task=Task(("anger", "calm")),
        part="test",
        fold="1",
        seed=seed,
    )


SCORES = [0.55, 0.58, 0.61, 0.9, 0.92, 0.99]
RIGHT = [True, False, True, True, True, False]


def error_by_hand(scores: list[float], right: list[bool]) -> float:
    total = 0.0
    for b in range(15):
        held = [(s, ok) for s, ok in zip(scores, right, strict=True) if b / 15 < s <= (b + 1) / 15]
        if held:
            accuracy = sum(ok for _, ok in held) / len(held)
            score = sum(s for s, _ in held) / len(held)
            total += len(held) / len(scores) * abs(accuracy - score)
    return total


def test_calibration_error_by_hand() -> None:
    # bins: (8/15, 9/15] holds .55 and .58, (9/15, 10/15] .61, (13/15, 14/15] .9 and .92, the last .99
    expected = (2 * abs(0.5 - 0.565) + abs(1 - 0.61) + 2 * abs(1 - 0.91) + abs(0 - 0.99)) / 6
    assert ece(np.array(SCORES), np.array(RIGHT, dtype=float)) == pytest.approx(expected)
    draw = random.Random(0)
    scores = [draw.uniform(0.2, 1) for _ in range(200)]
    right = [draw.random() < s**2 for s in scores]
    assert ece(np.array(scores), np.array(right, dtype=float)) == pytest.approx(error_by_hand(scores, right))


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    low, middle, high = (bins(np.array([score]), np.ones(1))[0] for score in (1e-9, 9 / 15, 1.0))
    assert (low["low"], low["high"]) == (0, 1 / 15)
    assert (middle["low"], middle["high"]) == (8 / 15, 9 / 15)
    assert (high["low"], high["high"]) == (14 / 15, 1)
    found = bins(np.array(SCORES), np.array(RIGHT, dtype=float))
    assert [round(one["share"] * 6) for one in found] == [2, 1, 2, 1]
    assert found[0]["score"] == pytest.approx(0.565) and found[0]["right"] == 0.5


def test_risk_among_the_surest_by_hand() -> None:
    # from the surest: .99 wrong, .92 right, .9 right, .61 right, .58 wrong, .55 right
    expected = [1 / 1, 1 / 2, 1 / 3, 1 / 4, 2 / 5, 2 / 6]
    assert risks(np.array(SCORES), np.array(RIGHT, dtype=float)) == pytest.approx(expected)
    found = described(answers(SCORES, RIGHT))
    assert found is not None and found["aurc"] == pytest.approx(math.fsum(expected) / 6)
    assert found["curve"]["risk"][-1] == pytest.approx(2 / 6), "at full coverage it is the error of all"
    at_half = found["curve"]["risk"][found["curve"]["coverage"].index(0.5)]
    assert at_half == pytest.approx(expected[2])


def test_decisions_of_one_score_come_in_no_order() -> None:
    tied = np.array([0.8, 0.8, 0.8, 0.6])
    for right in ([1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0]):
        assert risks(tied, np.array(right, dtype=float)) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 4])


def test_thresholds_are_those_of_abstaining() -> None:
    found = described(answers(SCORES, RIGHT), [1.5])
    assert found is not None and found["temperatures"] == [1.5]
    by = {one["threshold"]: (one["answered"], one["risk"]) for one in found["coverage"]}
    assert tuple(by) == THRESHOLDS
    assert by[0.5] == pytest.approx((1, 2 / 6))
    assert by[0.6] == pytest.approx((4 / 6, 1 / 4))
    assert by[0.9] == pytest.approx((3 / 6, 1 / 3)), "a score at the threshold is answered"
    unsure = described(answers([0.55, 0.6], [True, False]))
    assert unsure is not None and unsure["coverage"][-1] == {"threshold": 0.9, "answered": 0, "risk": None}


def test_seeds_are_measured_one_by_one_and_averaged() -> None:
    one, other = answers(SCORES, RIGHT, seed=0), answers([0.7] * 6, [True] * 5 + [False], seed=1)
    both = described(Predictions.concatenate([one, other]))
    alone = [described(part) for part in (one, other)]
    assert both is not None and all(found is not None for found in alone)
    errors = [error_by_hand(SCORES, RIGHT), abs(5 / 6 - 0.7)]
    assert both["ece"]["value"] == pytest.approx(sum(errors) / 2)
    assert both["ece"]["std"] == pytest.approx(abs(errors[0] - errors[1]) / math.sqrt(2))
    assert both["aurc"] == pytest.approx(sum(found["aurc"] for found in alone if found) / 2)


def test_scores_that_are_no_probabilities_have_no_reliability() -> None:
    whole = answers(SCORES, RIGHT)
    for wrong in (whole.scores * 2, whole.scores - 1, whole.scores / 2):
        odd = Predictions.concatenate([whole])
        object.__setattr__(odd, "scores", wrong)
        assert described(odd) is None
    n = MOST_CLASSES + 1
    kept = np.full((4, n), 0.0)
    kept[:, 0] = 0.7  # of so many classes, a table keeps some scores of each row
    shared: dict[str, Any] = {"part": "test", "fold": "1", "seed": 0, "task": Task(tuple(f"c{i}" for i in range(n)))}
    some = Predictions.from_scores(ids="abcd", speakers="stst", truth=np.zeros(4, dtype=int), scores=kept, **shared)
    found = described(some)
    assert found is not None and found["ece"]["value"] == pytest.approx(0.3)


def test_the_interval_is_that_of_a_bootstrap_over_speakers_mirrored_at_the_figure() -> None:
    draw = random.Random(1)
    people = [f"s{i}" for i in range(8)]
    worth = {name: draw.uniform(0.5, 1) for name in people}
    speakers = [name for name in people for _ in range(12)]
    scores = [draw.uniform(0.55, 0.95) for _ in speakers]
    right = [draw.random() < worth[name] for name in speakers]
    by_speaker = {name: [i for i, who in enumerate(speakers) if who == name] for name in people}
    drawn = []
    for _ in range(600):
        rows = [draw.choice(by_speaker[name]) for name in draw.choices(people, k=8) for _ in range(12)]
        drawn.append(error_by_hand([scores[i] for i in rows], [right[i] for i in rows]))
    drawn.sort()
    found, value = interval(answers(scores, right, speakers)), error_by_hand(scores, right)
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(max(0.0, 2 * value - drawn[584]), abs=0.02)
    assert found.high == pytest.approx(2 * value - drawn[15], abs=0.02)


def test_calibrated_scores_are_not_said_to_be_off() -> None:
    draw = random.Random(2)
    scores = [draw.uniform(0.5, 1) for _ in range(600)]
    right = [draw.random() < score for score in scores]
    found = interval(answers(scores, right, [f"s{i % 20}" for i in range(600)]))
    assert found.value > 0.01, "chance alone makes a sum of absolute differences"
    assert found.low == 0 and found.high >= found.value
    sure = interval(answers([1.0] * 600, right, [f"s{i % 20}" for i in range(600)]))
    assert sure.low > 0.15, "always being sure is off by the share of errors"


def test_the_same_answers_give_the_same_interval_in_any_order() -> None:
    whole = answers(SCORES * 10, RIGHT * 10)
    turned = whole.rows(np.arange(60)[::-1])
    assert asdict(interval(whole)) == pytest.approx(asdict(interval(turned)))


def test_the_report_holds_it() -> None:
    report = build(answers(SCORES, RIGHT), facts=FACTS, temperatures=[0.8, 1.25])
    assert report.to_json()["reliability"] == described(answers(SCORES, RIGHT), [0.8, 1.25])


def cross_entropy(logits: list[list[float]], target: list[list[float]], temperature: float) -> float:
    total = 0.0
    for row, wanted in zip(logits, target, strict=True):
        shares = [math.exp(value / temperature) for value in row]
        total -= sum(want * math.log(share / sum(shares)) for want, share in zip(wanted, shares, strict=True))
    return total / len(logits)


def test_the_temperature_of_two_classes_by_hand() -> None:
    # three of four clips right at logits (2, 0): the best p is 3/4, and sigmoid(2 / T) = 3/4 at T = 2 / ln 3
    logits, target = [[2.0, 0.0]] * 4, [[1.0, 0.0]] * 3 + [[0.0, 1.0]]
    assert fit_temperature(np.array(logits), np.array(target)) == pytest.approx(2 / math.log(3), rel=1e-3)


def test_no_other_temperature_is_better() -> None:
    rng = np.random.default_rng(0)
    logits = 4 * rng.normal(size=(60, 5))
    target = np.eye(5)[rng.integers(5, size=60)] * 0.7 + 0.06  # soft targets serve too
    best = fit_temperature(logits, target)
    found = cross_entropy(logits.tolist(), target.tolist(), best)
    assert all(found <= cross_entropy(logits.tolist(), target.tolist(), other) for other in (0.5, 1, 2, 3, 5, 9, 15))


def test_a_constant_on_every_row_leaves_the_temperature() -> None:
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(30, 3)), np.eye(3)[rng.integers(3, size=30)]
    assert fit_temperature(logits + 100 * rng.normal(size=(30, 1)), target) == pytest.approx(
        fit_temperature(logits, target), rel=1e-6
    )


def test_a_temperature_ends_somewhere() -> None:
    sure = np.array([[9.0, 0.0], [0.0, 9.0]])
    assert SMALLEST <= fit_temperature(sure, np.eye(2)) < 1, (
        "always right: the sharper the better, until it makes no difference"
    )
    assert fit_temperature(sure, np.eye(2)[::-1]) == pytest.approx(LARGEST, rel=1e-2)
