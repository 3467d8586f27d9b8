"""Speaker probe: how well fresh probes tell the speakers apart from what the model passes on.

Half of the utterances train the probes and the other half test them, and no text is in both halves, so that a probe
cannot score by recognising the sentence. A model's own speaker head proves nothing (it may just have died); a linear
probe alone proves little, since what is left in variances or products is invisible to it. Hence two probes, both fresh:

* linear: linear discriminant analysis with Ledoit and Wolf's shrinkage, which finds speakers in a few of many
  directions, where a logistic regression drowns in the others (`tests/evaluation/test_probes.py` plants one);
* non-linear: one hidden layer of 256 rectified units.

Both see features standardised by the training half; for the hidden layer they are divided by the square root of their
number, so that one setting suits narrow and wide embeddings. The equal-error rate is that of pairs of tested clips,
compared by the cosine of their discriminants.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from serene.errors import SereneError
from serene.evaluation.confidence import deviation

WithinHalves = Callable[[np.ndarray, np.ndarray], np.ndarray]
TRIES = 20  # splits of the texts, until every speaker is in both halves
MOST_EMBEDDINGS = 20_000
MOST_PAIRED = 1_000  # utterances whose pairs give the equal-error rate: half a million pairs at most


class TooFewClips(SereneError):
    """So few clips that no probe can be trained on half of them and tested on the other."""


def speaker_probe(
    embeddings: np.ndarray,
    speakers: Sequence[str],
    texts: Sequence[str | None] | None = None,
    *,
    draws: int = 5,
    seed: int = 0,
    within_halves: WithinHalves | None = None,
) -> dict:
    """Train and test fresh speaker probes on random halves of the utterances.

    Speakers who cannot be in both halves (one utterance, or one text where texts are known) are left out and counted.

    Args:
        embeddings: what the model passes on (utterance, feature); at most 20,000 are used, drawn at random.
        speakers: who speaks (utterance,).
        texts: what is said (utterance,), None for an utterance whose text nobody else speaks; None where unknown.
        draws: number of random splits that are averaged.
        seed: of the draws and the probes.
        within_halves: for embeddings made from anything that was standardised by speaker: makes those of some
            utterances anew, each speaker standardised inside each half alone. Statistics over both halves make a
            speaker's halves opposites, and push the probe far below chance. It is called with the rows' indices and
            whether each is in the training half, and returns (row, feature).

    Returns:
        `accuracy` (the better probe's), `linear` and `nonlinear` (each `mean` and sample deviation `std` over draws),
        `chance` (1 / speakers), `majority` (always answering the training half's most frequent speaker), `eer`
        (equal-error rate of same/different-speaker pairs of the tested half), `n_utterances`, `n_speakers`,
        `n_speakers_left_out`, `draws`, `text_disjoint`, `standardized`, and `note` where there is one.

    Raises:
        TooFewClips: fewer than two speakers with two utterances, or hardly more than that.
        SereneError: embeddings that are not finite or not a table.
    """
    embeddings, rng = np.asarray(embeddings, dtype=np.float32), np.random.default_rng(seed)
    _check(embeddings, speakers, texts)
    chosen = np.sort(rng.permutation(len(embeddings))[:MOST_EMBEDDINGS])
    names = np.asarray(speakers, dtype=np.str_)[chosen]
    group, note = _groups(names, None if texts is None else [texts[i] for i in chosen])
    kept = _usable(names, group)
    rows, speaker, group = chosen[kept], np.unique(names[kept], return_inverse=True)[1], group[kept]
    remade = within_halves or (lambda rows, _first: embeddings[rows])
    results = [_one_draw(rows, speaker, group, remade, rng) for _ in range(draws)]
    missing, n_speakers = max(result.pop("missing") for result in results), int(speaker.max()) + 1
    found = _over_draws(results) | {"n_utterances": len(rows), "n_speakers": n_speakers}
    found |= {"n_speakers_left_out": len(np.unique(names)) - n_speakers + int(missing), "draws": draws}
    found |= {"text_disjoint": texts is not None and note is None}
    found |= {"standardized": "by speaker inside each half" if within_halves else "by the training half"}
    return found | ({"note": note} if note else {})


def _usable(names: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mark the utterances (utterance,) of speakers who can be in both halves, or raise TooFewClips."""
    kept = _in_two_groups(names, group)
    usable = len(np.unique(names[kept]))
    if usable < 2:
        raise TooFewClips(
            f"A speaker probe needs two speakers with two utterances each; of {len(np.unique(names))} speakers and "
            f"{len(names)} utterances, {usable} can be used."
        )
    return kept


def _over_draws(results: Sequence[dict[str, float]]) -> dict:
    """Average what was found in several draws."""
    column = {name: np.array([result[name] for result in results]) for name in results[0]}
    both = {name: column[name] for name in ("linear", "nonlinear")}
    kinds = {name: {"mean": float(values.mean()), "std": deviation(values)} for name, values in both.items()}
    return {
        "accuracy": max(kind["mean"] for kind in kinds.values()),
        **kinds,
        **{name: float(column[name].mean()) for name in ("chance", "majority")},
        "eer": None if np.isnan(column["eer"]).all() else float(np.nanmean(column["eer"])),
    }


def equal_error_rate(same: np.ndarray, different: np.ndarray) -> float:
    """Find the error rate where misses and false alarms are equally frequent, by similarities of pairs (pair,).

    Returns:
        The mean of both rates where they are nearest: 0 for perfectly separated pairs, 0.5 for no difference.
    """
    scores = np.concatenate([same, different])
    is_same = np.concatenate([np.ones(len(same)), np.zeros(len(different))])
    order = np.argsort(scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    below_same = np.cumsum(is_same[order])[last_of_ties]
    below_all = np.flatnonzero(last_of_ties) + 1
    misses = np.append(0, below_same) / len(same)
    false_alarms = 1 - np.append(0, below_all - below_same) / len(different)
    nearest = np.argmin(np.abs(misses - false_alarms))
    return float((misses[nearest] + false_alarms[nearest]) / 2)


def _check(embeddings: np.ndarray, speakers: Sequence[str], texts: Sequence[str | None] | None) -> None:
    if embeddings.ndim != 2 or len(embeddings) != len(speakers) or (texts is not None and len(texts) != len(speakers)):
        raise SereneError(f"Probes need one embedding, speaker and text per utterance; got {embeddings.shape}.")
    if not np.isfinite(embeddings).all():
        raise SereneError("Some embeddings are not finite numbers (NaN or infinity), so they cannot be probed.")


def _one_draw(
    rows: np.ndarray, speaker: np.ndarray, group: np.ndarray, remade: WithinHalves, rng: np.random.Generator
) -> dict[str, float]:
    first, both = _split(speaker, group, rng)
    train, test = first & both[speaker], ~first & both[speaker]
    y_train, y_test = speaker[train], speaker[test]
    if len(y_train) <= both.sum():
        raise TooFewClips(f"Half of {len(speaker)} utterances are too few to tell {both.sum()} speakers apart.")
    x = np.asarray(remade(rows, first), dtype=np.float32)
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    scale = np.where(scale > 1e-6 * (1 + np.abs(mean)), scale, 1.0)
    x_train, x_test = (x[train] - mean) / scale, (x[test] - mean) / scale
    width = np.sqrt(x.shape[1], dtype=np.float32)
    nonlinear = _nonlinear(len(x_train), int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is a setting of the probe
        warnings.filterwarnings("ignore", "Only one sample available")  # a speaker's only clip in this half
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)  # embeddings that are all alike
        linear = _linear(x_train, y_train)
        nonlinear.fit(x_train / width, y_train)
    return {
        "linear": float(np.mean(linear.predict(x_test) == y_test)),
        "nonlinear": float(np.mean(nonlinear.predict(x_test / width) == y_test)),
        "chance": 1 / both.sum(),
        "majority": float(np.mean(y_test == np.bincount(y_train).argmax())),
        "eer": _eer(linear.transform(x_test), y_test, rng),
        "missing": float((~both).sum()),
    }


def _linear(x: np.ndarray, speaker: np.ndarray) -> LinearDiscriminantAnalysis:
    """Fit the discriminants; where a feature never changes within a speaker, by equal spread in all directions."""
    try:
        return LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(x, speaker)
    except np.linalg.LinAlgError:
        return LinearDiscriminantAnalysis(solver="eigen", covariance_estimator=_EqualSpread()).fit(x, speaker)


class _EqualSpread(BaseEstimator):
    """A covariance for scikit-learn that is the identity, whatever the data: discriminants then are nearest means."""

    def fit(self, x: np.ndarray) -> _EqualSpread:
        self.covariance_ = np.eye(x.shape[1])
        return self


def _nonlinear(n_train: int, state: int) -> MLPClassifier:
    batch: Any = min(max(8, n_train // 20), 200, n_train)
    return MLPClassifier((256,), learning_rate_init=3e-3, alpha=1e-3, batch_size=batch, max_iter=40, random_state=state)


def _eer(x: np.ndarray, speaker: np.ndarray, rng: np.random.Generator) -> float:
    """Compare all pairs of the tested half by the cosine of their discriminants, which the other half has learnt."""
    chosen = rng.permutation(len(x))[:MOST_PAIRED]
    directions = x[chosen] / np.maximum(np.linalg.norm(x[chosen], axis=1, keepdims=True), 1e-12)
    one, other = np.triu_indices(len(chosen), k=1)
    similarity = (directions @ directions.T)[one, other]
    same = speaker[chosen][one] == speaker[chosen][other]
    if not same.any():  # each speaker has one clip here
        return float("nan")
    return equal_error_rate(similarity[same], similarity[~same])


def _groups(names: np.ndarray, texts: Sequence[str | None] | None) -> tuple[np.ndarray, str | None]:
    """Number what must stay together (utterance,): a text, or the utterance alone; and note where texts cannot."""
    alone, speakers = np.arange(len(names)), len(np.unique(names))
    if texts is None:
        return alone, None
    labels = [("text", text) if text else ("utterance", str(i)) for i, text in enumerate(texts)]
    place = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    group = np.array([place[label] for label in labels])
    usable = len(np.unique(names[_in_two_groups(names, group)]))
    if usable >= max(2, speakers / 2):
        return group, None
    return alone, f"The halves share texts: only {usable} of {speakers} speakers say more than one text."


def _in_two_groups(names: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mark the utterances of speakers who have at least two groups (utterance,)."""
    pairs = {*zip(names.tolist(), group.tolist(), strict=True)}
    speakers, counts = np.unique([name for name, _ in pairs], return_counts=True)
    return np.isin(names, speakers[counts >= 2])


def _split(speaker: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split until all speakers are on both sides, or keep the best of 20 splits.

    Returns:
        bool (utterance,), True for the training half; bool (speaker,), True for speakers on both sides.
    """
    first, both = np.empty(0), np.zeros(1, dtype=bool)
    for attempt in range(TRIES):
        other = halves(speaker, group, rng)
        sides = (np.bincount(speaker[half], minlength=speaker.max() + 1) > 0 for half in (other, ~other))
        on_both = np.logical_and(*sides)
        if attempt == 0 or on_both.sum() > both.sum():
            first, both = other, on_both
        if both.all():
            break
    return first, both


def halves(speaker: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split whole groups into two halves, at random but so that each speaker's utterances are shared out evenly.

    Groups come in random order; each goes to the half where its speakers have less so far. Both are indices
    (utterance,); the answer is bool (utterance,), True for the training half.
    """
    surplus = np.zeros(speaker.max() + 1)  # utterances of each speaker in the training half, less those in the other
    first = np.zeros(len(speaker), dtype=bool)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    for place in rng.permutation(len(members)):
        rows = members[place]
        lean = surplus[speaker[rows]].sum()
        goes_first = lean < 0 or (lean == 0 and rng.random() < 0.5)
        first[rows] = goes_first
        np.add.at(surplus, speaker[rows], 1 if goes_first else -1)
    return first
