"""UA, WA, macro-F1 and recall from confusion matrices, one or a whole stack of them; the area under a curve of them.

With `n_c` utterances of emotion c, `k_c` of them right and `p_c` utterances answered as c::

    recall_c = k_c / n_c        UA = mean of recall_c over the emotions that occur
    WA = sum k_c / sum n_c      F1_c = 2 k_c / (n_c + p_c), macro-F1 = mean over the emotions that occur or are answered

UA is scikit-learn's balanced accuracy, WA its accuracy, macro-F1 its f1_score(average="macro").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from serene.errors import SereneError


def confusion(truth: np.ndarray, prediction: np.ndarray, n_classes: int) -> np.ndarray:
    """Count truths (utterance,) against predictions (utterance,).

    Returns:
        int64 (emotion, emotion): a row per true emotion, a column per predicted one.
    """
    cells = np.asarray(truth) * n_classes + np.asarray(prediction)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def per_class_recall(confusion: np.ndarray) -> np.ndarray:
    """Share of each true emotion that was recognised (..., emotion); NaN where the emotion does not occur."""
    return _ratio(_diagonal(confusion), confusion.sum(axis=-1))


def ua(confusion: np.ndarray) -> np.ndarray:
    """Unweighted accuracy (...,): the mean recall over the emotions that occur; NaN for an empty matrix."""
    return _mean_known(per_class_recall(confusion))


def wa(confusion: np.ndarray) -> np.ndarray:
    """Weighted accuracy (...,), that is the plain share of right answers; NaN for an empty matrix."""
    return _ratio(_diagonal(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean F1 (...,) over the emotions that occur or are answered; NaN for an empty matrix."""
    return _mean_known(_ratio(2 * _diagonal(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2)))


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"ua": ua, "wa": wa, "macro_f1": macro_f1}


def area_under_curve(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, *, log: bool = False) -> float:
    """Average a curve of straight lines between its points: its area over the range of x, in the unit of y.

    With log the lines are straight over log x, so that a doubling of x counts the same wherever it is. The learning
    curves of Gat et al. 2022 are summed up so: scores over the number of training clips per class.

    Args:
        x: places (point,), increasing.
        y: scores (point,).
        log: whether the axis of x is logarithmic.

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


def _diagonal(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    nothing = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)


def _mean_known(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))
