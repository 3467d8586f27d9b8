"""The picture of reliability: how often scores are right, and how the risk falls where a model may abstain.

As in `serene.reporting.plots`, the function returns a matplotlib Figure that belongs to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from serene.reporting.picture_style import BLUE, INK, dress

DASHES = (0, (4, 3))
LARGEST, SMALLEST = 600.0, 16.0  # areas of dots, in square points: of all clips, and of the fewest


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
