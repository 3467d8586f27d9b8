"""The bootstrap behind the intervals: speakers are drawn again with replacement, then utterances within each of them.

Utterances of one speaker resemble each other, so drawing utterances alone gives intervals that are too narrow for a
question about new speakers. A draw takes S of the S speakers with replacement, and for every drawn speaker as many of
that speaker's utterances, with replacement. All runs' answers to an utterance are drawn together.

Where the classes are the speakers (speaker identification), every draw keeps them all, once each, and only utterances
are drawn: a class left out of a draw would still be answered by mistake, and drawn twice it would weigh no more in UA.

What is drawn is tallies of classes, and moments of dimensions. With n utterances, values x given for truths y, and sums
of them::

    CCC = 2 cov / (var_x + var_y + (mean_x - mean_y)^2)                  (Lin 1989; population statistics)

The overall CCC is of the utterances of all speakers together, the CCC of speakers the mean over speakers of each one's
own (O-CCC and A-CCC in Tran et al. 2023). A speaker whose true values do not differ, such as one with a single
utterance, has no CCC, whatever a model answers, and is left out of that mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serene.evaluation.metrics import ANSWERS, HITS, TRUE, mean_known, ratio
from serene.evaluation.predictions import Predictions

AT_ONCE = 4096  # rows whose ids are compared
MOMENTS = 6  # sums over utterances of 1, y, x, yy, xx and yx
LEAST_SPREAD = 1e-10  # variance of a speaker's truths, as a share of everybody's, below which they are the same
ROUNDING = 1e-12  # deviation of everybody's truths, as a share of the largest, below which they are the same


def classes_are_speakers(predictions: Predictions) -> bool:
    """Say whether the task is to name the speaker."""
    return bool((np.array(predictions.names)[predictions.truth] == predictions.speaker).all())


@dataclass(frozen=True)
class Pool:
    """Rows of several systems, one system after the other, and which of them are drawn together."""

    utterance: np.ndarray  # number of each row's utterance (row,): all answers to one are drawn together
    run: np.ndarray  # number of each row's run (row,), a run being a seed of a system; its folds are pooled
    runs: tuple[int, ...]  # of each system, how many runs it has
    speaker: np.ndarray  # number of each utterance's speaker (utterance,)

    @classmethod
    def of(cls, systems: Sequence[Predictions]) -> Pool:
        """Number the runs, utterances and speakers of systems."""
        ids, speakers = (_joined([getattr(s, name) for s in systems]) for name in ("id", "speaker"))
        first, utterance = numbered(ids)
        speaker = np.unique(speakers[first], return_inverse=True)[1].astype(np.int32)
        seeds = [np.unique(s.seed, return_inverse=True) for s in systems]
        runs = tuple(len(found) for found, _ in seeds)
        begin = np.cumsum((0, *runs), dtype=np.int32)
        run = np.concatenate([(begin[place] + own).astype(np.int32) for place, (_, own) in enumerate(seeds)])
        return cls(utterance, run, runs, speaker)

    @property
    def speakers(self) -> int:
        """How many speakers there are."""
        return int(self.speaker.max()) + 1

    def of_speakers(self) -> list[np.ndarray]:
        """Give the numbers of each speaker's utterances, in order: in one pass over all of them."""
        return rows_of_each(self.speaker)

    def times(self, draws: int, rng: np.random.Generator, *, all_once: bool = False) -> np.ndarray:
        """Say how often each speaker is taken: as many with replacement as there are, or all once.

        Returns:
            uint8 (draw, speaker), the largest thing that a report of very many speakers holds: nobody is drawn as often
            as 256 times.
        """
        times = np.ones((draws, self.speakers), dtype=np.uint8)
        if not all_once:
            alike = np.full(self.speakers, 1 / self.speakers)
            for own in times:
                own[:] = rng.multinomial(self.speakers, alike)
        return times

    def apart(self, drawn: np.ndarray) -> list[np.ndarray]:
        """Give each system its own of what was drawn for all (draw, run, ...)."""
        return np.split(drawn, np.cumsum(self.runs)[:-1], axis=1)


def _joined(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Put columns under each other; one alone is not copied."""
    return np.concatenate(columns) if len(columns) > 1 else columns[0]


def rows_of_each(numbers: np.ndarray) -> list[np.ndarray]:
    """Give the rows of each number among numbers (row,), smallest first: in one pass over all of them."""
    order = np.argsort(numbers, kind="stable").astype(np.int32)
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def numbered(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number ids (row,) by their order: a row of each (utterance,), and each row's number; without a sorted copy."""
    order = np.argsort(ids, kind="stable")
    new = np.ones(len(ids), dtype=bool)
    for start in range(1, len(ids), AT_ONCE):
        own = order[start - 1 : start + AT_ONCE]
        new[start : start + AT_ONCE] = ids[own[1:]] != ids[own[:-1]]
    numbers = np.empty(len(ids), dtype=np.int32)
    numbers[order] = np.cumsum(new, dtype=np.int32) - 1
    return order[new], numbers


def draw(systems: Sequence[Predictions], draws: int, seed: int) -> list[np.ndarray]:
    """Draw speakers and utterances once for all systems of the same classes: per system float64 (draw, seed, 3, class).

    A speaker with n utterances who is drawn m times contributes m times n draws from the n: a multinomial count per
    utterance. Utterances of a speaker that all runs answered alike are interchangeable and counted together. The same
    seed gives the same draws.
    """
    rng = np.random.default_rng(seed)
    pool, n_classes = Pool.of(systems), len(systems[0].names)
    answers, runs = _answers(systems, pool), sum(pool.runs)
    times = pool.times(draws, rng, all_once=classes_are_speakers(systems[0]))
    total = np.zeros((draws, runs * 3 * n_classes))
    for speaker, own in enumerate(pool.of_speakers()):
        alike, count = np.unique(answers[own], axis=0, return_counts=True)
        drawn = rng.multinomial(times[:, speaker].astype(np.int64) * count.sum(), count / count.sum())
        places, counts = _counts(-alike, runs, n_classes)
        total[:, places] += drawn @ counts
    return pool.apart(total.reshape(draws, runs, 3, n_classes))


def _answers(systems: Sequence[Predictions], pool: Pool) -> np.ndarray:
    """List each utterance's cells (run, truth, prediction), as minus the cell's number: int64 (utterance, answer).

    The numbers of a row fall, and rows with fewer answers are filled up with less than any number: rows are sorted as
    the counts (utterance, run x truth x prediction) would be that they stand for, which are too many to keep.
    """
    n_classes, unit = len(systems[0].names), pool.utterance
    truth, prediction = (np.concatenate([getattr(s, name) for s in systems]) for name in ("truth", "prediction"))
    cell, many = (pool.run * n_classes + truth) * n_classes + prediction, np.bincount(unit)
    order = np.lexsort((cell, unit))
    place = np.arange(len(unit)) - np.repeat(np.cumsum(many) - many, many)
    table = np.full((len(many), many.max()), -sum(pool.runs) * n_classes**2)
    table[unit[order], place] = -cell[order]
    return table


def _counts(cells: np.ndarray, runs: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Tally cells (row, answer): the places in a flat (run, 3, class) that count, and how much each (row, place)."""
    row, answer = np.nonzero(cells < runs * n_classes**2)
    pair, prediction = np.divmod(cells[row, answer], n_classes)
    run, truth = np.divmod(pair, n_classes)
    right = truth == prediction
    parts = ((TRUE, row, run, truth), (HITS, row[right], run[right], truth[right]), (ANSWERS, row, run, prediction))
    found = np.concatenate([(3 * run + which) * n_classes + label for which, _, run, label in parts])
    places, column = np.unique(found, return_inverse=True)
    counts = np.zeros((len(cells), len(places)))
    np.add.at(counts, (np.concatenate([row for _, row, _, _ in parts]), column), 1.0)
    return places, counts


def ccc_figures(predictions: Predictions) -> dict[str, np.ndarray]:
    """Pool the folds of each seed: every metric per seed (seed,), seeds in ascending order.

    Returns:
        `ccc_<dimension>` and `ccc_<dimension>_of_speakers`; NaN where there is none.
    """
    sums = _sums(predictions)
    return _by_name(predictions, _ccc(sums.sum(axis=1)), mean_known(_own(sums), axis=1))


def ccc_of_each_speaker(predictions: Predictions) -> tuple[list[str], np.ndarray]:
    """Give every speaker's own CCC, the mean over seeds: names, and (speaker, dimension), NaN where there is none."""
    return np.unique(predictions.speaker).tolist(), mean_known(_own(_sums(predictions)), axis=0)


def drawn_ccc(systems: Sequence[Predictions], draws: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Draw speakers and utterances once for all systems of the same dimensions: every metric of each (draw, seed).

    In the mean over speakers one who is drawn m times counts m times, with the CCC of the utterances as they are: what
    chance does to the CCC of few utterances is in the speakers' differences already, and drawing these again would also
    pull each CCC towards 0. With one speaker, that mean is the overall CCC, and drawn as such.
    """
    rng, pool = np.random.default_rng(seed), Pool.of(systems)
    shape = (sum(pool.runs), len(systems[0].names), MOMENTS)
    answers = np.zeros((len(pool.speaker), *shape))
    np.add.at(answers, (pool.utterance, pool.run), np.concatenate(_moments(systems)))
    times = pool.times(draws, rng)
    total, of_speaker = np.zeros((draws, *shape)), np.zeros((pool.speakers, *shape))
    for speaker, own in enumerate(pool.of_speakers()):
        mine = answers[own].reshape(-1, np.prod(shape))
        counts = rng.multinomial(times[:, speaker].astype(np.int64) * len(mine), np.full(len(mine), 1 / len(mine)))
        total += (counts @ mine).reshape(draws, *shape)
        of_speaker[speaker] = mine.sum(axis=0).reshape(shape)
    overall, own = _ccc(total), _own(of_speaker)
    known, counted = np.nan_to_num(own).reshape(pool.speakers, -1), ~np.isnan(own).reshape(pool.speakers, -1)
    often = times.astype(float)
    means = ratio(often @ known, often @ counted).reshape(overall.shape) if pool.speakers > 1 else overall
    parts = zip(systems, pool.apart(overall), pool.apart(means), strict=True)
    return [_by_name(system, *found) for system, *found in parts]


def _by_name(predictions: Predictions, overall: np.ndarray, of_speakers: np.ndarray) -> dict[str, np.ndarray]:
    """Name the figures (..., dimension) of each dimension."""
    kinds = (("", overall), ("_of_speakers", of_speakers))
    return {f"ccc_{name}{of}": own[..., place] for place, name in enumerate(predictions.names) for of, own in kinds}


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
