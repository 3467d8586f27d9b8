"""How far each test speaker is from everybody else, in embeddings and in labels, and whether that goes with accuracy.

Tran et al. 2023 set speakers' performance against two Kullback-Leibler divergences, of the speaker's distribution from
the global one: of embeddings (feature shift) and of labels (label shift). They do not say how they are estimated; with
some ten clips of a speaker that decides what is seen, so both of ours are freed of what so few clips alone make of them
(they may come out just below zero). Both are in nats.

**Embeddings**: the leading principal components of the training clips (as many as hold `SHARE` of the variance, `MOST`
at most), scaled to variance 1 each, so that the global distribution is a standard normal one. A speaker with n clips,
means m and sample variances v has::

    KL = 1/2 sum over components of  v + m^2 - v/n - 1 - (log v - psi((n-1)/2) + log((n-1)/2))

with the digamma function psi. Were the clips normal, this would be right on average with any n from 2 on: v/n is what a
mean of n clips adds to m^2, and the last bracket is log v without its bias.

**Labels**: shares p of a speaker's labels in classes, or in `BINS` equal bins between the smallest and largest label of
all; and shares q of all other speakers' labels, with half a clip added to each class or bin::

    KL = sum of p log(p / q)  -  what it would be on average, were the speaker's n labels drawn from q
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import psi, xlogy
from scipy.stats import binom
from sklearn.decomposition import PCA

from serene.evaluation.predictions import Predictions
from serene.evaluation.resampling import numbered

SHARE, MOST = 0.9, 20  # of the embeddings' variance; and principal components at most
BINS = 10
LEAST_VARIANCE = 1e-6  # of a component, so that clips which are all alike have a logarithm
FEWEST = 5  # speakers that a correlation is taken over
NORMAL = 1.959964  # 97.5th percentile of the normal distribution
ALL_BUT = 1 - 1e-12  # of a correlation of 1, which has no Fisher transform
TARGET = "emotion"  # under which a task of classes is described
AGAINST = {
    "embedding": "the training clips of the same fold and seed",
    "labels": "the other speakers' clips in validation and test (the training's labels are not kept)",
}


def of_embeddings(training: np.ndarray, embeddings: np.ndarray, speakers: Sequence[str]) -> dict[str, float]:
    """Estimate how far each speaker's embeddings (utterance, feature) are from the training's; see the formula above.

    Returns:
        speaker -> divergence in nats; without those of a single clip, and of nobody where training clips are all alike.
    """
    training = np.asarray(training, dtype=np.float64)
    if len(training) < 2 or not training.std(axis=0).any():
        return {}
    most = min(MOST, len(training) - 1, training.shape[1])
    components = PCA(most, whiten=True, random_state=0).fit(training)
    enough = 1 + int(np.searchsorted(np.cumsum(components.explained_variance_ratio_), SHARE))
    places = components.transform(np.asarray(embeddings, dtype=np.float64))[:, :enough]
    names = np.asarray(speakers)
    own = {name: places[names == name] for name in np.unique(names).tolist()}
    return {name: normal_divergence(clips) for name, clips in own.items() if len(clips) > 1}


def normal_divergence(clips: np.ndarray) -> float:
    """Estimate the divergence of where clips (utterance, component) come from, from a standard normal distribution."""
    n = len(clips)
    mean, variance = clips.mean(axis=0), np.maximum(clips.var(axis=0, ddof=1), LEAST_VARIANCE)
    logarithm = np.log(variance) - psi((n - 1) / 2) + np.log((n - 1) / 2)
    return float((variance + mean**2 - variance / n - 1 - logarithm).sum() / 2)


def of_labels(answers: Predictions) -> dict[str, dict[str, float]]:
    """Estimate how far each test speaker's labels are from the other speakers' in validation and test; see above.

    A clip counts once, however often it was answered.

    Returns:
        dimension, or `emotion` for a task of classes -> speaker -> divergence in nats; without those of a single clip.
    """
    first, _ = numbered(answers.id)
    tested = {*np.unique(answers.speaker[answers.part == "test"]).tolist()}
    people, speaker = np.unique(answers.speaker[first], return_inverse=True)
    shifts = {}
    for target, (place, width) in PLACES[answers.task.gives](answers.names, answers.truth[first]).items():
        counts = np.bincount(speaker * width + place, minlength=len(people) * width).reshape(-1, width)
        everybody = counts.sum(axis=0)
        found = zip(people.tolist(), counts, strict=True)
        known = {name: own for name, own in found if name in tested and own.sum() > 1}
        shifts[target] = {name: label_divergence(own, everybody - own) for name, own in known.items()}
    return shifts


def label_divergence(own: np.ndarray, others: np.ndarray) -> float:
    """Estimate the divergence of labels counted in classes or bins (place,) from those of others."""
    n, expected = int(own.sum()), (others + 0.5) / (others + 0.5).sum()
    counts = np.arange(n + 1)
    terms = xlogy(counts / n, counts / n)  # of p log p, for each number of labels in a place
    by_chance = (binom.pmf(counts[:, None], n, expected) * terms[:, None]).sum() - xlogy(expected, expected).sum()
    return float(terms[own].sum() - xlogy(own / n, expected).sum() - by_chance)


def described(
    answers: Predictions, performance: Mapping[str, Mapping[str, float]], trials: Sequence[Mapping | None]
) -> dict[str, Any]:
    """Put both shifts of every test speaker, of validation and test, beside each other and correlate them.

    Performance is dimension, or `emotion` for a task of classes -> test speaker -> CCC or UA, NaN for none. Trials are
    of each fold and seed what `of_embeddings` found, to be averaged; None where it was not kept.
    """
    labels = of_labels(answers)
    people = list(next(iter(performance.values())))
    found = {name: [trial[name] for trial in trials if trial and name in trial] for name in people}
    embedding = {name: float(np.mean(values)) for name, values in found.items() if values}
    correlations = {}
    for target, reached in performance.items():
        apart, unlike, good = ([of.get(who, np.nan) for who in people] for of in (embedding, labels[target], reached))
        pairs = {"embedding": (apart, good), "labels": (unlike, good), "embedding_and_labels": (apart, unlike)}
        correlations[target] = {name: correlation(*pair) for name, pair in pairs.items()}
    return {
        "performance": answers.task.metric,
        "against": AGAINST,
        "correlations": correlations,
        "per_speaker": [
            {
                "speaker": who,
                "embedding": embedding.get(who),
                "labels": {target: shifts.get(who) for target, shifts in labels.items()},
                "performance": {target: reached[who] for target, reached in performance.items()},
            }
            for who in people
        ],
    }


def correlation(a: Sequence[float], b: Sequence[float]) -> dict[str, float] | None:
    """Correlate two values of each speaker (Pearson), those without either left out.

    Returns:
        `r`, ends of Fisher's 95 % interval, and `n` speakers; None for fewer than `FEWEST`, or without spread.
    """
    pairs = np.array([a, b], dtype=np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    n = pairs.shape[1]
    if n < FEWEST or (np.ptp(pairs, axis=1) == 0).any():
        return None
    a_apart, b_apart = pairs - pairs.mean(axis=1, keepdims=True)
    r = float(a_apart @ b_apart / np.sqrt((a_apart @ a_apart) * (b_apart @ b_apart)))
    middle, half = math.atanh(min(max(r, -ALL_BUT), ALL_BUT)), NORMAL / math.sqrt(n - 3)
    return {"r": r, "low": math.tanh(middle - half), "high": math.tanh(middle + half), "n": n}


def _of_classes(names: Sequence[str], truth: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
    return {TARGET: (truth, len(names))}


def _of_values(names: Sequence[str], truth: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
    found = {}
    for name, labels in zip(names, truth.T, strict=True):
        edges = np.linspace(labels.min(), labels.max(), BINS + 1)[1:-1]
        found[name] = np.searchsorted(edges, labels, side="right"), BINS
    return found


PLACES = {"probabilities": _of_classes, "values": _of_values}  # target -> place of each label (utterance,), of how many
