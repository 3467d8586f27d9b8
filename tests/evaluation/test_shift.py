"""Shifts by hand in loops; on average right with few clips; correlations, and what is said where there are too few."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serene.evaluation import shift
from serene.evaluation.predictions import Predictions
from serene.task import Dimensions, Task

EULER = 0.5772156649015329


def digamma_of_half(m: int) -> float:
    """psi(m / 2), from psi(1/2) = -EULER - 2 log 2 and psi(1) = -EULER by psi(x + 1) = psi(x) + 1/x."""
    value, x = (-EULER, 1.0) if m % 2 == 0 else (-EULER - 2 * math.log(2), 0.5)
    while x < m / 2:
        value, x = value + 1 / x, x + 1
    return value


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_the_divergence_of_embeddings_by_hand(n: int) -> None:
    clips = np.random.default_rng(n).normal(0.5, 2, (n, 3))
    total = 0.0
    for component in clips.T.tolist():
        mean = sum(component) / n
        variance = sum((value - mean) ** 2 for value in component) / (n - 1)
        logarithm = math.log(variance) - digamma_of_half(n - 1) + math.log((n - 1) / 2)
        total += (variance + mean**2 - variance / n - 1 - logarithm) / 2
    assert shift.normal_divergence(clips) == pytest.approx(total)


@pytest.mark.parametrize("n", [3, 6, 40])
def test_few_clips_alone_make_no_divergence(n: int) -> None:
    """A plain estimate with the sample's moments would give 0.5 and more for 6 clips of the global distribution."""
    rng = np.random.default_rng(0)
    same = [shift.normal_divergence(rng.normal(0, 1, (n, 4))) for _ in range(3000)]
    assert np.mean(same) == pytest.approx(0, abs=0.1)
    other = [shift.normal_divergence(rng.normal(1, 0.5, (n, 4))) for _ in range(3000)]
    exact = 4 * (0.5**2 + 1 - 1 - math.log(0.5**2)) / 2
    assert np.mean(other) == pytest.approx(exact, abs=0.1)


def test_embeddings_are_measured_against_the_trainings_spread() -> None:
    """Moved by two of the training's deviations along one of two axes: 2^2 / 2 nats, whatever the axes' scales."""
    rng = np.random.default_rng(0)
    scales = np.array([100.0, 80.0, 1e-9])  # the third is far below a tenth of the variance
    training, test = rng.normal(5, 1, (20_000, 3)) * scales, rng.normal(5, 1, (20_000, 3)) * scales
    speakers = ["near"] * 9999 + ["far"] * 10_000 + ["once"]
    test[9999:19_999, 0] += 2 * scales[0]
    test[9999:19_999, 2] += 1e6 * scales[2]
    found = shift.of_embeddings(training, test, speakers)
    assert found.keys() == {"near", "far"}
    assert found["near"] == pytest.approx(0, abs=0.01)
    assert found["far"] == pytest.approx(2, rel=0.1)


def test_training_clips_that_are_all_alike_measure_nobody() -> None:
    assert shift.of_embeddings(np.ones((5, 2)), np.eye(2), ["a", "a"]) == {}
    assert shift.of_embeddings(np.eye(2)[:1], np.eye(2), ["a", "a"]) == {}


def test_clips_of_one_and_the_same_embedding_have_a_finite_divergence() -> None:
    training = np.random.default_rng(0).normal(size=(50, 3))
    (value,) = shift.of_embeddings(training, np.ones((4, 3)), ["a"] * 4).values()
    assert math.isfinite(value) and value > 5


def test_the_divergence_of_labels_by_hand() -> None:
    own, others = [3, 0, 1], [2, 5, 0]
    expected = [(count + 0.5) / 8.5 for count in others]
    plain = 3 / 4 * math.log(3 / 4 / expected[0]) + 1 / 4 * math.log(1 / 4 / expected[2])
    by_chance = 0.0
    for q in expected:
        for k in range(1, 5):
            by_chance += math.comb(4, k) * q**k * (1 - q) ** (4 - k) * k / 4 * math.log(k / 4)
        by_chance -= q * math.log(q)
    assert shift.label_divergence(np.array(own), np.array(others)) == pytest.approx(plain - by_chance)


@pytest.mark.parametrize("n", [2, 6, 60])
def test_few_labels_alone_make_no_divergence(n: int) -> None:
    rng, others = np.random.default_rng(0), np.array([500, 300, 150, 50, 0])
    q = (others + 0.5) / (others + 0.5).sum()
    same = [shift.label_divergence(rng.multinomial(n, q), others) for _ in range(2000)]
    assert np.mean(same) == pytest.approx(0, abs=0.03)


def rated(truth: list[float], speakers: str, *, part: str = "test", prefix: str = "u", seed: int = 0) -> Predictions:
    return Predictions.from_scores(
        ids=[f"{prefix}{i}" for i in range(len(truth))],
        speakers=[*speakers],
        truth=[[value, -value] for value in truth],
        scores=np.zeros((len(truth), 2)),
        task=Dimensions(("a", "b")),
        part=part,
        fold=1,
        seed=seed,
    )


def test_labels_of_a_dimension_are_counted_in_bins_of_its_scale_each_clip_once() -> None:
    """From 0 to 20: bins of width 2; 20 itself is in the last. The other speakers' clips are those of v too."""
    test = rated([0, 1, 20, 10, 11, 12], "xxxyyz")
    both = Predictions.concatenate([test, rated([0, 1, 20, 10, 11, 12], "xxxyyz", seed=1)])
    whole = Predictions.concatenate([both, rated([4.0, 5.0], "vv", part="validation", prefix="w")])
    found = shift.of_labels(whole)
    assert found.keys() == {"a", "b"} and found["a"].keys() == {"x", "y"}, "z has one clip, v is not tested"
    own, others = np.zeros(10, dtype=int), np.zeros(10, dtype=int)
    for value in (0, 1, 20):
        own[min(9, value // 2)] += 1
    for value in (10, 11, 12, 4, 5):
        others[value // 2] += 1
    assert found["a"]["x"] == pytest.approx(shift.label_divergence(own, others))


def test_labels_of_a_task_of_classes_are_its_classes() -> None:
    truth = np.array([0, 0, 1, 2, 1, 1])
    answers = Predictions.from_scores(
        ids=[f"u{i}" for i in range(6)],
        speakers=[*"xxxyyy"],
        truth=truth,
        scores=np.eye(3)[truth],
        task=Task(("anger", "calm", "joy")),
        part="test",
        fold=1,
        seed=0,
    )
    found = shift.of_labels(answers)
    assert found == {
        "emotion": {
            "x": pytest.approx(shift.label_divergence(np.array([2, 1, 0]), np.array([0, 2, 1]))),
            "y": pytest.approx(shift.label_divergence(np.array([0, 2, 1]), np.array([2, 1, 0]))),
        }
    }


def test_a_correlation_by_hand_with_fishers_interval() -> None:
    a, b = [1.0, 2, 3, 4, 5, math.nan, 7], [2.0, 1, 4, 3, 7, 8, math.nan]
    x, y = a[:5], b[:5]
    mx, my = sum(x) / 5, sum(y) / 5
    r = sum((p - mx) * (q - my) for p, q in zip(x, y, strict=True)) / math.sqrt(
        sum((p - mx) ** 2 for p in x) * sum((q - my) ** 2 for q in y)
    )
    found = shift.correlation(a, b)
    assert found is not None and found["n"] == 5
    assert found["r"] == pytest.approx(r)
    ends = [math.tanh(math.atanh(r) + sign * 1.959964 / math.sqrt(2)) for sign in (-1, 1)]
    assert [found["low"], found["high"]] == pytest.approx(ends)


def test_there_is_no_correlation_of_few_speakers_or_without_spread() -> None:
    assert shift.correlation([1.0, 2, 3, 4], [1.0, 2, 3, 4]) is None
    assert shift.correlation([1.0] * 9, [*map(float, range(9))]) is None
    perfect = shift.correlation([*map(float, range(9))], [*map(float, range(9))])
    assert perfect is not None and perfect["r"] == pytest.approx(1) and perfect["low"] > 0.99


def test_shifts_are_described_speaker_by_speaker_and_averaged_over_cells() -> None:
    truth = [0, 1, 4, 1, 2, 9, 3, 4, 5, 8, 9, 4]
    answers = rated([float(value) for value in truth], "vvwwxxyyzzss")
    reached = dict(zip("vwxyzs", (0.1, 0.2, 0.3, 0.4, 0.5, math.nan), strict=True))
    cells = [{"v": 1.0, "w": 2.0, "x": 3.0}, None, {"v": 3.0, "y": 4.0, "z": 5.0}]
    found = shift.described(answers, {"a": reached, "b": reached}, cells)
    assert found["performance"] == "ccc"
    people = {one["speaker"]: one for one in found["per_speaker"]}
    assert {name: one["embedding"] for name, one in people.items()} == {
        **{"v": 2.0, "w": 2.0, "x": 3.0, "y": 4.0, "z": 5.0},
        "s": None,
    }
    labels = shift.of_labels(answers)
    assert people["x"]["labels"] == {"a": labels["a"]["x"], "b": labels["b"]["x"]}
    assert people["w"]["performance"] == {"a": 0.2, "b": 0.2}
    of_a = found["correlations"]["a"]
    assert of_a["embedding"] == shift.correlation([2.0, 2, 3, 4, 5], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert of_a["labels"]["n"] == 5 and of_a["embedding_and_labels"]["n"] == 5
    nothing = shift.described(answers, {"a": reached, "b": reached}, [None])
    assert nothing["correlations"]["a"]["embedding"] is None
    assert nothing["correlations"]["a"]["labels"] == of_a["labels"]
