"""Draws are those of whole confusion matrices, without ever holding them; speakers who are the classes all stay."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from serene.evaluation.confidence import intervals, paired
from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import classes_are_speakers, draw
from serene.task import Task


def cell(truth, answer, ids, speakers, *, n_classes: int, seed: int, fold: str = "1", prefix: str = "c") -> Predictions:
    return Predictions.from_scores(
        ids=ids,
        speakers=speakers,
        truth=truth,
        scores=np.eye(n_classes)[answer],
        task=Task(tuple(f"{prefix}{i}" for i in range(n_classes))),
        part="test",
        fold=fold,
        seed=seed,
    )


def system(rng: np.random.Generator, cells: list[tuple[int, str, slice]]) -> Predictions:
    """Answer 60 utterances of 7 speakers at random, anew in every cell of a seed, a fold and some of the utterances."""
    speakers, truth = np.arange(60) % 7, np.arange(60) % 3
    ids, names = np.array([f"u{i}" for i in range(60)]), np.array([f"s{s}" for s in speakers])
    answers = [rng.integers(0, 3, 60) for _ in cells]
    return Predictions.concatenate(
        cell(truth[of], answer[of], ids[of], names[of], n_classes=3, seed=seed, fold=fold)
        for answer, (seed, fold, of) in zip(answers, cells, strict=True)
    )


def of_whole_matrices(systems: list[Predictions], draws: int, seed: int) -> list[np.ndarray]:
    """Count every utterance's cells of all confusion matrices, group the utterances by them, draw, and add up."""
    rng = np.random.default_rng(seed)
    ids = np.unique(np.concatenate([s.id for s in systems])).tolist()
    speaker_of = {i: s for p in systems for i, s in zip(p.id.tolist(), p.speaker.tolist(), strict=True)}
    tables = []
    for p in systems:
        runs = np.unique(p.seed).tolist()
        table = np.zeros((len(ids), len(runs), 3, 3))
        for name, run, truth, answer in zip(p.id, p.seed, p.truth, p.prediction, strict=True):
            table[ids.index(name), runs.index(run), truth, answer] += 1
        tables.append(table)
    flat = np.concatenate([table.reshape(len(ids), -1) for table in tables], axis=1)
    speakers = sorted(set(speaker_of.values()))
    times = rng.multinomial(len(speakers), np.full(len(speakers), 1 / len(speakers)), size=draws)
    total = np.zeros((draws, flat.shape[1]))
    for column, speaker in enumerate(speakers):
        rows = flat[[speaker_of[name] == speaker for name in ids]]
        alike, count = np.unique(rows, axis=0, return_counts=True)
        total += rng.multinomial(times[:, column] * count.sum(), count / count.sum()) @ alike
    ends = np.cumsum([table[0].size for table in tables])[:-1]
    found = []
    for part in np.split(total, ends, axis=1):
        matrices = part.reshape(draws, -1, 3, 3)
        found.append(np.stack([matrices.sum(3), np.einsum("drcc->drc", matrices), matrices.sum(2)], axis=2))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_draw_is_that_of_the_confusion_matrices_to_the_last_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    most, all_of = slice(0, 45), slice(None)
    systems = [
        system(rng, [(0, "1", all_of), (0, "2", most), (4, "1", all_of), (9, "2", most)]),
        system(rng, [(1, "1", most)]),
    ]
    ours, theirs = draw(systems, 50, seed), of_whole_matrices(systems, 50, seed)
    assert [part.shape for part in ours] == [(50, 3, 3, 3), (50, 1, 3, 3)]
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)


def speaker_task(n_classes: int, clips: int, *, seed: int = 0, right: float = 0.7) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_classes), clips)
    answer = np.where(rng.random(len(truth)) < right, truth, rng.integers(0, n_classes, len(truth)))
    names = [f"id{i}" for i in truth]
    ids = [f"u{i}" for i in range(len(truth))]
    return cell(truth, answer, ids, names, n_classes=n_classes, seed=seed, prefix="id")


def test_speakers_who_are_the_classes_are_all_in_every_draw() -> None:
    task = speaker_task(12, 5)
    assert classes_are_speakers(task)
    (drawn,) = draw([task], 100, 0)
    assert (drawn[:, 0, 0] == 5).all(), "as many clips of each speaker as there are"
    assert len(np.unique(drawn[:, 0, 1], axis=0)) > 90, "other clips in each draw"
    emotions = system(np.random.default_rng(0), [(0, "1", slice(None))])
    assert not classes_are_speakers(emotions)
    assert len(np.unique(draw([emotions], 100, 0)[0][:, 0, 0].sum(axis=1))) > 1, "speakers of 8 and of 9 clips drawn"


def test_the_interval_of_a_speaker_task_is_about_its_figures() -> None:
    """Were speakers left out of draws, those answered by mistake would pull macro-F1 below its own interval."""
    for name, found in intervals(speaker_task(40, 20), draws=500).items():
        assert found.low < found.value < found.high, name
    share = intervals(speaker_task(40, 20), draws=2000)["wa"]
    binomial = 1.96 * (share.value * (1 - share.value) / 800) ** 0.5
    assert (share.high - share.low) / 2 == pytest.approx(binomial, rel=0.15)
    better, worse = speaker_task(40, 20, right=0.9), speaker_task(40, 20, seed=1)
    assert paired(better, worse, draws=200)["ua"].low > 0


def test_the_draws_of_many_classes_take_little_memory() -> None:
    task = speaker_task(300, 3)
    tracemalloc.start()
    try:
        intervals(task, draws=300)
        paired(task, task, draws=300)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30e6, "confusion matrices of one system's draws alone would take 216 MB"
