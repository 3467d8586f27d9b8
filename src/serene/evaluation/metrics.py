"""UA, WA, macro-F1 and recall from counts per class, one table or a whole stack; the area under a curve of them.

With `n_c` utterances of class c (an emotion, or a speaker), `k_c` of them right and `p_c` answered as c::

    recall_c = k_c / n_c        UA = mean of recall_c over the classes that occur
    WA = sum k_c / sum n_c      F1_c = 2 k_c / (n_c + p_c), macro-F1 = mean over the classes that occur or are answered

These three counts per class are all that a metric needs: a tally. It grows with the classes and not, as a confusion
matrix does, with their square, so that a task of a thousand speakers can be drawn thousands of times.

UA is scikit-learn's balanced accuracy, WA its accuracy, macro-F1 its f1_score(average="macro").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from serene.errors import SereneError

SMALLEST = 1e-12  # probability, below which its logarithm is taken of this
TRUE, HITS, ANSWERS = range(3)  # rows of a tally: n_c, k_c and p_c


def tally(truth: np.ndarray, prediction: np.ndarray, n_classes: int) -> np.ndarray:
    """Count truths (utterance,) and predictions (utterance,) per class: int64 (3, class), rows n_c, k_c and p_c."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    rows = truth, truth[truth == prediction], prediction
    return np.stack([np.bincount(row, minlength=n_classes) for row in rows])


def confusion(truth: np.ndarray, prediction: np.ndarray, n_classes: int) -> np.ndarray:
    """Count truths (utterance,) against predictions (utterance,): int64 (true class, predicted class)."""
    cells = np.asarray(truth) * n_classes + np.asarray(prediction)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def per_class_recall(tally: np.ndarray) -> np.ndarray:
    """Share of each true class that was recognised (..., class), of (..., 3, class); NaN where it does not occur."""
    return ratio(tally[..., HITS, :], tally[..., TRUE, :])


def ua(tally: np.ndarray) -> np.ndarray:
    """Unweighted accuracy (...,): the mean recall over the classes that occur; NaN for an empty tally."""
    return mean_known(per_class_recall(tally))


def wa(tally: np.ndarray) -> np.ndarray:
    """Weighted accuracy (...,), that is the plain share of right answers; NaN for an empty tally."""
    return ratio(tally[..., HITS, :].sum(axis=-1), tally[..., TRUE, :].sum(axis=-1))


def macro_f1(tally: np.ndarray) -> np.ndarray:
    """Mean F1 (...,) over the classes that occur or are answered; NaN for an empty tally."""
    return mean_known(ratio(2 * tally[..., HITS, :], tally[..., TRUE, :] + tally[..., ANSWERS, :]))


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"ua": ua, "wa": wa, "macro_f1": macro_f1}


def ccc(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Concordance correlation coefficient (Lin 1989) of truths and values (utterance, ...), over the first axis.

    CCC = 2 cov / (var_truth + var_values + (mean_truth - mean_values)^2), of population statistics; NaN where both are
    one and the same constant, or there are no utterances.
    """
    truth, values = np.asarray(truth, dtype=float), np.asarray(values, dtype=float)
    if not len(truth):
        return np.full(truth.shape[1:], np.nan)
    means = truth.mean(axis=0), values.mean(axis=0)
    covariance = ((truth - means[0]) * (values - means[1])).mean(axis=0)
    return ratio(2 * covariance, truth.var(axis=0) + values.var(axis=0) + (means[0] - means[1]) ** 2)


def area_under_curve(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, *, log: bool = False) -> float:
    """Average a curve of straight lines between its points: its area over the range of x, in the unit of y.

    With log the lines are straight over log x, so that a doubling of x counts the same wherever it is. The learning
    curves of Gat et al. 2022 are summed up so: scores over the number of training clips per class.

    Raises:
        SereneError: fewer than two points, unlike numbers of x and y, x that do not increase, or, with log, x that are
            not above 0.
    """
    places, scores = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if places.ndim != 1 or places.shape != scores.shape or len(places) < 2:
        raise SereneError(
            f"An area under a curve needs an x and a y for each of at least two points; x is of shape {places.shape} "
            f"and y of {scores.shape}."
        )
    if not (np.diff(places) > 0).all():
        raise SereneError(f"The x of a curve have to increase; they are {places.tolist()}.")
    if log and places[0] <= 0:
        raise SereneError(f"On a logarithmic axis x have to be above 0; the first is {places[0]:g}.")
    places = np.log(places) if log else places
    return float(np.diff(places) @ (scores[1:] + scores[:-1]) / 2 / (places[-1] - places[0]))


def mean_known(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Average values over an axis, those that are NaN left out; NaN where all are."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide (...,), giving NaN where the whole is not above 0."""
    nothing = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)


def of_classes(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Give `ua`, `wa` and the mean negative logarithm of the true class's probability (`loss`), of clips as one.

    Both are (utterance, class); targets are shares, of which the largest is the true class.
    """
    truth = targets.argmax(axis=1)
    tallied = tally(truth, probabilities.argmax(axis=1), targets.shape[1])
    chosen = probabilities[np.arange(len(truth)), truth]
    loss = float(-np.log(np.maximum(chosen, SMALLEST)).mean())
    return {"ua": float(ua(tallied)), "wa": float(wa(tallied)), "loss": loss}


OF_TASK = {  # figures of clips as one (utterance, name), by the metric that a task names
    "ua": of_classes,
    "ccc": lambda targets, values: {"ccc": float(ccc(targets, values).mean())},
}
