"""Figures with 95 % intervals over speakers and their utterances, and the difference of two systems with its interval.

A metric is computed per seed and averaged over seeds inside every draw: seeds are no further evidence about speakers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serene.errors import SereneError
from serene.evaluation.metrics import METRICS, mean_known, tally
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import ccc_figures, draw, drawn_ccc

DRAWS = 2000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A figure, the mean over seeds, with its 95 % interval over speakers and utterances.

    `std` is the sample deviation (n - 1) over the seeds' values; None with one seed.
    """

    value: float
    low: float
    high: float
    std: float | None


@dataclass(frozen=True)
class Difference:
    """First minus second of two systems on the same utterances, with its 95 % interval.

    `p` is twice the smaller share of draws on either side of zero, at most 1: small where the draws agree about which
    is better. A bootstrap's counterpart of a two-sided p-value, not an exact test.
    """

    value: float
    low: float
    high: float
    p: float


def intervals(answers: Predictions, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Pool the folds of each seed, and give every metric of one part of a run with its interval.

    The same seed gives the same draws, and the same interval.

    Returns:
        Of classes `ua`, `wa`, `macro_f1`, as shares of 1; of dimensions, for each, `ccc_<dimension>` and
        `ccc_<dimension>_of_speakers`, the mean of speakers' own. NaN where there is none.
    """
    (drawn,) = _drawn([answers], draws, seed)
    result = {}
    for name, values in figures(answers).items():
        result[name] = Interval(float(values.mean()), *_ends(drawn[name]), deviation(values))
    return result


def mean_of_folds(answers: Predictions) -> dict[str, dict]:
    """Give every metric as the mean over folds of the fold's figure, then over seeds.

    Folds of different sizes weigh the same here, which makes it another number than the pooled one.

    Returns:
        metric -> `value`, `std` over seeds (None with one) and `folds`, each fold's mean over its seeds.
    """
    _check_one_part(answers)
    seeds, folds = np.unique(answers.seed), answers.distinct("fold")
    runs, of_fold = [answers.seed == s for s in seeds], [answers.fold == f for f in folds]
    trials = [[figures(answers.rows(run & fold)) if (run & fold).any() else {} for fold in of_fold] for run in runs]
    result = {}
    for name in figures(answers):  # a fold that some seed has not run is left out of the means
        values = np.array([[trial[name].item() if trial else np.nan for trial in row] for row in trials])
        per_seed = mean_known(values, axis=1)
        result[name] = {
            "value": float(per_seed.mean()),
            "std": deviation(per_seed),
            "folds": dict(zip(folds, mean_known(values, axis=0).tolist(), strict=True)),
        }
    return result


def weighted(
    parts: Sequence[Predictions], weights: Sequence[float], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Sum the figures of several systems by weights, such as the points of a curve by their shares of its area.

    All of them are drawn together: they are figures of the same speakers. A system's figure is the mean over its seeds.

    Returns:
        The metrics of `intervals`; without a deviation.
    """
    parts = [part.like(parts[0]) for part in parts]
    drawn, points = _drawn(parts, draws, seed), [figures(part) for part in parts]
    result = {}
    for name in points[0]:
        value = sum(weight * point[name].mean() for weight, point in zip(weights, points, strict=True))
        totals = sum(weight * found[name] for weight, found in zip(weights, drawn, strict=True))
        result[name] = Interval(float(value), *_ends(np.asarray(totals)), None)
    return result


def paired(a: Predictions, b: Predictions, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Difference]:
    """Compare one part of two systems on the same utterances, with the same draws for both; their seeds may differ.

    Returns:
        The metrics of `intervals` -> first minus second.

    Raises:
        SereneError: one gives classes and the other dimensions, or the utterances, their speakers or labels differ.
    """
    b = b.like(a)
    for answers in (a, b):
        _check_one_part(answers)
    _check_same_utterances(a, b)
    drawn_a, drawn_b = _drawn([a, b], draws, seed)
    points = figures(a), figures(b)
    result = {}
    for name in points[0]:
        value = points[0][name].mean() - points[1][name].mean()
        difference = np.round(drawn_a[name] - drawn_b[name], 12)  # 1e-16 is no sign
        p = 2 * min(np.mean(difference <= 0), np.mean(difference >= 0))
        result[name] = Difference(float(value), *_ends(difference), float(min(1.0, max(p, 1 / draws))))
    return result


def tallies(predictions: Predictions) -> np.ndarray:
    """Pool the folds of each seed: int64 (seed, 3, class), seeds in ascending order."""
    truth, prediction, n_classes = predictions.truth, predictions.prediction, len(predictions.names)
    runs = (predictions.seed == seed for seed in np.unique(predictions.seed))
    return np.stack([tally(truth[run], prediction[run], n_classes) for run in runs])


def deviation(values: np.ndarray) -> float | None:
    """Sample deviation (n - 1) of runs' figures (seed,); None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def figures(answers: Predictions) -> dict[str, np.ndarray]:
    """Pool the folds of each seed: every metric per seed (seed,), seeds in ascending order."""
    return OF_TASK[answers.task.metric][0](answers)


def _drawn(systems: Sequence[Predictions], draws: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Draw speakers and utterances once for all systems of one kind: every metric of each (draw,), the mean over seeds.

    A seed that was not run on any drawn speaker has no say in that draw.
    """
    for answers in systems:
        _check_one_part(answers)
    drawn = OF_TASK[systems[0].task.metric][1](systems, draws, seed)
    return [{name: mean_known(values, axis=1) for name, values in found.items()} for found in drawn]


def _every_metric(counts: np.ndarray) -> dict[str, np.ndarray]:
    return {name: metric(counts) for name, metric in METRICS.items()}


OF_TASK: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {  # by a task's metric: figures, and drawn ones
    "ua": (lambda answers: _every_metric(tallies(answers)), lambda *how: [_every_metric(own) for own in draw(*how)]),
    "ccc": (ccc_figures, drawn_ccc),
}


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    """Give the ends of the 95 % interval of a figure (draw,); draws that have none are left out."""
    known = drawn[~np.isnan(drawn)]
    low, high = np.percentile(known, PERCENTILES) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _check_one_part(answers: Predictions) -> None:
    parts = sorted(answers.distinct("part"))
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
