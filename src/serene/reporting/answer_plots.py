"""Pictures of answers: confusion of classes, agreement of dimensions, reliability of scores.

Every function returns a matplotlib Figure that belongs to nobody else. Fields are shades of one blue over a clear
ground, so that they read on white and on black.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from serene.reporting.picture_style import BLUE, DASHES, INK, dress, fields, plain, shade

MOST_DOTS = 1000  # of an agreement; above, a field shows how dense they are
CELLS = 48  # of that field, along each axis
LARGEST, SMALLEST = 600.0, 16.0  # areas of dots, in square points: of all clips, and of the fewest


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix (emotion, emotion): share of each true emotion, and the count below it."""
    n = len(classes)
    figure = Figure(figsize=(2.1 + 0.82 * n, 1.5 + 0.68 * n), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shade(shares), aspect="auto", interpolation="nearest")
    for row, column in np.ndindex(n, n):
        share, strong = shares[row, column], shares[row, column] > 0.62
        color = "#ffffff" if strong else INK
        weight = "bold" if row == column else "normal"
        axes.text(column, row - 0.12, f"{share:.0%}", ha="center", va="center", color=color, size=11, weight=weight)
        axes.text(column, row + 0.24, f"{matrix[row, column]:,.0f}", ha="center", va="center", color=color, size=8)
    axes.set_xticks(range(n), plain(classes), rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), plain(classes))
    axes.set_xlabel("recognised as")
    axes.set_ylabel("is")
    dress(axes, frame=False)
    return figure


def agreement(truth: np.ndarray, prediction: np.ndarray, dimensions: Sequence[str]) -> Figure:
    """Draw what was predicted over what is true, a field for each dimension, and the line on which both are the same.

    Many utterances are drawn as how dense they lie: the stronger the blue, the more.

    Args:
        truth: true values (utterance, dimension).
        prediction: predicted values (utterance, dimension).
        dimensions: name of each.
    """
    figure, places = fields(len(dimensions), 4.4, 4.2)
    for axes, name, y, x in zip(places, plain(dimensions), truth.T, prediction.T, strict=True):
        ends = min(y.min(), x.min()), max(y.max(), x.max())
        margin = 0.03 * (ends[1] - ends[0]) or 0.5
        low, high = ends[0] - margin, ends[1] + margin
        if len(y) > MOST_DOTS:
            counts, _, _ = np.histogram2d(x, y, bins=CELLS, range=((low, high), (low, high)))
            image = shade(np.where(counts > 0, np.sqrt(counts / counts.max()), np.nan))
            axes.imshow(image, extent=(low, high, low, high), origin="lower", interpolation="nearest")
        else:
            axes.scatter(y, x, s=18, color=BLUE, alpha=0.45, linewidths=0)
        axes.plot((low, high), (low, high), color=INK, lw=0.9, ls=DASHES)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_aspect("equal")
        axes.set_xlabel(f"true {name.strip()}")
        axes.set_ylabel(f"predicted {name.strip()}")
        dress(axes)
    return figure


def reliability(found: Mapping[str, Any]) -> Figure:
    """Draw share right over score on the left, and error over coverage on the right.

    Args:
        found: what `report.json` holds under `reliability`.
    """
    figure = Figure(figsize=(9.4, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _scores(left, found)
    _risk(right, found)
    for axes in (left, right):
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        dress(axes)
    return figure


def _scores(axes: Axes, found: Mapping[str, Any]) -> None:
    axes.plot((0, 1), (0, 1), color=INK, lw=0.9, ls=DASHES)
    scores, right = ([one[key] for one in found["bins"]] for key in ("score", "right"))
    axes.plot(scores, right, color=BLUE, lw=1.2)
    sizes = [max(SMALLEST, LARGEST * one["share"]) for one in found["bins"]]
    axes.scatter(scores, right, s=sizes, color=BLUE, alpha=0.75, linewidths=0, zorder=3)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("score of what was decided for")
    axes.set_ylabel("of these right")


def _risk(axes: Axes, found: Mapping[str, Any]) -> None:
    coverage, risk = found["curve"]["coverage"], found["curve"]["risk"]
    axes.axhline(risk[-1], color=INK, lw=0.9, ls=DASHES)
    axes.plot(coverage, risk, color=BLUE, lw=1.8)
    top = 1.15 * max(*risk, 0.05)
    for one in found["coverage"]:
        if one["risk"] is not None:
            axes.plot(one["answered"], one["risk"], "o", color=BLUE, ms=5)
            where = {"textcoords": "offset points", "xytext": (5, -12), "ha": "left", "size": 9, "color": INK}
            axes.annotate(f"{one['threshold']:g}", (one["answered"], one["risk"]), **where)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, min(top, 1.02))
    axes.set_xlabel("answered, the surest first")
    axes.set_ylabel("of these wrong")
