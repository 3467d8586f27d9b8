"""Label-distribution calibration: predictions take on the label statistics of similar training speakers.

PLDC of Tran et al. 2023, "Personalized adaptation with pre-trained speech encoders for continuous emotion recognition"
(Interspeech). A speaker's vector is the mean of the clips' embeddings; the training speakers whose vectors have the
largest cosine with a test speaker's are the neighbours. With the mean `mu` and deviation `sigma` of the model's own
predictions for the test speaker, and `mu_bar` and `sigma_bar` of the neighbours' labels, each dimension becomes::

    sigma: (y - mu) / sigma * sigma_bar + mu      mu: y - mu + mu_bar      both: (y - mu) / sigma * sigma_bar + mu_bar

For classes, shares stand in for mean and deviation (prior correction, ours): p(c) is multiplied by
`(pi_bar(c) / pi_hat(c)) ** strength` and normalised, with the mean probability `pi_hat` over the test speaker's clips
and the mean share `pi_bar` of the class among the neighbours' labels.

Each test speaker is enrolled with all of their unlabelled clips; no label of theirs is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from serene.errors import SereneError

ONE_UTTERANCE = "one utterance"
CONFIDENT = "confidence not below the threshold"
NO_SPREAD = "zero spread of the predictions"
NO_SPREAD_THERE = "zero spread of the neighbours' labels"
SMALLEST_SPREAD = 1e-6  # of the largest value: less is rounding, which dividing by it would blow up
SHARES_APART = 1e-4  # from 1, which the sum of rounded shares may be


@dataclass(frozen=True, kw_only=True)
class LabelCalibration:
    """The settings of label-distribution calibration, a recipe's `calibration:` section.

    Args:
        neighbours: how many training speakers are asked; 15 in the released code.
        statistics: `mean_of_speakers` averages each neighbour's own statistics, as the paper has it; `pooled` takes
            those of all their labels together, as the released code does.
        mode: what dimensions take on: the neighbours' deviation (`sigma`, the paper's best), mean (`mu`) or both.
        threshold: only speakers whose confidence, the mean cosine of the neighbours, is *below* it are calibrated, as
            in a block of the released code that is commented out; all without it.
        limits: the ends of the dimensions' scale, at which calibrated values are cut off; nowhere without it.
        strength: how much of the classes' prior is corrected, from 0 on; 1 is all of it.
    """

    neighbours: int = 15
    statistics: Literal["mean_of_speakers", "pooled"] = "mean_of_speakers"
    mode: Literal["sigma", "mu", "both"] = "sigma"
    threshold: float | None = None
    limits: tuple[float, float] | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, choices in (("statistics", ("mean_of_speakers", "pooled")), ("mode", ("sigma", "mu", "both"))):
            if getattr(self, name) not in choices:
                raise SereneError(f"calibration.{name} is '{getattr(self, name)}'; choices: {', '.join(choices)}.")
        if self.neighbours < 1:
            raise SereneError(f"calibration.neighbours is {self.neighbours}; at least 1 speaker was expected.")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise SereneError(f"calibration.threshold is {self.threshold}; a cosine, from -1 to 1, was expected.")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise SereneError(
                f"calibration.limits is {list(self.limits)}; the lower end of the scale and then the upper one were "
                "expected, such as [1, 7]."
            )
        if not 0 <= self.strength < math.inf:
            raise SereneError(f"calibration.strength is {self.strength}; a number from 0 on was expected.")


@dataclass(frozen=True)
class Spoken:
    """What is known of some speakers' clips (utterance,): predictions of test speakers, or training speakers' labels.

    The table has values (utterance, dimension) on the labels' scale; or probabilities, one-hot labels or shares of
    votes (utterance, emotion). A speaker's vector (feature,) is what the voice is like, by one encoder for all.
    """

    table: np.ndarray
    speakers: Sequence[str]
    vectors: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        """Refuse what does not fit together, or is not finite."""
        if self.table.ndim != 2 or not len(self.table) == len(self.speakers) > 0 or not np.isfinite(self.table).all():
            raise SereneError(
                f"A label calibration needs a row of finite numbers for each of {len(self.speakers)} utterances; it "
                f"got an array of shape {self.table.shape}."
            )
        for name in self.rows:
            if name not in self.vectors or not np.isfinite(self.vectors[name]).all():
                raise SereneError(f"A label calibration needs a vector of finite numbers for the speaker '{name}'.")

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """The rows of each speaker, sorted by name."""
        return _rows(self.speakers)

    def directions(self, names: Sequence[str]) -> np.ndarray:
        """Bring some speakers' vectors to length 1 (speaker, feature); one of zeros has cosine 0 with every other."""
        vectors = np.array([self.vectors[name] for name in names], dtype=np.float64)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)


@dataclass(frozen=True)
class Neighbourhood:
    """Whom a test speaker was calibrated by, and what that changed."""

    neighbours: tuple[str, ...]  # training speakers, the most similar first
    confidence: float  # their mean cosine
    before: np.ndarray  # of the model's own predictions: mean and deviation (2, dimension), or shares (1, emotion)
    similar: np.ndarray  # the same of the neighbours' labels
    after: np.ndarray  # the same of what came out
    left_alone: tuple[str | None, ...]  # why, for each dimension, None where it is not; a single entry for classes


@dataclass(frozen=True)
class Calibrated:
    """Calibrated predictions, and what was done for each test speaker, sorted by name."""

    outputs: np.ndarray  # float64 values (utterance, dimension) or probabilities (utterance, emotion), order as given
    speakers: dict[str, Neighbourhood]


def speaker_vectors(embeddings: np.ndarray, speakers: Sequence[str]) -> dict[str, np.ndarray]:
    """Average each speaker's embeddings (utterance, feature): speaker -> float64 (feature,), sorted by name."""
    table = np.asarray(embeddings, dtype=np.float64)
    return {speaker: table[rows].mean(axis=0) for speaker, rows in _rows(speakers).items()}


def calibrate_values(predicted: Spoken, known: Spoken, settings: LabelCalibration) -> Calibrated:
    """Give each test speaker's values the spread, the mean or both of similar training speakers' labels.

    Left unchanged are speakers with one utterance, speakers at or above the threshold, and dimensions in which a
    speaker's predictions or the neighbours' labels are all alike. A training speaker with a single label has no spread
    and is nobody's neighbour (ours).

    Raises:
        SereneError: fewer training speakers than neighbours are asked for, or tables that do not fit each other.
    """
    outputs, told = predicted.table.astype(np.float64), {}
    for name, near in _nearest(predicted, known, settings):
        rows = predicted.rows[name]
        own, before, similar = outputs[rows], _moments(outputs[rows]), near.sum_up(_moments)
        alone = near.left_alone(len(rows), settings)
        flat = zip(_is_flat(before, own), _is_flat(similar, np.concatenate(near.labels)), strict=True)
        reasons = tuple(alone or (NO_SPREAD if mine else NO_SPREAD_THERE if theirs else None) for mine, theirs in flat)
        changes = np.array([reason is None for reason in reasons])
        scale = np.ones(len(changes))
        if settings.mode != "mu":
            np.divide(similar[1], before[1], out=scale, where=changes)
        shifted = (own - before[0]) * scale + (before if settings.mode == "sigma" else similar)[0]
        shifted = shifted if settings.limits is None else shifted.clip(*settings.limits)
        outputs[rows] = np.where(changes, shifted, own)
        told[name] = Neighbourhood(near.names, near.confidence, before, similar, _moments(outputs[rows]), reasons)
    return Calibrated(outputs, told)


def calibrate_scores(predicted: Spoken, known: Spoken, settings: LabelCalibration) -> Calibrated:
    """Correct each test speaker's class probabilities by the classes' shares among similar speakers' labels (ours).

    Both shares count as if they were of the test speaker's clips and one further clip of each class: so no class is
    ruled out, few clips correct little, and shares that agree change nothing.

    Raises:
        SereneError: as `calibrate_values`, or rows that are not shares.
    """
    for table in (predicted.table, known.table):
        if (table < 0).any() or (np.abs(table.sum(axis=1) - 1) > SHARES_APART).any():
            raise SereneError("Probabilities and labels of classes have to be shares that sum to 1 in every row.")
    outputs, told = predicted.table.astype(np.float64), {}
    for name, near in _nearest(predicted, known, settings):
        rows = predicted.rows[name]
        own, before, similar = outputs[rows], _shares(outputs[rows]), near.sum_up(_shares)
        reason = near.left_alone(len(rows), settings)
        if reason is None:
            expected, found = (len(rows) * share[0] + 1 for share in (similar, before))  # one clip more of each class
            corrected = own * (expected / found) ** settings.strength
            outputs[rows] = corrected / corrected.sum(axis=1, keepdims=True)
        told[name] = Neighbourhood(near.names, near.confidence, before, similar, _shares(outputs[rows]), (reason,))
    return Calibrated(outputs, told)


@dataclass(frozen=True)
class _Near:
    """The neighbours of a test speaker, their mean cosine, and each one's labels (utterance, dimension)."""

    names: tuple[str, ...]
    confidence: float
    labels: list[np.ndarray]
    pooled: bool

    def sum_up(self, statistics: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Give the statistics of the neighbours' labels, of all together or averaged over neighbours."""
        if self.pooled:
            return statistics(np.concatenate(self.labels))
        return np.mean([statistics(own) for own in self.labels], axis=0)

    def left_alone(self, n_utterances: int, settings: LabelCalibration) -> str | None:
        """Say why the speaker as a whole is left unchanged, if so."""
        if n_utterances == 1:
            return ONE_UTTERANCE
        return CONFIDENT if settings.threshold is not None and self.confidence >= settings.threshold else None


def _nearest(predicted: Spoken, known: Spoken, settings: LabelCalibration) -> Iterator[tuple[str, _Near]]:
    """Give each test speaker's neighbours; whatever does not fit is said before the first."""
    candidates = [name for name, rows in known.rows.items() if len(rows) > 1]
    if len(candidates) < settings.neighbours:
        raise SereneError(
            f"calibration.neighbours is {settings.neighbours}, and {len(candidates)} training speakers have two "
            "labelled clips or more. Set it to at most that, or leave the calibration out."
        )
    tested, directions = predicted.directions(list(predicted.rows)), known.directions(candidates)
    if predicted.table.shape[1] != known.table.shape[1] or tested.shape[1] != directions.shape[1]:
        raise SereneError("A label calibration needs labels as wide as the predictions, and vectors of one encoder.")
    for name, cosines in zip(predicted.rows, tested @ directions.T, strict=True):
        nearest = np.argsort(-cosines, kind="stable")[: settings.neighbours]  # equal ones in the order of their names
        names = tuple(candidates[i] for i in nearest)
        labels = [known.table[known.rows[near]].astype(np.float64) for near in names]
        yield name, _Near(names, float(cosines[nearest].mean()), labels, settings.statistics == "pooled")


def _rows(speakers: Sequence[str]) -> dict[str, np.ndarray]:
    """Give each speaker's rows, speakers sorted by name."""
    names, who = np.unique(np.asarray(speakers, dtype=np.str_), return_inverse=True)
    return {name: np.flatnonzero(who == place) for place, name in enumerate(names.tolist())}


def _moments(table: np.ndarray) -> np.ndarray:
    """Give mean and population deviation (2, dimension)."""
    return np.stack([table.mean(axis=0), table.std(axis=0)])


def _shares(table: np.ndarray) -> np.ndarray:
    """Give the mean share of each class (1, emotion)."""
    return table.mean(axis=0, keepdims=True)


def _is_flat(moments: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Say in which dimensions (dimension,) the values (utterance, dimension) of these moments are all alike."""
    return moments[1] <= SMALLEST_SPREAD * np.abs(table).max(axis=0)
