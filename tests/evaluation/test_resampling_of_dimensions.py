"""CCC by hand, in loops over utterances and speakers; intervals over speakers; differences on the same draws."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation.confidence import intervals, mean_of_folds, paired, weighted
from serene.evaluation.metrics import ccc
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import ccc_figures, ccc_of_each_speaker
from serene.task import Dimensions, Task


def run(
    truth, given, speakers, *, seed: int = 0, fold: str = "1", part: str = "test", names=("v",), ids=None
) -> Predictions:
    truth, given = (np.asarray(values, dtype=float).reshape(len(speakers), -1) for values in (truth, given))
    return Predictions.from_scores(
        ids=[f"u{i}" for i in range(len(truth))] if ids is None else ids,
        speakers=[str(s) for s in speakers],
        truth=truth,
        scores=given,
        task=Dimensions(tuple(names)),
        part=part,
        fold=fold,
        seed=seed,
    )


def by_hand(truth: Sequence[float], given: Sequence[float]) -> float:
    """CCC with nothing but sums."""
    n = len(truth)
    y, x = math.fsum(truth) / n, math.fsum(given) / n
    spread_y, spread_x = (math.fsum((v - m) ** 2 for v in values) / n for values, m in ((truth, y), (given, x)))
    together = math.fsum((a - y) * (b - x) for a, b in zip(truth, given, strict=True)) / n
    return 2 * together / (spread_y + spread_x + (x - y) ** 2)


def some(n_speakers: int, clips: int, *, seed: int = 0, noise: float = 0.7, scale: float = 1.0) -> Predictions:
    """Follow truths by more or less, speaker by speaker; the truths and speakers are those of every seed."""
    rng, made = np.random.default_rng(seed), np.random.default_rng(99)
    speakers = np.repeat(np.arange(n_speakers), clips)
    truth = made.normal(3, 1, len(speakers)) + made.normal(0, 0.5, n_speakers)[speakers]
    skill = made.uniform(0.2, 0.9, n_speakers)[speakers]
    given = 3 + skill * (truth - 3) + noise * rng.normal(size=len(speakers))
    return run(scale * truth, scale * given, speakers, seed=seed)


def test_a_hand_worked_case() -> None:
    """Truths 1, 2, 3 against 2, 2, 5: means 2 and 3, variances 2/3 and 2, covariance 1."""
    figures = ccc_figures(run([1, 2, 3], [2, 2, 5], "aaa"))
    assert figures["ccc_v"].tolist() == [pytest.approx(2 * 1 / (2 / 3 + 2 + 1))]
    assert float(ccc(np.array([1, 2, 3]), np.array([2, 2, 5]))) == pytest.approx(6 / 11)


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-6])
def test_pooled_and_speakers_own_ccc_are_those_of_loops(scale: float) -> None:
    ratings = Predictions.concatenate([some(5, 7, seed=s, scale=scale) for s in (0, 1)])
    overall, of_speakers = [], []
    for seed in (0, 1):
        one = ratings.select(seed=seed)
        overall.append(by_hand(one.truth[:, 0].tolist(), one.prediction[:, 0].tolist()))
        own = [one.rows(one.speaker == str(s)) for s in range(5)]
        of_speakers.append(sum(by_hand(p.truth[:, 0].tolist(), p.prediction[:, 0].tolist()) for p in own) / 5)
    found = intervals(ratings, draws=50)
    assert found.keys() == {"ccc_v", "ccc_v_of_speakers"}
    for name, values in (("ccc_v", overall), ("ccc_v_of_speakers", of_speakers)):
        assert ccc_figures(ratings)[name].tolist() == pytest.approx(values)
        assert found[name].value == pytest.approx(sum(values) / 2)
        assert found[name].std == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))


def test_every_dimension_has_its_own_figures() -> None:
    a, b = some(3, 6), some(3, 6, seed=1)
    both = run(np.c_[a.truth, b.truth], np.c_[a.prediction, b.prediction], a.speaker, names=("a", "b"))
    figures = ccc_figures(both)
    assert list(figures) == ["ccc_a", "ccc_a_of_speakers", "ccc_b", "ccc_b_of_speakers"]
    assert figures["ccc_b"].tolist() == pytest.approx(ccc_figures(b)["ccc_v"].tolist())
    turned = paired(both, both.ordered(("b", "a")), draws=20)
    assert {name: d.value for name, d in turned.items()} == pytest.approx(dict.fromkeys(figures, 0.0))


def test_whoever_has_true_values_that_do_not_differ_has_no_ccc_of_their_own() -> None:
    """b says one clip, c three of the same value; d is met exactly, and e answered by a constant: that counts as 0."""
    speakers = "aaabcccddee"
    truth = [1, 2, 3, 5, 0.1, 0.1, 0.1, 1, 4, 1, 4]
    given = [2, 2, 5, 5, 1, 2, 3, 1, 4, 2, 2]
    names, own = ccc_of_each_speaker(run(truth, given, speakers))
    assert names == [*"abcde"]
    assert own[:, 0].tolist() == pytest.approx([6 / 11, math.nan, math.nan, 1, 0], nan_ok=True)
    assert ccc_figures(run(truth, given, speakers))["ccc_v_of_speakers"].tolist() == [pytest.approx(17 / 33)]


def test_where_nothing_differs_there_is_no_figure_and_no_warning() -> None:
    constant = run([0.1] * 4, [0.1] * 4, "aabb")
    found = intervals(constant, draws=20)
    assert all(math.isnan(value) for i in found.values() for value in (i.value, i.low, i.high))
    assert math.isnan(mean_of_folds(constant)["ccc_v"]["value"])
    answered = intervals(run([0.1] * 4, [0.1, 0.2, 0.1, 0.2], "aabb"), draws=20)
    assert answered["ccc_v"].value == 0 and math.isnan(answered["ccc_v_of_speakers"].value)


def test_the_overall_interval_is_that_of_a_plain_loop_over_draws() -> None:
    rng, ratings = np.random.default_rng(1), some(12, 8)
    figures = []
    for _ in range(1000):
        rows: list[int] = []
        for speaker in rng.integers(0, 12, 12):
            own = np.flatnonzero(ratings.speaker == str(speaker))
            rows.extend(rng.choice(own, len(own)))
        figures.append(by_hand(ratings.truth[rows, 0].tolist(), ratings.prediction[rows, 0].tolist()))
    low, high = np.percentile(figures, [2.5, 97.5])
    ours = intervals(ratings, draws=4000)["ccc_v"]
    assert ours.low == pytest.approx(low, abs=0.02)
    assert ours.high == pytest.approx(high, abs=0.02)


def test_in_the_mean_of_speakers_the_speakers_alone_are_drawn() -> None:
    ratings = some(12, 8)
    own = ccc_of_each_speaker(ratings)[1][:, 0]
    ours = intervals(ratings, draws=4000)["ccc_v_of_speakers"]
    rng = np.random.default_rng(3)
    low, high = np.percentile(own[rng.integers(0, 12, (4000, 12))].mean(axis=1), [2.5, 97.5])
    assert ours.low == pytest.approx(low, abs=0.01)
    assert ours.high == pytest.approx(high, abs=0.01)


def test_few_utterances_of_a_speaker_do_not_pull_the_interval_to_zero() -> None:
    """Drawing three utterances from three would: their CCC is lower, and the interval would lie below the value."""
    found = intervals(some(40, 3), draws=500)["ccc_v_of_speakers"]
    assert (found.low + found.high) / 2 == pytest.approx(found.value, abs=0.02)


def test_one_speakers_mean_is_drawn_as_the_speakers_utterances() -> None:
    found = intervals(some(1, 20), draws=200)
    assert found["ccc_v_of_speakers"] == found["ccc_v"]
    assert found["ccc_v"].low < found["ccc_v"].value < found["ccc_v"].high


def test_seeds_that_answer_alike_are_no_further_evidence() -> None:
    one = some(6, 8)
    both = Predictions.concatenate([one, run(one.truth, one.prediction, one.speaker, seed=7)])
    for name, found in intervals(one, draws=100).items():
        double = intervals(both, draws=100)[name]
        assert (double.low, double.high, double.std) == (pytest.approx(found.low), pytest.approx(found.high), 0)


def test_a_seed_that_lacks_a_fold_is_averaged_over_what_it_ran() -> None:
    big, small = some(4, 6), run([1, 2, 3, 1, 2, 4], [1, 2, 3, 4, 2, 1], "xxxyyy", fold="2", ids=[*"abcdef"])
    both = Predictions.concatenate([big, small, run(big.truth, big.truth, big.speaker, seed=1)])
    of_big, of_small = (by_hand(p.truth[:, 0].tolist(), p.prediction[:, 0].tolist()) for p in (big, small))
    found = mean_of_folds(both)["ccc_v"]
    assert found["value"] == pytest.approx(((of_big + of_small) / 2 + 1) / 2)
    assert found["folds"] == {"1": pytest.approx((of_big + 1) / 2), "2": pytest.approx(of_small)}
    interval = intervals(both, draws=200)["ccc_v"]
    assert interval.low <= interval.value <= interval.high


def test_pairing_takes_the_same_draws_for_both() -> None:
    good, bad = some(10, 10, noise=0.3), some(10, 10, seed=1, noise=0.9)
    found = paired(good, bad, draws=1000)
    for name, difference in found.items():
        value = ccc_figures(good)[name][0] - ccc_figures(bad)[name][0]
        assert difference.value == pytest.approx(value)
        assert 0 < difference.low < value < difference.high
        assert difference.p < 0.01
        alone = intervals(good, draws=1000)[name], intervals(bad, draws=1000)[name]
        assert difference.high - difference.low < sum(i.high - i.low for i in alone)
    same = paired(good, good, draws=50)["ccc_v_of_speakers"]
    assert asdict(same) == {"value": 0, "low": 0, "high": 0, "p": 1}


def test_a_sum_of_systems_is_drawn_together() -> None:
    good, bad = some(8, 6, noise=0.3), some(8, 6, seed=1)
    found = weighted([good, bad], [1.0, -1.0], draws=300)["ccc_v"]
    pair = paired(good, bad, draws=300)["ccc_v"]
    assert (found.value, found.low, found.high) == pytest.approx((pair.value, pair.low, pair.high))


def test_only_what_is_alike_can_be_compared() -> None:
    a = some(3, 4)
    other = run(a.truth, a.prediction, a.speaker, names=("w",))
    with pytest.raises(SereneError, match="over different dimensions"):
        paired(a, other, draws=10)
    with pytest.raises(SereneError, match="12 utterances have another speaker or label in the second run"):
        paired(a, run(a.truth + 1, a.prediction, a.speaker), draws=10)
    classes = Predictions.from_scores(
        ids=["u0"],
        speakers=["0"],
        truth=["x"],
        scores=np.eye(2)[:1],
        task=Task(("x", "y")),
        part="test",
        fold=1,
        seed=0,
    )
    for pair in ((a, classes), (classes, a)):
        with pytest.raises(
            SereneError, match="they answer different questions, and cannot be put together or compared"
        ):
            paired(*pair, draws=10)


def test_a_large_test_is_drawn_in_a_moment() -> None:
    ratings, started = some(90, 82), time.process_time()
    intervals(ratings)
    assert time.process_time() - started < 15
