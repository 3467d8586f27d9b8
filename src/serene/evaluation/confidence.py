"""Figures with 95 % intervals over speakers and their utterances, and the difference of two systems with its interval.

A metric is computed per seed and averaged over seeds inside every draw: seeds are no further evidence about speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from serene.errors import SereneError
from serene.evaluation.metrics import METRICS, tally
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import draw

DRAWS = 2000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A figure with its uncertainty.

    Attributes:
        value: the figure itself, the mean over seeds.
        low: lower end of the 95 % interval over speakers and utterances.
        high: upper end.
        std: sample deviation (n - 1) over the seeds' values; None with one seed.
    """

    value: float
    low: float
    high: float
    std: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the four numbers by name."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """How much better the first of two is than the second, on the same utterances.

    Attributes:
        value: first minus second.
        low: lower end of the 95 % interval.
        high: upper end.
        p: twice the smaller share of draws on either side of zero, at most 1: small where the draws agree about
            which is better. A bootstrap's counterpart of a two-sided p-value, not an exact test.
    """

    value: float
    low: float
    high: float
    p: float

    def to_dict(self) -> dict[str, float]:
        """Return the four numbers by name."""
        return asdict(self)


def intervals(predictions: Predictions, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Pool the folds of each seed, and give every metric with its interval.

    Args:
        predictions: rows of one part; all folds and seeds of a run.
        draws: number of bootstrap draws.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        `ua`, `wa`, `macro_f1`, as shares of 1.
    """
    _check_one_part(predictions)
    point = tallies(predictions)
    drawn = draw([predictions], draws, seed)[0]
    result = {}
    for name, metric in METRICS.items():
        values = metric(point)
        low, high = np.percentile(_over_seeds(metric(drawn)), PERCENTILES)
        result[name] = Interval(float(values.mean()), float(low), float(high), deviation(values))
    return result


def mean_of_folds(predictions: Predictions) -> dict[str, dict]:
    """Give every metric as the mean over folds of the fold's figure, then over seeds.

    Folds of different sizes weigh the same here, which makes it another number than the pooled one.

    Returns:
        metric -> `value`, `std` over seeds (None with one) and `folds`, each fold's mean over its seeds.
    """
    _check_one_part(predictions)
    seeds, folds = np.unique(predictions.seed), list(dict.fromkeys(predictions.fold.tolist()))
    runs, of_fold = [predictions.seed == s for s in seeds], [predictions.fold == f for f in folds]
    table = np.array([[_tally(predictions, run & fold) for fold in of_fold] for run in runs])
    result = {}
    for name, metric in METRICS.items():
        values = np.ma.masked_invalid(metric(table))  # a fold that some seed has not run is left out of the means
        per_seed = values.mean(axis=1)
        result[name] = {
            "value": float(per_seed.mean()),
            "std": deviation(np.asarray(per_seed)),
            "folds": dict(zip(folds, values.mean(axis=0).tolist(), strict=True)),
        }
    return result


def weighted(
    parts: Sequence[Predictions], weights: Sequence[float], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Sum the figures of several systems by weights, such as the points of a curve by their shares of its area.

    All of them are drawn together: they are figures of the same speakers.

    Args:
        parts: rows of one part of each system.
        weights: of each system's figure, the mean over its seeds.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        `ua`, `wa`, `macro_f1`, as shares of 1 where the weights sum to 1; without a deviation.
    """
    parts = [part.ordered(parts[0].classes) for part in parts]
    for part in parts:
        _check_one_part(part)
    points, drawn = [tallies(part) for part in parts], draw(parts, draws, seed)
    result = {}
    for name, metric in METRICS.items():
        value = sum(weight * metric(point).mean() for weight, point in zip(weights, points, strict=True))
        totals = sum(weight * _over_seeds(metric(counts)) for weight, counts in zip(weights, drawn, strict=True))
        low, high = np.percentile(totals, PERCENTILES)
        result[name] = Interval(float(value), float(low), float(high), None)
    return result


def paired(a: Predictions, b: Predictions, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Difference]:
    """Compare two systems on the same utterances, with the same draws for both.

    Args:
        a: rows of one part of the first system; any number of seeds.
        b: the second system's, over the same utterances; its seeds may be others.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        `ua`, `wa`, `macro_f1` -> first minus second.

    Raises:
        SereneError: the utterances, their speakers or their labels differ.
    """
    b = b.ordered(a.classes)
    for predictions in (a, b):
        _check_one_part(predictions)
    _check_same_utterances(a, b)
    drawn_a, drawn_b = draw([a, b], draws, seed)
    points = tallies(a), tallies(b)
    result = {}
    for name, metric in METRICS.items():
        value = metric(points[0]).mean() - metric(points[1]).mean()
        difference = np.round(_over_seeds(metric(drawn_a)) - _over_seeds(metric(drawn_b)), 12)  # 1e-16 is no sign
        low, high = np.percentile(difference, PERCENTILES)
        p = 2 * min(np.mean(difference <= 0), np.mean(difference >= 0))
        result[name] = Difference(float(value), float(low), float(high), float(min(1.0, max(p, 1 / draws))))
    return result


def tallies(predictions: Predictions, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Pool the folds of each seed, of all rows or some: int64 (seed, 3, class), seeds in ascending order."""
    seed, rows = predictions.seed[rows], np.arange(len(predictions))[rows]
    return np.stack([_tally(predictions, rows[seed == one]) for one in np.unique(seed)])


def deviation(values: np.ndarray) -> float | None:
    """Sample deviation (n - 1) of runs' figures (seed,); None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _over_seeds(values: np.ndarray) -> np.ndarray:
    """Average (draw, seed) over seeds; a seed that was not run on any drawn speaker has no say in that draw."""
    return np.ma.masked_invalid(values).mean(axis=1).filled(np.nan)


def _tally(predictions: Predictions, rows: np.ndarray) -> np.ndarray:
    return tally(predictions.truth[rows], predictions.prediction[rows], len(predictions.classes))


def _check_one_part(predictions: Predictions) -> None:
    parts = sorted(set(predictions.part.tolist()))
    if len(parts) != 1:
        found = f"the parts {parts}" if parts else "no predictions at all"
        raise SereneError(
            f"A figure needs predictions of one part, but there are {found}. Select `test` or `validation`."
        )


def _check_same_utterances(a: Predictions, b: Predictions) -> None:
    facts_a, facts_b = (
        {i: (s, t) for i, s, t in zip(p.id.tolist(), p.speaker.tolist(), p.truth.tolist(), strict=True)} for p in (a, b)
    )
    apart = sorted(facts_a.keys() ^ facts_b.keys())
    if apart:
        raise SereneError(
            f"The two runs were tested on different utterances: {len(apart)} are in only one of them, for example "
            f"'{apart[0]}'. Only runs of the same protocol and labels can be compared."
        )
    changed = [name for name, fact in facts_a.items() if facts_b[name] != fact]
    if changed:
        raise SereneError(
            f"{len(changed)} utterances have another speaker or label in the second run, for example '{changed[0]}'."
        )
