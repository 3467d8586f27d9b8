"""The pictures of a corpus: how long its clips are, how many there are of which kind, and its voices in a plane.

Every function draws plain numbers and returns a matplotlib Figure that belongs to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from serene.reporting.picture_style import BLUE, DASHES, INK, PALETTE, dots, dress, legend, plain

BEYOND = PALETTE[4]
WIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of a bar of the histogram, in seconds
MOST_BARS = 80  # of the histogram
MOST_NAMED = 24  # speakers whose names fit beside their dots


def durations(seconds: np.ndarray, limit: float) -> Figure:
    """Draw how many clips are how long, with their mean, and apart from the others those beyond a limit.

    Args:
        seconds: duration of each clip (utterance,).
        limit: in seconds.
    """
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    mean, longest = float(seconds.mean()), float(seconds.max())
    width = next((width for width in WIDTHS if longest / width <= MOST_BARS), longest / MOST_BARS)
    edges = width * np.arange(int(longest / width) + 2)
    parts = [seconds[seconds <= limit], seconds[seconds > limit]]
    axes.hist(parts, bins=edges.tolist(), stacked=True, color=[BLUE, BEYOND], rwidth=0.92)
    first, second = sorted(
        [(mean, f"mean {mean:.2f} s"), (limit, f"{len(parts[1]) / len(seconds):.1%} are longer than {limit:g} s")]
    )
    for (at, words), side in ((first, "right"), (second, "left")):  # the two never meet
        axes.axvline(at, color=INK, lw=1.0, ls=DASHES)
        text = f"{words} " if side == "right" else f" {words}"
        axes.text(at, 1.01, text, transform=axes.get_xaxis_transform(), ha=side, va="bottom", size=9, color=INK)
    axes.set_xlim(0, 1.03 * max(longest, limit))
    axes.set_xlabel(f"duration in seconds, bars of {width:g} s")
    axes.set_ylabel("clips")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    dress(axes)
    return figure


def emotions(clips: Mapping[str, int]) -> Figure:
    """Draw how many clips (emotion -> number) there are of each emotion, in the order given, with their shares."""
    figure = Figure(figsize=(8.0, 0.8 + 0.34 * len(clips)), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, clips, "clips")
    return figure


def people(speakers: Mapping[str, int], clips: Mapping[str, int]) -> Figure:
    """Draw how many speakers and how many clips there are of each kind, side by side.

    Args:
        speakers: kind, such as a gender -> number of speakers; drawn in the order given.
        clips: the same kinds -> number of clips.
    """
    figure = Figure(figsize=(8.0, 0.8 + 0.34 * len(speakers)), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, speakers, "speakers")
    _bars(right, {kind: clips[kind] for kind in speakers}, "clips")
    right.tick_params(labelleft=False)
    return figure


def voices(points: np.ndarray, shares: Sequence[float], kinds: Sequence[str], names: Sequence[str]) -> Figure:
    """Draw each speaker as a dot in the plane of the two principal components, coloured by kind.

    Args:
        points: (speaker, component); the first two components are drawn.
        shares: of the variance that each component holds.
        kinds: what each speaker is (speaker,), such as the gender.
        names: of the speakers (speaker,), written beside the dots where there are few.
    """
    figure = Figure(figsize=(6.6, 5.4), layout="constrained")
    axes = figure.add_subplot()
    dots(axes, points, kinds, 38, counted=True)
    if len(names) <= MOST_NAMED:
        for name, (x, y) in zip(plain(names), points[:, :2].tolist(), strict=True):
            axes.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", size=7, color=INK)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.08)
    axes.set_xlabel(f"first component, {shares[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {shares[1]:.0%}")
    dress(axes)
    legend(axes, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4)
    return figure


def _bars(axes: Axes, counts: Mapping[str, int], what: str) -> None:
    """Draw lying bars, the first on top, each with its number and share."""
    total = sum(counts.values())
    bars = axes.barh(range(len(counts)), list(counts.values()), color=BLUE, height=0.72)
    axes.set_yticks(range(len(counts)), plain(counts))
    axes.bar_label(bars, [f"{n:,} ({n / total:.1%})" for n in counts.values()], padding=4, fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.4 * max(counts.values()))  # room for the numbers
    axes.set_xlabel(f"{total:,} {what}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))
    dress(axes, grid="x")
    axes.tick_params(axis="y", length=0)
