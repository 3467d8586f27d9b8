"""Measures of a table's trials, each computed again by hand from planted answers and logs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.experiment import recipe
from serene.experiment.recipe_file import RECIPES
from serene.experiment.run import Run
from serene.published import Figure
from serene.reproduce.measures import MEASURES, Ours, Trained
from serene.task import Task

CLASSES = ("anger", "sadness")


def answers(part: str, fold: str, seed: int, right: int, of: int) -> Predictions:
    """So many right answers, at a probability of 0.8 each; the wrong ones leave 0.1 for the truth."""
    truth = np.arange(of) % 2
    sure = np.where(np.arange(of) < right, 0.8, 0.1)
    scores = np.stack([np.where(truth == 0, sure, 1 - sure), np.where(truth == 1, sure, 1 - sure)], axis=1)
    return Predictions.from_scores(
        ids=[f"{fold}-{n}" for n in range(of)],
        speakers=[f"{fold}-{n % 3}" for n in range(of)],
        truth=truth,
        scores=scores,
        task=Task(CLASSES),
        part=part,
        fold=fold,
        seed=seed,
    )


def trained(folder: Path, right: Mapping[tuple[str, int], tuple[int, int]], **changes: object) -> Trained:
    """Plant (fold, seed) -> (right, of) as the test's answers."""
    made = recipe.load(RECIPES / "tu2019/iemocap.yaml:ser_only", ["seeds=[0, 1]"])
    run = Run(folder, made)
    for (fold, seed), (good, of) in right.items():
        answers("test", fold, seed, good, of).write(run.trial(fold, seed).folder / "predictions.csv")
    return Trained(run, replace(made, **changes))


def measured(name: str, steps: Mapping[float, Trained] | Trained) -> Ours:
    return MEASURES[name].of({0.0: steps} if isinstance(steps, Trained) else steps)


def deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


FOLDS = {("1", 0): (3, 12), ("1", 1): (6, 12), ("2", 0): (6, 8), ("2", 1): (4, 8)}


def test_folds_are_pooled_or_averaged(tmp_path: Path) -> None:
    trials = trained(tmp_path, FOLDS)
    pooled = measured("pooled_wa", trials)
    runs = [100 * (3 + 6) / 20, 100 * (6 + 4) / 20]
    assert (pooled.figure.value, pooled.figure.deviation) == pytest.approx((sum(runs) / 2, deviation(runs)))
    alone = [100 * right / of for right, of in FOLDS.values()]
    averaged = measured("wa", trials)
    assert averaged.figure.value == pytest.approx(sum(alone) / 4) != pytest.approx(pooled.figure.value)
    assert averaged.figure.deviation == pytest.approx(deviation(alone))
    for ours in (pooled, averaged):
        assert ours.low < ours.figure.value < ours.high
    # recall of anger (even places) and sadness (odd): of 12 the first 3 hold 2 and 1, and so on
    recalls = [(2 / 6 + 1 / 6) / 2, 6 / 12, (3 / 4 + 3 / 4) / 2, (2 / 4 + 2 / 4) / 2]
    assert measured("ua", trials).figure.value == pytest.approx(100 * sum(recalls) / 4)


def test_only_what_was_asked_for_counts(tmp_path: Path) -> None:
    others = {("1", 7): (12, 12), ("3", 0): (8, 8)}  # a seed and a fold that an earlier recipe ran
    trials = trained(tmp_path, FOLDS | others, run=("1", "2"))
    assert [(trial.fold, trial.seed) for trial in trials.trials] == list(FOLDS)
    assert measured("wa", trained(tmp_path, {}, run=("2",), seeds=(0,))).figure.value == 75
    assert measured("wa", trained(tmp_path, {}, run=("2",), seeds=(0,))).figure.deviation is None


def test_area_and_mean_of_steps(tmp_path: Path) -> None:
    right = {10.0: 2, 20.0: 4, 50.0: 7}
    steps = {x: trained(tmp_path / f"{x}", {("1-1", 0): (n, 10), ("1-2", 0): (n, 10)}) for x, n in right.items()}
    wa = [20.0, 40.0, 70.0]
    by_hand = ((20 - 10) * (wa[0] + wa[1]) / 2 + (50 - 20) * (wa[1] + wa[2]) / 2) / (50 - 10)
    area, mean = measured("area", steps), measured("mean_of_steps", steps)
    assert area.figure.value == pytest.approx(by_hand)
    assert mean.figure.value == pytest.approx(sum(wa) / 3)
    assert area.low < by_hand < area.high
    assert mean.low < mean.figure.value < mean.high


def test_the_points_of_a_curve_are_drawn_together(tmp_path: Path) -> None:
    """A curve whose points are all the same answers is as uncertain as one point, and not less."""
    one = trained(tmp_path, {("1", 0): (6, 12)})
    alone = measured("wa", one)
    area = measured("area", {10.0: one, 30.0: one})
    assert (area.low, area.high) == pytest.approx((alone.low, alone.high))


def test_an_interval_has_the_digits_of_its_figure() -> None:
    assert Ours(Figure(56.04), 51.26, 60.0).interval == "51.3 to 60.0"
    assert Ours(Figure(0.6652, digits=3), 0.6, 0.7).interval == "0.600 to 0.700"
    assert Ours(Figure(1.0)).interval == ""


def test_loss_by_hand(tmp_path: Path) -> None:
    trials = trained(tmp_path, {("1", 0): (6, 10), ("2", 0): (2, 2), ("1", 1): (5, 10), ("2", 1): (2, 2)})
    runs = [-(n * math.log(0.8) + (12 - n) * math.log(0.1)) / 12 for n in (8, 7)]
    ours = measured("loss", trials)
    assert (ours.figure.value, ours.figure.deviation) == pytest.approx((sum(runs) / 2, deviation(runs)))
    assert (ours.low, ours.figure.digits) == (None, 3)


def test_loss_is_plain_although_the_answers_are_tempered(tmp_path: Path) -> None:
    """Logits of log 0.8 and log 0.2 at temperatures of 2 and a half, as a run keeps them; and of a sure mistake."""
    trials = trained(tmp_path, {("1", 0): (4, 4), ("2", 0): (4, 4)})
    losses = []
    for trial, temperature in zip(trials.trials, (2.0, 0.5), strict=True):
        plain = [0.8, 0.8, 0.8, 1e-4 if temperature == 2 else 1e-2]  # of the truth: anger, sadness, anger, sadness
        losses += [-math.log(p) for p in plain]
        kept = trial.predictions()
        powers = [[p ** (1 / temperature), (1 - p) ** (1 / temperature)] for p in plain]
        right = [power / (power + other) for power, other in powers]
        scores = np.array([[r, 1 - r] if n % 2 == 0 else [1 - r, r] for n, r in enumerate(right)])
        kept.rescored(scores).write(trial.folder / "predictions.csv")
        (trial.folder / "environment.json").write_text(json.dumps({"temperature": temperature}))
    assert measured("loss", replace(trials, recipe=replace(trials.recipe, seeds=(0,)))).figure.value == pytest.approx(
        sum(losses) / 8, rel=1e-4
    )


def log(trained: Trained, name: str, rows: Mapping[tuple[str, int], Sequence[Mapping[str, float]]]) -> None:
    for (fold, seed), lines in rows.items():
        path = trained.run.trial(fold, seed).folder / name
        path.write_text("".join(json.dumps({"epoch": n, **line}) + "\n" for n, line in enumerate(lines, 1)))


def test_validation_over_epochs(tmp_path: Path) -> None:
    trials = trained(tmp_path, {("1", 0): (1, 2), ("1", 1): (1, 2)})
    first, second = [0.9, 0.0] + [0.5] * 9 + [0.6], [0.2, 0.4, 0.3]  # 12 epochs and 3
    log(trials, "log.jsonl", {("1", s): [{"validation_wa": x} for x in xs] for s, xs in enumerate((first, second))})
    last, best = measured("last_validation_wa", trials).figure, measured("best_validation_wa", trials).figure
    means = [100 * (9 * 0.5 + 0.6) / 10, 100 * 0.9 / 3]
    assert (last.value, last.deviation) == pytest.approx((sum(means) / 2, deviation(means)))
    assert (best.value, best.deviation) == pytest.approx((65, deviation([90, 40])))


def test_spread_of_batches(tmp_path: Path) -> None:
    trials = trained(tmp_path, {("1", 0): (1, 2), ("1", 1): (1, 2)})
    steady, restless = [0.5] * 200, [0.4, 0.6] * 100
    rows = {("1", s): [{"emotion/accuracy": x} for x in xs] for s, xs in enumerate((steady, restless))}
    log(trials, "steps.jsonl", rows)
    # the restless one is 0.1 away from its mean at every batch; a window of 31 has one batch more of either kind
    spread = measured("spread", trials).figure
    assert spread.value == pytest.approx((0 + 10) / 2, rel=0.05)
    assert trials.batches(trials.trials[1])[:2] == [0.4, 0.6]


def test_batches_that_were_not_kept_are_no_zero(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"holds no training accuracy of single batches \(steps.jsonl\)"):
        measured("spread", trained(tmp_path, {("1", 0): (1, 2)}))
