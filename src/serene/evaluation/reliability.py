"""Whether scores mean what they say: expected calibration error, and the risk that is left where a model may abstain.

The score of the class that is decided for is taken for the probability that it is the right one. n clips fall into 15
bins of equal width by it, (0, 1/15] to (14/15, 1]; with S_b the clips of bin b::

    ECE = sum over b of |S_b| / n * |right(S_b) - score(S_b)|         (Naeini, Cooper and Hauskrecht 2015)

where right is the share of right decisions, and score the mean score. Guo et al. 2017 use it with 15 bins.

Let a model answer the k clips alone that it is surest of. Coverage is k / n, risk the share of errors among them; AURC
is the mean risk over k = 1, ..., n (Geifman, Uziel and El-Yaniv 2019). Without any order it is the error of all clips.

Temperature scaling (Guo et al. 2017) divides logits by one number, fitted so that scores mean what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.confidence import DRAWS, PERCENTILES, Interval, deviation
from serene.evaluation.metrics import mean_known, ratio
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import Pool, classes_are_speakers, rows_of_each

BINS = 15
EDGES = np.arange(1, BINS) / BINS
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
COVERAGES = 50  # places of the curve that are kept
SMALLEST, LARGEST = 0.05, 20.0  # temperatures, beyond which a model knows nothing, or all
ROUNDING = 1e-4  # by which the scores of a row, written with 6 digits each, may miss a sum of 1


def described(test: Predictions, temperatures: Sequence[float] = ()) -> dict[str, Any] | None:
    """Give what `report.json` holds under `reliability`; None where scores are no probabilities.

    Temperatures are those by which the answering models' scores were scaled.

    Returns:
        `ece` as an interval; `bins` of all seeds together, as the function `bins` gives them; `aurc`; `curve` with
        `coverage` and `risk` (place,); `coverage`, for each `threshold` the share of clips `answered` and the `risk`
        among them (None where nothing is answered); and `temperatures`. All but the bins are means over seeds.
    """
    if not _probabilities(test):
        return None
    return {
        "ece": asdict(interval(test)),
        "bins": bins(*_decided(test)),
        **_selective(_runs(test)),
        "temperatures": [float(one) for one in temperatures],
    }


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """Find the temperature that makes the cross entropy of `softmax(logits / temperature)` least.

    No decision changes by it. Logits (utterance, emotion) are up to a constant per row: logarithms of probabilities
    will do. Targets are distributions (utterance, emotion), of clips that were not trained on.
    """
    logits, target = np.asarray(logits, dtype=float), np.asarray(target, dtype=float)

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - (target * scaled).sum(axis=1)).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log([SMALLEST, LARGEST]), method="bounded")
    return float(np.exp(found.x))


def ece(score: np.ndarray, right: np.ndarray) -> float:
    """Give the expected calibration error of decisions, by their scores and whether they are right (utterance,)."""
    return float(np.abs(np.bincount(_bin_of(score), weights=right - score)).sum() / len(score))


def bins(score: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Describe the bins that hold a clip: from where to where, share of all clips, mean score, share of right ones."""
    place = _bin_of(score)
    found = []
    for b in np.unique(place).tolist():
        means = {"share": place == b, "score": score[place == b], "right": right[place == b]}
        ends = {"low": b / BINS, "high": (b + 1) / BINS}
        found.append(ends | {name: float(values.mean()) for name, values in means.items()})
    return found


def risks(score: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Give the share of errors among the k surest decisions, for k = 1, ..., n (utterance,).

    Decisions of one score enter in no order: each counts as many errors as they have on average.
    """
    _, group, many = np.unique(-score, return_inverse=True, return_counts=True)
    errors = np.repeat(np.bincount(group, weights=1.0 - right) / many, many)
    return errors.cumsum() / np.arange(1, len(score) + 1)


def interval(test: Predictions, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Give the expected calibration error with its 95 % interval over speakers and their utterances.

    Chance adds to a sum of absolute differences, and a draw adds chance to chance: draws lie above the figure, as the
    figure lies above what endless clips would give. So the interval mirrors the draws' percentiles at the figure
    (the basic bootstrap), ends at 0, and holds the figure itself where all draws lie above it.

    The rows are of one part, and their scores are probabilities; the same seed gives the same interval.
    """
    values = np.array([ece(*run) for run in _runs(test)])
    value = float(values.mean())
    least, most = np.percentile(_drawn(test, draws, seed), PERCENTILES).tolist()
    low, high = max(0.0, 2 * value - most), max(value, 2 * value - least)
    return Interval(value, min(value, low), high, deviation(values))


def _drawn(test: Predictions, draws: int, seed: int) -> np.ndarray:
    """Draw speakers and their utterances, as in `serene.evaluation.resampling`: the mean over seeds (draw,)."""
    rng, pool = np.random.default_rng(seed), Pool.of([test])
    (runs,) = pool.runs
    bin_of, gap = _gaps(test)
    rows = rows_of_each(pool.speaker[pool.utterance])  # of each speaker
    times = pool.times(draws, rng, all_once=classes_are_speakers(test))
    total = np.zeros((draws, runs * (BINS + 1)))
    for speaker, (own, row) in enumerate(zip(pool.of_speakers(), rows, strict=True)):
        place = np.searchsorted(own, pool.utterance[row])
        answers = np.zeros((len(own), runs, BINS + 1))  # what is added up of each utterance; at last, itself
        np.add.at(answers, (place, pool.run[row], bin_of[row]), gap[row])
        np.add.at(answers[:, :, BINS], (place, pool.run[row]), 1.0)
        mine = answers.reshape(len(own), -1)
        used = np.flatnonzero(mine.any(axis=0))
        drawn = rng.multinomial(times[:, speaker].astype(np.int64) * len(mine), np.full(len(mine), 1 / len(mine)))
        total[:, used] += drawn @ mine[:, used]
    total = total.reshape(draws, runs, BINS + 1)
    return mean_known(ratio(np.abs(total[..., :BINS]).sum(axis=2), total[..., BINS]), axis=1)


def _bin_of(score: np.ndarray) -> np.ndarray:
    return np.digitize(score, EDGES, right=True).astype(np.uint8)


def _gaps(test: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Give each decision's bin, and by how much its score misses whether it is right (utterance,)."""
    score, right = _decided(test)
    return _bin_of(score), right - score


def _runs(test: Predictions) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give the scores of what each seed decided for, and whether it is right, as `_decided` does."""
    score, right = _decided(test)
    return [(score[test.seed == seed], right[test.seed == seed]) for seed in np.unique(test.seed)]


def _selective(runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Say what risk is left where only the surest clips are answered: `aurc`, `curve`, `coverage` of `described`."""
    places = np.arange(1, COVERAGES + 1) / COVERAGES
    areas, kept = list[float](), list[np.ndarray]()
    for run in runs:
        curve = risks(*run)
        areas.append(curve.mean())
        kept.append(curve[np.ceil(places * len(curve) - 1e-9).astype(int) - 1])
    return {
        "aurc": float(np.mean(areas)),
        "curve": {"coverage": places.tolist(), "risk": np.mean(kept, axis=0).tolist()},
        "coverage": [_answered(runs, threshold) for threshold in THRESHOLDS],
    }


def _answered(runs: Sequence[tuple[np.ndarray, np.ndarray]], threshold: float) -> dict[str, float | None]:
    """Say how many clips are answered where nothing below a threshold is, and how many of these wrongly."""
    shares = [float((score >= threshold).mean()) for score, _ in runs]
    wrong = [1 - float(right[score >= threshold].mean()) for score, right in runs if score.max() >= threshold]
    risk = float(np.mean(wrong)) if wrong else None
    return {"threshold": threshold, "answered": float(np.mean(shares)), "risk": risk}


def _decided(test: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Give the scores of what was decided for, and 1.0 where it is right, 0.0 where not (utterance,)."""
    return test.scores[np.arange(len(test)), test.prediction], (test.prediction == test.truth).astype(float)


def _probabilities(test: Predictions) -> bool:
    """Say whether the scores of each row are shares of 1; of many classes, not all of a row are kept."""
    sums, least = test.scores.sum(axis=1), 1 - ROUNDING if len(test.names) <= MOST_CLASSES else 0.0
    return bool(test.scores.min() >= 0 and (sums >= least).all() and (sums <= 1 + ROUNDING).all())
