"""Task: what is predicted, and what hangs on that: targets, scores, loss, headline metric, and the words for it.

A task is made of its names, in the order of a model's outputs. Whoever has to do something else for classes than for
dimensions asks the task, or looks up in a table of its own what the task names: its `loss`, its `metric`, what it
`gives`. Nobody asks which kind of task it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from serene.errors import SereneError

RATINGS = ("arousal", "valence", "dominance")  # the dimensions that have columns of their own in a manifest


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes:
        names: the classes or dimensions, in the order of a model's outputs.
        target: what a recipe calls it, an entry of `TASKS`.
        kind: `classes`, `votes`, `dimensions` or `speakers`.
        noun: what one of the names is, for people.
        loss: its name in `serene.models.heads.LOSSES`.
        metric: by which systems are compared, its name in `serene.evaluation.metrics`; larger is better.
        gives: what a model's scores are: `probabilities` of the names, of which the largest decides, or
            `values` of each.
        selects: what `training.select_on` may be, beside `last`.
        problem: the `problem_type` of transformers.
        joins: whether labels can be joined to others.
        columns: of a manifest, that are learnt beside `emotion`.
        speaker_probe: whether it makes sense to ask what is left of the speaker in the embedding.
    """

    names: tuple[str, ...]
    target: str = "emotion"

    kind: ClassVar[str] = "classes"
    noun: ClassVar[str] = "emotion"
    loss: ClassVar[str] = "cross_entropy"
    metric: ClassVar[str] = "ua"
    gives: ClassVar[Literal["probabilities", "values"]] = "probabilities"
    selects: ClassVar[tuple[str, ...]] = ("validation UA", "validation WA")
    problem: ClassVar[str] = "single_label_classification"
    joins: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ()
    speaker_probe: ClassVar[bool] = True

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics of a report whose mean is the headline figure."""
        return (self.metric,)

    def merit(self, metrics: Mapping[str, Any]) -> float:
        """Give the headline figure of a report's metrics, each with its `value`; larger is better."""
        values = [metrics[name]["value"] for name in self.headline]
        return sum(values) / len(values)

    def labels(self, clip: Any) -> bool:
        """Say whether an utterance has a label of this task."""
        return clip.emotion in self.names

    def truth(self, clips: Sequence[Any]) -> list[str] | np.ndarray:
        """Give the label of each utterance (utterance,), or float64 values (utterance, dimension)."""
        return [str(u.emotion) for u in clips]

    def targets(self, clips: Sequence[Any]) -> np.ndarray:
        """Give what is to be learnt of some utterances: float32 (utterance, name)."""
        place = {name: i for i, name in enumerate(self.names)}
        places = np.fromiter((place[str(u.emotion)] for u in clips), np.int64, len(clips))
        return np.eye(len(self.names), dtype=np.float32)[places]

    def scores(self, outputs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Turn a model's outputs (..., name) into scores: float64 probabilities that sum to 1, or values as they are.

        Logits are divided by the temperature first (Guo et al. 2017).
        """
        logits = np.asarray(outputs, dtype=np.float64) / temperature
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Decide by scores (utterance, name): int64 index of the class (utterance,), or the values as they are."""
        return scores.argmax(axis=1)

    def label(self, scores: Mapping[str, float]) -> str | None:
        """Decide for one of the names by their scores; None where values are no decision."""
        return max(scores, key=scores.__getitem__)

    @property
    def described(self) -> str:
        """Say in few words what is predicted: `6 emotions`, or `arousal and valence`."""
        return f"{len(self.names)} {self.noun}s"

    @property
    def label_column(self) -> str | None:
        """The label that is told, where it is not the ordinary one of the kind."""
        return None if self.target == "emotion" else self.target

    def temperature(self, fit: Callable[[], float]) -> float:
        """Give what logits are divided by, found by `fit`; 1 where there are none."""
        return fit()

    def scale_remark(self, corpus: str | None) -> str:
        """Say what has to be known of models that learnt from a corpus and are tested on another; mostly nothing."""
        return ""

    def check_abstain(self, threshold: float | None) -> None:
        """Refuse, by a SereneError, a threshold of abstaining that is no probability, or where scores are none."""
        if threshold is not None and not 0 <= threshold <= 1:
            raise SereneError(f"abstain is {threshold:g}; a probability was expected, from 0 to 1.")


@dataclass(frozen=True)
class Votes(Task):
    """The shares of listeners' votes for each emotion."""

    target: str = "votes"
    kind: ClassVar[str] = "votes"
    columns: ClassVar[tuple[str, ...]] = ("votes",)

    def targets(self, clips: Sequence[Any]) -> np.ndarray:
        """Give the shares of votes, float32 (utterance, emotion); a SereneError names a clip whose do not sum to 1."""
        shares = np.array([[(u.votes or {}).get(name, 0.0) for name in self.names] for u in clips], dtype=np.float64)
        for clip, total in zip(clips, shares.sum(axis=1).tolist(), strict=True):
            if abs(total - 1) > 1e-6:
                raise SereneError(
                    f"The votes of '{clip.id}' for {', '.join(self.names)} sum to {total:g}; shares that sum to 1 were "
                    "expected, as serene.corpora.labels.choose makes them."
                )
        return shares.astype(np.float32)


@dataclass(frozen=True)
class Dimensions(Task):
    """Numbers on their native scales, such as arousal and valence."""

    target: str = "dimensions"
    kind: ClassVar[str] = "dimensions"
    noun: ClassVar[str] = "dimension"
    loss: ClassVar[str] = "ccc"
    metric: ClassVar[str] = "ccc"
    gives: ClassVar[Literal["probabilities", "values"]] = "values"
    selects: ClassVar[tuple[str, ...]] = ("validation CCC",)
    problem: ClassVar[str] = "regression"
    joins: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = (*RATINGS, "numbers")

    @property
    def headline(self) -> tuple[str, ...]:
        """The overall CCC of each dimension."""
        return tuple(f"ccc_{name}" for name in self.names)

    def labels(self, clip: Any) -> bool:
        """Say whether an utterance has a value of each dimension."""
        return all(clip.number(name) is not None for name in self.names)

    def truth(self, clips: Sequence[Any]) -> np.ndarray:
        """Give the values of each clip: float64 (utterance, dimension)."""
        return np.array([[u.number(name) for name in self.names] for u in clips], dtype=np.float64)

    def targets(self, clips: Sequence[Any]) -> np.ndarray:
        """Give the values of each clip: float32 (utterance, dimension)."""
        return self.truth(clips).astype(np.float32)

    def scores(self, outputs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Give values (..., dimension) as float64; a temperature changes nothing."""
        return np.asarray(outputs, dtype=np.float64)

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Take the values as they are."""
        return scores

    def label(self, scores: Mapping[str, float]) -> str | None:
        """Decide nothing."""
        return None

    @property
    def described(self) -> str:
        """Name the dimensions."""
        return " and ".join(self.names)

    @property
    def label_column(self) -> None:
        """Their names say it."""
        return

    def temperature(self, fit: Callable[[], float]) -> float:
        """Give 1: there are no logits."""
        return 1.0

    def scale_remark(self, corpus: str | None) -> str:
        """Say on which scale the values are."""
        scale = f"the models give values on the scale of {corpus}: CCC takes another one for disagreement"
        return scale if corpus is not None else ""

    def check_abstain(self, threshold: float | None) -> None:
        """Refuse any threshold: there is no decision to abstain from."""
        if threshold is not None:
            raise SereneError(f"abstain is {threshold}; a probability was expected, and a model of classes.")


@dataclass(frozen=True)
class Speakers(Task):
    """Who speaks: the classes are the speakers themselves."""

    target: str = "speaker"
    kind: ClassVar[str] = "speakers"
    noun: ClassVar[str] = "speaker"
    joins: ClassVar[bool] = False
    speaker_probe: ClassVar[bool] = False


TASKS: dict[str, type[Task]] = {
    "emotion": Task,
    "emotion_perceived": Task,
    "votes": Votes,
    "dimensions": Dimensions,
    "speaker": Speakers,
}


def task_of(target: str, names: Sequence[str]) -> Task:
    """Make the task that a recipe's `labels.target` names."""
    return TASKS[target](tuple(names), target)


def task_of_model(config: Mapping[str, Any]) -> Task:
    """Make the task that a model folder's `config.json` describes by `emotions` and `dimensions`."""
    return (Dimensions if config["dimensions"] else Task)(tuple(config["emotions"]))


def task_of_report(content: Mapping[str, Any]) -> Task:
    """Make the task that a `report.json` is of."""
    return task_of(content["target"], content.get("dimensions") or content["classes"])
