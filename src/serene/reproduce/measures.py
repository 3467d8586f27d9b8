"""What a trial can show of a row's trainings: named measures with their deviation and, for tests, their interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from serene.errors import SereneError
from serene.evaluation import confidence
from serene.evaluation.metrics import area_under_curve
from serene.evaluation.predictions import Predictions
from serene.experiment.run import Run, Trial
from serene.experiment.sections import Recipe
from serene.files import read_json_lines
from serene.published import Figure
from serene.reporting import plots

LAST = 10  # epochs that the Brown report averages over
DIMENSIONS = ("arousal", "valence", "dominance", "expressed_intensity")
SMALLEST = 1e-12  # probability, below which its logarithm is taken of this
TINY = np.finfo(np.float64).tiny  # the same, before a temperature is undone


@dataclass(frozen=True)
class Trained:
    """The trainings of one recipe: those folds and seeds of its run that it asks for.

    Attributes:
        run: the run, which may hold others too.
        recipe: what was asked for.
    """

    run: Run
    recipe: Recipe

    @cached_property
    def trials(self) -> list[Trial]:
        """The finished folds and seeds that were asked for."""
        folds, seeds = self.recipe.run, self.recipe.seeds
        return [c for c in self.run.finished() if c.seed in seeds and (folds is None or c.fold in folds)]

    @cached_property
    def predictions(self) -> Predictions:
        """All that they answered."""
        return Predictions.concatenate(trial.predictions() for trial in self.trials)

    def batches(self, trial: Trial) -> list[float]:
        """Read the training accuracy of each batch (batch,), in the order of training.

        Raises:
            SereneError: it was not kept.
        """
        path = trial.folder / "steps.jsonl"
        rows = read_json_lines(path) if path.exists() else []
        accuracies = [row["emotion/accuracy"] for row in rows if "emotion/accuracy" in row]
        if not accuracies:
            raise SereneError(
                f"{trial.folder} holds no training accuracy of single batches (steps.jsonl); delete it to train again."
            )
        return accuracies


@dataclass(frozen=True)
class Ours:
    """What was measured, in the unit of its column.

    Attributes:
        figure: mean and deviation.
        low, high: 95 % interval over speakers, of measures that have one.
    """

    figure: Figure
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> str:
        """The interval in words, with as many digits as the figure; blank without one."""
        digits = self.figure.digits
        return "" if self.low is None else f"{self.low:.{digits}f} to {self.high:.{digits}f}"


@dataclass(frozen=True)
class Measure:
    """A named measure.

    Attributes:
        of: takes place -> trainings; a measure that sums up no curve has a single place. None for trainings that have
            no such figure.
        interval: whether it comes with a 95 % interval over speakers.
    """

    of: Callable[[Mapping[float, Trained]], Ours | None]
    interval: bool = False

    @classmethod
    def only(cls, of: Callable[[Trained], Ours | None], interval: bool = False) -> Measure:
        """Measure the trainings of a single place."""
        return cls(lambda steps: of(*steps.values()), interval)


def pooled(trained: Trained, metric: str, part: str = "test") -> Ours:
    """Pool the folds of each seed, as Tu et al. 2019 do; mean and sample deviation over seeds."""
    return _of_interval(confidence.intervals(trained.predictions.select(part=part))[metric])


def concordance(trained: Trained, dimension: str, what: str) -> Ours | None:
    """CCC of a dimension, overall or as the mean over speakers, folds pooled; None where it was not learnt."""
    if dimension not in trained.predictions.names:
        return None
    interval = confidence.intervals(trained.predictions.select(part="test"))[f"ccc_{dimension}{what}"]
    return Ours(Figure(interval.value, interval.std, digits=3), interval.low, interval.high)


def over_folds(trained: Trained, metric: str) -> Ours:
    """Average the test's folds and seeds, each a figure of its own; sample deviation over them."""
    return _of_interval(confidence.intervals(_apart(trained))[metric])


def area(steps: Mapping[float, Trained], metric: str) -> Ours:
    """Average the steps' figures along their places: the area under the curve, divided by its range."""
    return _along(steps, metric, [area_under_curve(list(steps), row) for row in np.eye(len(steps))])


def mean_of_steps(steps: Mapping[float, Trained], metric: str) -> Ours:
    """Average the steps' figures, wherever they are."""
    return _along(steps, metric, [1 / len(steps)] * len(steps))


def validation_wa(trained: Trained, over_epochs: Callable[[Sequence[float]], float]) -> Ours:
    """Sum up the epochs of each training's validation accuracy; mean and sample deviation over trainings."""
    logs = [[row["validation_wa"] for row in trial.log()] for trial in trained.trials]
    return Ours(_over([100 * over_epochs(log) for log in logs]))


def loss(trained: Trained) -> Ours:
    """Cross entropy (natural logarithm) of what the network gives the test, pooled over folds; mean over seeds.

    It is plain, as the Brown report's: the temperature that validation's scores were fitted by is undone.
    """
    if trained.predictions.task.gives != "probabilities":
        raise SereneError(f"The cross entropy is of classes, and the runs of {trained.run.folder} give dimensions.")
    test = Predictions.concatenate(_untempered(trial) for trial in trained.trials)
    runs = [test.select(seed=seed) for seed in trained.recipe.seeds]
    chosen = [run.scores[np.arange(len(run)), run.truth] for run in runs]
    return Ours(_over([float(-np.log(np.maximum(c, SMALLEST)).mean()) for c in chosen], digits=3))


def spread(trained: Trained) -> Ours:
    """How far single batches' training accuracy deviates from its running mean, in the last half; in points."""
    return Ours(_over([100 * plots.spread(trained.batches(trial)) for trial in trained.trials]))


MEASURES = {
    "pooled_wa": Measure.only(lambda t: pooled(t, "wa"), interval=True),
    "pooled_validation_wa": Measure.only(lambda t: Ours(pooled(t, "wa", "validation").figure)),
    "wa": Measure.only(lambda t: over_folds(t, "wa"), interval=True),
    "ua": Measure.only(lambda t: over_folds(t, "ua"), interval=True),
    **{
        f"ccc_{dimension}{what}": Measure.only(partial(concordance, dimension=dimension, what=what), interval=True)
        for dimension in DIMENSIONS
        for what in ("", "_of_speakers")
    },
    "area": Measure(lambda steps: area(steps, "wa"), interval=True),
    "mean_of_steps": Measure(lambda steps: mean_of_steps(steps, "wa"), interval=True),
    "last_validation_wa": Measure.only(lambda t: validation_wa(t, lambda log: float(np.mean(log[-LAST:])))),
    "best_validation_wa": Measure.only(lambda t: validation_wa(t, max)),
    "loss": Measure.only(loss),
    "spread": Measure.only(spread),
}


def _untempered(trial: Trial) -> Predictions:
    """Give a trial's test with the probabilities that its logits have at a temperature of 1."""
    test, facts = trial.predictions().select(part="test"), trial.json("environment.json") or {}
    logits = facts.get("temperature", 1.0) * np.log(np.maximum(test.scores, TINY))  # but for a constant of each row
    return test.rescored(test.task.scores(logits))


def _along(steps: Mapping[float, Trained], metric: str, weights: Sequence[float]) -> Ours:
    return _of_interval(confidence.weighted([_apart(trained) for trained in steps.values()], weights)[metric])


def _apart(trained: Trained) -> Predictions:
    """Let every fold and seed of the test count as a run of its own, so that runs are averaged and not pooled."""
    predictions = trained.predictions.select(part="test")
    keys = np.array([f"{seed} {fold}" for seed, fold in zip(predictions.seed, predictions.fold, strict=True)])
    return replace(predictions, seed=np.unique(keys, return_inverse=True)[1])


def _of_interval(interval: confidence.Interval) -> Ours:
    figure = Figure(100 * interval.value, None if interval.std is None else 100 * interval.std)
    return Ours(figure, 100 * interval.low, 100 * interval.high)


def _over(values: Sequence[float], digits: int = 1) -> Figure:
    deviation = confidence.deviation(np.array(values))
    return Figure(float(np.mean(values)), deviation, digits)
