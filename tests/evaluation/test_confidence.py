"""Intervals cover what they should: speakers first, all seeds together, the same draws for two systems."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation.confidence import intervals, mean_of_folds, paired
from serene.evaluation.metrics import tally, ua
from serene.evaluation.predictions import Predictions
from serene.task import Task


def run(truth, answer, speakers, *, seed: int = 0, fold: str = "1", part: str = "test", n_classes: int = 2, ids=None):
    truth, answer = np.asarray(truth), np.asarray(answer)
    return Predictions.from_scores(
        ids=[f"u{i}" for i in range(len(truth))] if ids is None else ids,
        speakers=[str(s) for s in speakers],
        truth=truth,
        scores=np.eye(n_classes)[answer],
        task=Task(tuple(f"c{i}" for i in range(n_classes))),
        part=part,
        fold=fold,
        seed=seed,
    )


def test_the_value_is_the_pooled_metric_averaged_over_seeds() -> None:
    first = run([0, 0, 1, 1], [0, 0, 1, 0], "aabb")
    second = run([0, 0, 1, 1], [0, 1, 0, 0], "aabb", seed=1)
    result = intervals(Predictions.concatenate([first, second]), draws=50)["ua"]
    assert result.value == pytest.approx((0.75 + 0.25) / 2)
    assert result.std == pytest.approx(math.sqrt((0.75 - 0.5) ** 2 + (0.25 - 0.5) ** 2))
    assert intervals(first, draws=50)["ua"].std is None


def test_right_answers_everywhere_have_no_uncertainty() -> None:
    result = intervals(run([0, 1] * 10, [0, 1] * 10, [i // 4 for i in range(20)]), draws=100)["wa"]
    assert (result.value, result.low, result.high) == (1, 1, 1)


def test_the_interval_is_that_of_a_plain_loop_over_draws() -> None:
    """Resample with nothing but loops, and compare the ends of the interval."""
    rng = np.random.default_rng(1)
    speakers = np.repeat(np.arange(12), 15)
    truth = rng.integers(0, 3, len(speakers))
    skill = rng.uniform(0.2, 0.95, 12)[speakers]
    answer = np.where(rng.random(len(speakers)) < skill, truth, rng.integers(0, 3, len(speakers)))
    ours = intervals(run(truth, answer, speakers, n_classes=3), draws=4000)["ua"]
    figures = []
    for _ in range(1500):
        rows: list[int] = []
        for speaker in rng.integers(0, 12, 12):
            own = np.flatnonzero(speakers == speaker)
            rows.extend(rng.choice(own, len(own)))
        figures.append(float(ua(tally(truth[rows], answer[rows], 3))))
    low, high = np.percentile(figures, [2.5, 97.5])
    assert ours.low == pytest.approx(low, abs=0.012)
    assert ours.high == pytest.approx(high, abs=0.012)


def test_speakers_who_differ_widen_the_interval_beyond_that_of_utterances() -> None:
    """Half of the speakers are always right, half never: 400 utterances are evidence about 8 people only."""
    speakers = np.repeat(np.arange(8), 50)
    truth = np.tile([0, 1], 200)
    answer = np.where(speakers % 2 == 0, truth, 1 - truth)
    result = intervals(run(truth, answer, speakers), draws=2000)["wa"]
    over_utterances = 1.96 * math.sqrt(0.25 / 400)
    over_speakers = 1.96 * math.sqrt(0.25 / 8)
    half = (result.high - result.low) / 2
    assert half == pytest.approx(over_speakers, rel=0.15)
    assert half > 5 * over_utterances


def test_a_second_seed_that_answers_alike_is_no_further_evidence() -> None:
    rng = np.random.default_rng(2)
    speakers, truth = np.repeat(np.arange(6), 20), np.tile([0, 1], 60)
    answer = np.where(rng.random(120) < 0.7, truth, 1 - truth)
    one = run(truth, answer, speakers)
    both = Predictions.concatenate([one, run(truth, answer, speakers, seed=1)])
    single, double = intervals(one, draws=500)["ua"], intervals(both, draws=500)["ua"]
    assert (double.low, double.high) == (single.low, single.high)
    assert double.std == 0


def test_the_same_seed_draws_the_same_interval_and_another_does_not() -> None:
    rng = np.random.default_rng(3)
    p = run(rng.integers(0, 2, 80), rng.integers(0, 2, 80), np.repeat(np.arange(8), 10))
    assert intervals(p, draws=200, seed=5) == intervals(p, draws=200, seed=5)
    assert intervals(p, draws=200, seed=5) != intervals(p, draws=200, seed=6)


def test_pooled_and_mean_of_folds_differ_where_folds_differ_in_size() -> None:
    big = run([0, 1] * 4, [0, 1] * 4, "aaaabbbb", fold="big")
    small = run([0, 1], [1, 0], "cd", fold="small", ids=["x", "y"])
    both = Predictions.concatenate([big, small])
    assert intervals(both, draws=20)["wa"].value == pytest.approx(8 / 10)
    folds = mean_of_folds(both)["wa"]
    assert folds == {"value": pytest.approx(0.5), "std": None, "folds": {"big": 1.0, "small": 0.0}}


def test_mean_of_folds_averages_seeds_last() -> None:
    cells = [
        run([0, 1], answer, "ab", fold=fold, seed=seed, ids=[f"{fold}{i}" for i in range(2)])
        for fold, seed, answer in (("1", 0, [0, 1]), ("2", 0, [0, 0]), ("1", 1, [0, 0]), ("2", 1, [1, 0]))
    ]
    result = mean_of_folds(Predictions.concatenate(cells))["wa"]
    assert result["value"] == pytest.approx(((1 + 0.5) / 2 + (0.5 + 0) / 2) / 2)
    assert result["std"] == pytest.approx(math.sqrt(2 * 0.25**2))
    assert result["folds"] == {"1": 0.75, "2": 0.25}


def test_a_seed_that_lacks_a_fold_is_averaged_over_what_it_ran() -> None:
    cells = [
        run([0, 1] * 3, [0, 1] * 3, "aaabbb", fold="1"),
        run([0, 1], [1, 0], "cd", fold="2", ids=["x", "y"]),
        run([0, 1] * 3, [0, 1] * 3, "aaabbb", fold="1", seed=1),
    ]
    both = Predictions.concatenate(cells)
    assert mean_of_folds(both)["wa"]["value"] == pytest.approx((0.5 + 1) / 2)
    result = intervals(both, draws=300)["wa"]
    assert 0 <= result.low <= result.value <= result.high <= 1


def test_pairing_removes_what_both_have_in_common() -> None:
    """Speakers differ a lot, yet the first system is better for each of them by one utterance in ten."""
    speakers = np.repeat(np.arange(10), 20)
    truth, place = np.tile([0, 1], 100), np.tile(np.arange(20), 10)
    right_b = place < np.linspace(4, 16, 10).astype(int)[speakers]
    right_a = place < np.linspace(4, 16, 10).astype(int)[speakers] + 2
    a = run(truth, np.where(right_a, truth, 1 - truth), speakers)
    b = run(truth, np.where(right_b, truth, 1 - truth), speakers)
    difference = paired(a, b, draws=1000)["wa"]
    assert difference.value == pytest.approx(0.1)
    assert 0 < difference.low < 0.1 < difference.high
    assert difference.p < 0.01
    assert intervals(a, draws=500)["wa"].low < intervals(b, draws=500)["wa"].high, "unpaired intervals overlap"


def test_a_system_does_not_differ_from_itself() -> None:
    rng = np.random.default_rng(4)
    p = run(rng.integers(0, 2, 60), rng.integers(0, 2, 60), np.repeat(np.arange(6), 10))
    same = paired(p, p, draws=100)["macro_f1"]
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_pairs_may_have_other_seeds_and_another_order_of_classes_and_rows() -> None:
    truth, answer, speakers = [0, 1, 1, 0], [0, 1, 0, 0], "aabb"
    a = Predictions.concatenate([run(truth, answer, speakers, seed=s) for s in (0, 1, 2)])
    b = run(truth, answer, speakers, seed=9).ordered(("c1", "c0")).rows(np.array([3, 1, 0, 2]))
    assert asdict(paired(a, b, draws=100)["ua"]) == pytest.approx({"value": 0, "low": 0, "high": 0, "p": 1})


def test_only_the_same_utterances_can_be_compared() -> None:
    a = run([0, 1], [0, 1], "ab")
    with pytest.raises(SereneError, match="4 are in only one of them, for example 'p'"):
        paired(a, run([0, 1], [0, 1], "ab", ids=["p", "q"]), draws=10)
    with pytest.raises(SereneError, match="another speaker or label in the second run, for example 'u1'"):
        paired(a, run([0, 0], [0, 1], "ab"), draws=10)


def test_parts_are_never_mixed() -> None:
    both = Predictions.concatenate([run([0, 1], [0, 1], "ab"), run([0, 1], [0, 1], "cd", part="validation")])
    with pytest.raises(SereneError, match="one part"):
        intervals(both)
    with pytest.raises(SereneError, match="no predictions at all"):
        intervals(both.select(fold="none"))
