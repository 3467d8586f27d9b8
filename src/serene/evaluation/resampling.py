"""The bootstrap behind the intervals: speakers are drawn again with replacement, then utterances within each of them.

Utterances of one speaker resemble each other, so drawing utterances alone gives intervals that are too narrow for a
question about new speakers. A draw takes S of the S speakers with replacement, and for every drawn speaker as many of
that speaker's utterances, with replacement. All runs' answers to an utterance are drawn together.

Where the classes are the speakers (speaker identification), every draw keeps them all, once each, and only utterances
are drawn: a class left out of a draw would still be answered by mistake, and drawn twice it would weigh no more in UA.
"""

from __future__ import annotations

import numpy as np

from serene.evaluation.metrics import ANSWERS, HITS, TRUE
from serene.evaluation.predictions import Predictions


def classes_are_speakers(predictions: Predictions) -> bool:
    """Say whether the task is to name the speaker."""
    return bool((np.array(predictions.classes)[predictions.truth] == predictions.speaker).all())


def draw(systems: list[Predictions], draws: int, seed: int) -> list[np.ndarray]:
    """Draw speakers and utterances once for all systems: per system float64 (draw, seed, 3, class).

    A speaker with n utterances who is drawn m times contributes m times n draws from the n: a multinomial count per
    utterance. Utterances of a speaker that all runs answered alike are interchangeable and counted together.

    Args:
        systems: rows of one part of each, over the same classes in the same order.
        draws: how many.
        seed: of the draws; the same seed gives the same draws.
    """
    rng = np.random.default_rng(seed)
    n_classes, runs = len(systems[0].classes), [len(np.unique(s.seed)) for s in systems]
    ids, first, unit = np.unique(np.concatenate([s.id for s in systems]), return_index=True, return_inverse=True)
    speaker_of = np.concatenate([s.speaker for s in systems])[first]
    answers = _answers(systems, unit, len(ids))
    speakers, own = np.unique(speaker_of, return_inverse=True)
    if classes_are_speakers(systems[0]):
        times = np.ones((draws, len(speakers)), dtype=np.int64)
    else:
        times = rng.multinomial(len(speakers), np.full(len(speakers), 1 / len(speakers)), size=draws)
    total = np.zeros((draws, sum(runs) * 3 * n_classes))
    for column in range(len(speakers)):
        alike, count = np.unique(answers[own == column], axis=0, return_counts=True)
        drawn = rng.multinomial(times[:, column] * count.sum(), count / count.sum())
        places, counts = _counts(-alike, sum(runs), n_classes)
        total[:, places] += drawn @ counts
    total = total.reshape(draws, sum(runs), 3, n_classes)
    return np.split(total, np.cumsum(runs)[:-1], axis=1)


def _answers(systems: list[Predictions], unit: np.ndarray, n_units: int) -> np.ndarray:
    """List each utterance's cells (run, truth, prediction), as minus the cell's number: int64 (utterance, answer).

    The numbers of a row fall, and rows with fewer answers are filled up with less than any number: rows are sorted as
    the counts (utterance, run x truth x prediction) would be that they stand for, which are too many to keep.
    """
    n_classes, runs, cells = len(systems[0].classes), 0, []
    for system in systems:
        seeds, run = np.unique(system.seed, return_inverse=True)
        cells.append(((runs + run) * n_classes + system.truth) * n_classes + system.prediction)
        runs += len(seeds)
    cell, many = np.concatenate(cells), np.bincount(unit, minlength=n_units)
    order = np.lexsort((cell, unit))
    place = np.arange(len(unit)) - np.repeat(np.cumsum(many) - many, many)
    table = np.full((n_units, many.max()), -runs * n_classes**2)
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
