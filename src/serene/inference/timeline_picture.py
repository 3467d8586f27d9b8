"""A timeline as a picture: scores of classes as stacked areas over a strip of labels; dimensions as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter

from serene.inference.emotion import Segment
from serene.inference.segments import borders
from serene.inference.timeline import Timeline
from serene.reporting.style import INK, PALETTE, dress, plain

MOST_POINTS = 900  # along the time axis; above, neighbours are averaged
LINE_HEIGHT = 0.08  # of a name beside the areas, at most, as a share of their height
LETTER = 0.0095  # of a label in the strip, as a share of its width
STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800)  # seconds
MOST_TICKS = 10

Layout = tuple[Figure, Sequence[Axes], Axes]
"""A figure, its fields of scores, and the axes below which time is written."""


def figure_of(line: Timeline) -> Figure:
    """Draw a timeline; what holds no speech is left blank, over a faint ground."""
    edges, scores = _points(line)
    figure, fields, bottom = LAYOUTS[line.task.gives](line, edges, scores)
    blank = [segment for segment in line.emotion.segments if not segment.scores]
    for axes in fields:
        _bars(axes, blank, INK, 0.06)
        dress(axes)
    _time(bottom, line.emotion.duration)
    fields[0].set_title(plain([line.name.rpartition("/")[2]])[0], loc="left", size=11, color=INK)
    return figure


def _lines(line: Timeline, edges: np.ndarray, scores: np.ndarray) -> Layout:
    figure = Figure(figsize=(10.0, 1.0 + 1.8 * len(line.task.names)), layout="constrained")
    fields = figure.subplots(len(line.task.names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name, values, color in zip(fields, plain(line.task.names), scores.T, _colors(line), strict=True):
        for x, y in _runs(edges, values[:, None]):
            axes.plot(x, y[:, 0], color=color, lw=1.8)
        axes.set_ylabel(name.strip())
    return figure, list(fields), fields[-1]


def _stacked(line: Timeline, edges: np.ndarray, scores: np.ndarray) -> Layout:
    """Draw probabilities as stacked areas over a strip of labels."""
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    field, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 0.14])
    _areas(field, edges, scores, line)
    _strip(bottom, line)
    return figure, [field], bottom


def _points(line: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """Give the times between which scores stand (point + 1,), and these (point, emotion); NaN without speech."""
    nothing = dict.fromkeys(line.task.names, np.nan)
    scores = np.array([[(window.scores or nothing)[name] for name in line.task.names] for window in line.windows])
    edges, together = np.array(borders(line.windows, line.hop)), -(-len(scores) // MOST_POINTS)
    if together == 1:
        return edges, scores
    starts = np.arange(0, len(scores), together)
    spoken = np.add.reduceat(~np.isnan(scores), starts)
    sums = np.add.reduceat(np.nan_to_num(scores), starts)
    return edges[[*starts, -1]], np.where(spoken, sums / np.maximum(spoken, 1), np.nan)


def _runs(edges: np.ndarray, scores: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the times (point,) and scores (point, emotion) of each stretch of speech, from its edge to its edge."""
    spoken = np.concatenate([[False], ~np.isnan(scores[:, 0]), [False]])
    changes = np.flatnonzero(spoken[1:] != spoken[:-1])
    for first, end in changes.reshape(-1, 2):
        middles = (edges[first:end] + edges[first + 1 : end + 1]) / 2
        yield np.concatenate([edges[[first]], middles, edges[[end]]]), scores[[first, *range(first, end), end - 1]]


def _areas(axes: Axes, edges: np.ndarray, scores: np.ndarray, line: Timeline) -> None:
    colors, last = _colors(line), None
    for x, y in _runs(edges, scores):
        axes.stackplot(x, y.T, colors=colors, alpha=0.85, lw=0)
        last = x[-1], y[-1]
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("score")
    if last is not None:
        _name_areas(axes, line.task.names, *last, colors)


def _name_areas(axes: Axes, labels: Sequence[str], x: float, sizes: np.ndarray, colors: Sequence[str]) -> None:
    """Write each area's name to the right of the axes, as near to the area's end as there is room."""
    wanted = np.cumsum(sizes) - sizes / 2
    room = min(LINE_HEIGHT, 1 / len(labels)) * np.arange(len(labels))
    upwards = np.maximum.accumulate(wanted - room) + room  # pushed apart upwards, downwards: the middle of the two
    downwards = np.minimum.accumulate((wanted - room)[::-1])[::-1] + room
    heights = np.clip((upwards + downwards) / 2, room, 1 - room[::-1])
    for name, place, height, color in zip(plain(labels), wanted, heights, colors, strict=True):
        line = {"arrowstyle": "-", "color": color, "lw": 1.6, "shrinkA": 2, "shrinkB": 0, "relpos": (0, 0.5)}
        where = {"xytext": (1.035, height), "textcoords": "axes fraction", "annotation_clip": False}
        axes.annotate(name, (x, place), va="center", size=9, color=INK, arrowprops=line, **where)


def _strip(axes: Axes, line: Timeline) -> None:
    """Draw the segments, with their labels or notes where there is room."""
    for label, color in zip(line.task.names, _colors(line), strict=True):
        _bars(axes, [segment for segment in line.emotion.segments if segment.label == label], color, 0.6)
    for segment in line.emotion.segments:
        said = segment.label or segment.note or ""
        if segment.end - segment.start > LETTER * len(said) * line.emotion.duration:
            middle = (segment.start + segment.end) / 2
            axes.text(middle, 0.5, plain([said])[0], ha="center", va="center", size=8, color=INK, clip_on=True)
    dress(axes, frame=False)
    axes.set_yticks([])
    axes.set_ylim(0, 1)


def _bars(axes: Axes, segments: Sequence[Segment], color: str, alpha: float) -> None:
    """Fill the height of axes during some segments, which may be thousands."""
    spans = [(segment.start, segment.end - segment.start) for segment in segments]
    axes.broken_barh(spans, (0, 1), color=color, alpha=alpha, lw=0, transform=axes.get_xaxis_transform())


def _time(axes: Axes, duration: float) -> None:
    axes.set_xlim(0, duration)
    axes.xaxis.set_major_locator(MultipleLocator(next((s for s in STEPS if duration / s <= MOST_TICKS), STEPS[-1])))
    axes.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds, duration))
    axes.set_xlabel("time")


def _clock(seconds: float, duration: float) -> str:
    """Write a time as short as the whole sound allows: `2.5 s`, `1:05`, `1:02:05`."""
    if duration < 60:
        return f"{seconds:g} s"
    whole = round(seconds)
    minutes = whole // 60
    return f"{minutes}:{whole % 60:02d}" if duration < 3600 else f"{minutes // 60}:{minutes % 60:02d}:{whole % 60:02d}"


def _colors(line: Timeline) -> list[str]:
    return [PALETTE[place % len(PALETTE)] for place in range(len(line.task.names))]


LAYOUTS = {"probabilities": _stacked, "values": _lines}  # by what a task gives
