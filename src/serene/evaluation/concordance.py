"""CCC of dimensions: over all utterances, and the mean of the speakers' own; from moments, which can be drawn fast.

With n utterances, values x given for truths y, and sums of them::

    CCC = 2 cov / (var_x + var_y + (mean_x - mean_y)^2)                  (Lin 1989; population statistics)

The overall CCC is of the utterances of all speakers together, the CCC of speakers the mean over speakers of each one's
own (O-CCC and A-CCC in Tran et al. 2023). A speaker whose true values do not differ, such as one with a single
utterance, has no CCC, whatever a model answers, and is left out of that mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serene.evaluation.metrics import mean_known, ratio
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import Pool

MOMENTS = 6  # sums over utterances of 1, y, x, yy, xx and yx
LEAST_SPREAD = 1e-10  # variance of a speaker's truths, as a share of everybody's, below which they are the same
ROUNDING = 1e-12  # deviation of everybody's truths, as a share of the largest, below which they are the same


def figures(predictions: Predictions, rows: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
    """Pool the folds of each seed, of all rows or some: every metric per seed (seed,), seeds in ascending order.

    Returns:
        `ccc_<dimension>` and `ccc_<dimension>_of_speakers`; NaN where there is none.
    """
    part = predictions.rows(np.arange(len(predictions))[rows])
    sums = _sums(part)
    return _by_name(part, _ccc(sums.sum(axis=1)), mean_known(_own(sums), axis=1))


def of_each_speaker(predictions: Predictions) -> tuple[list[str], np.ndarray]:
    """Give every speaker's own CCC, the mean over seeds: names, and (speaker, dimension), NaN where there is none."""
    return np.unique(predictions.speaker).tolist(), mean_known(_own(_sums(predictions)), axis=0)


def drawn_figures(systems: Sequence[Predictions], draws: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Draw speakers and utterances once for all systems: every metric of each system (draw, seed).

    A speaker with n utterances who is drawn m times contributes m times n draws from the n, as in
    `serene.evaluation.resampling`. In the mean over speakers such a one counts m times, with the CCC of the utterances
    as they are: what chance does to the CCC of few utterances is in the speakers' differences already, and drawing
    these again would also pull each CCC towards 0. With one speaker, that mean is the overall CCC, and drawn as such.

    Args:
        systems: rows of one part of each, over the same dimensions in the same order.
        draws: how many.
        seed: of the draws; the same seed gives the same draws.
    """
    rng, pool = np.random.default_rng(seed), Pool.of(systems)
    shape = (sum(pool.runs), len(systems[0].names), MOMENTS)
    answers = np.zeros((len(pool.speaker), *shape))
    np.add.at(answers, (pool.utterance, pool.run), np.concatenate(_moments(systems)))
    times = pool.times(draws, rng)
    total, of_speaker = np.zeros((draws, *shape)), np.zeros((pool.speakers, *shape))
    for speaker in range(pool.speakers):
        mine = answers[pool.speaker == speaker].reshape(-1, np.prod(shape))
        counts = rng.multinomial(times[:, speaker] * len(mine), np.full(len(mine), 1 / len(mine)))
        total += (counts @ mine).reshape(draws, *shape)
        of_speaker[speaker] = mine.sum(axis=0).reshape(shape)
    overall, own = _ccc(total), _own(of_speaker)
    known, counted = np.nan_to_num(own).reshape(pool.speakers, -1), ~np.isnan(own).reshape(pool.speakers, -1)
    means = ratio(times @ known, times @ counted).reshape(overall.shape) if pool.speakers > 1 else overall
    parts = zip(systems, pool.apart(overall), pool.apart(means), strict=True)
    return [_by_name(system, *found) for system, *found in parts]


def _by_name(predictions: Predictions, overall: np.ndarray, of_speakers: np.ndarray) -> dict[str, np.ndarray]:
    """Name the figures (..., dimension) of each dimension."""
    named = {}
    for place, dimension in enumerate(predictions.names):
        named[f"ccc_{dimension}"] = overall[..., place]
        named[f"ccc_{dimension}_of_speakers"] = of_speakers[..., place]
    return named


def _moments(systems: Sequence[Predictions]) -> list[np.ndarray]:
    """Give what is summed of each row (row, dimension, moment), on a scale where all truths have mean 0, deviation 1.

    CCC is the same on any scale that truths and answers share; this one keeps sums of squares from drowning it.
    """
    truths = np.concatenate([s.truth for s in systems])
    middle, spread = truths.mean(axis=0), truths.std(axis=0)
    unit = np.where(spread > ROUNDING * np.abs(truths).max(axis=0), spread, 1.0)
    found = []
    for system in systems:
        y, x = (system.truth - middle) / unit, (system.prediction - middle) / unit
        found.append(np.stack([np.ones_like(y), y, x, y * y, x * x, y * x], axis=2))
    return found


def _sums(predictions: Predictions) -> np.ndarray:
    """Add up the moments of each seed and speaker (seed, speaker, dimension, moment)."""
    seeds, seed = np.unique(predictions.seed, return_inverse=True)
    speakers, speaker = np.unique(predictions.speaker, return_inverse=True)
    sums = np.zeros((len(seeds), len(speakers), len(predictions.names), MOMENTS))
    np.add.at(sums, (seed, speaker), _moments([predictions])[0])
    return sums


def _statistics(sums: np.ndarray) -> tuple[np.ndarray, ...]:
    """Turn summed moments (..., moment) into both means, both variances and the covariance; NaN of no utterances."""
    n = np.where(sums[..., 0] > 0, sums[..., 0], np.nan)
    y, x, yy, xx, yx = (sums[..., place] / n for place in range(1, MOMENTS))
    return y, x, yy - y * y, xx - x * x, yx - y * x


def _ccc(sums: np.ndarray) -> np.ndarray:
    y, x, spread_y, spread_x, together = _statistics(sums)
    whole = spread_y + spread_x + (y - x) ** 2
    return 2 * together / np.where(whole > LEAST_SPREAD, whole, np.nan)


def _own(sums: np.ndarray) -> np.ndarray:
    """Give CCC of single speakers' moments (..., moment): NaN where the true values do not differ."""
    return np.where(_statistics(sums)[2] > LEAST_SPREAD, _ccc(sums), np.nan)
