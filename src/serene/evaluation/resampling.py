"""The bootstrap behind the intervals: speakers are drawn again with replacement, then utterances within each of them.

Utterances of one speaker resemble each other, so drawing utterances alone gives intervals that are too narrow for a
question about new speakers. A draw takes S of the S speakers with replacement, and for every drawn speaker as many of
that speaker's utterances, with replacement. All runs' answers to an utterance are drawn together.

Where the classes are the speakers (speaker identification), every draw keeps them all, once each, and only utterances
are drawn: a class left out of a draw would still be answered by mistake, and drawn twice it would weigh no more in UA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serene.evaluation.metrics import ANSWERS, HITS, TRUE
from serene.evaluation.predictions import Predictions


def classes_are_speakers(predictions: Predictions) -> bool:
    """Say whether the task is to name the speaker."""
    return bool((np.array(predictions.names)[predictions.truth] == predictions.speaker).all())


@dataclass(frozen=True)
class Pool:
    """Rows of several systems, one system after the other, and which of them are drawn together.

    Attributes:
        utterance: number of each row's utterance (row,): all answers to one are drawn together.
        run: number of each row's run (row,), a run being a seed of a system; its folds are pooled.
        runs: of each system, how many runs it has.
        speaker: number of each utterance's speaker (utterance,).
    """

    utterance: np.ndarray
    run: np.ndarray
    runs: tuple[int, ...]
    speaker: np.ndarray

    @classmethod
    def of(cls, systems: Sequence[Predictions]) -> Pool:
        """Number the runs, utterances and speakers of systems."""
        ids = np.concatenate([s.id for s in systems])
        _, first, utterance = np.unique(ids, return_index=True, return_inverse=True)
        speaker = np.unique(np.concatenate([s.speaker for s in systems])[first], return_inverse=True)[1]
        seeds = [np.unique(s.seed, return_inverse=True) for s in systems]
        runs = tuple(len(found) for found, _ in seeds)
        begin = np.cumsum((0, *runs))
        run = np.concatenate([begin[place] + own for place, (_, own) in enumerate(seeds)])
        return cls(utterance, run, runs, speaker)

    @property
    def speakers(self) -> int:
        """How many speakers there are."""
        return int(self.speaker.max()) + 1

    def times(self, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Draw as many speakers as there are, with replacement: how often each is taken (draw, speaker)."""
        return rng.multinomial(self.speakers, np.full(self.speakers, 1 / self.speakers), size=draws)

    def apart(self, drawn: np.ndarray) -> list[np.ndarray]:
        """Give each system its own of what was drawn for all (draw, run, ...)."""
        return np.split(drawn, np.cumsum(self.runs)[:-1], axis=1)


def draw(systems: Sequence[Predictions], draws: int, seed: int) -> list[np.ndarray]:
    """Draw speakers and utterances once for all systems: per system float64 (draw, seed, 3, class).

    A speaker with n utterances who is drawn m times contributes m times n draws from the n: a multinomial count per
    utterance. Utterances of a speaker that all runs answered alike are interchangeable and counted together.

    Args:
        systems: rows of one part of each, over the same classes in the same order.
        draws: how many.
        seed: of the draws; the same seed gives the same draws.
    """
    rng = np.random.default_rng(seed)
    pool, n_classes = Pool.of(systems), len(systems[0].names)
    answers, runs = _answers(systems, pool), sum(pool.runs)
    if classes_are_speakers(systems[0]):
        times = np.ones((draws, pool.speakers), dtype=np.int64)
    else:
        times = pool.times(draws, rng)
    total = np.zeros((draws, runs * 3 * n_classes))
    for speaker in range(pool.speakers):
        alike, count = np.unique(answers[pool.speaker == speaker], axis=0, return_counts=True)
        drawn = rng.multinomial(times[:, speaker] * count.sum(), count / count.sum())
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
