"""Pictures of trainings: learning curves, accuracy by batch, pre-training; and curves of any kind.

Every function returns a matplotlib Figure that belongs to nobody else (no pyplot, no global state).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter

from serene.reporting.style import INK, MARKERS, PALETTE, dress, fields, legend, plain, save

MOST_TICKS = 12  # values of a logarithmic axis that fit below it one by one
LINE_HEIGHT = 0.055  # of a name beside the curves, as a share of their height
LEADER = {"arrowstyle": "-", "lw": 1.2, "ls": ":", "shrinkA": 3, "shrinkB": 3, "relpos": (0, 0.5)}  # to a name
WINDOW = 31  # batches of a running mean

Line = tuple[Sequence[float | str], Sequence[float], Sequence[float] | None, Sequence[float] | None]
"""Where, how much, and from where to where a band around it reaches; no band where that is None."""


def learning_curves(logs: Sequence[Sequence[Mapping[str, float]]]) -> Figure:
    """Draw what trainings logged per epoch: their mean as a line, their range as a band.

    A row has `epoch` and whatever was measured. Names that end in `_ua`, `_wa` or `accuracy` are shares and go to the
    right, and so does `_ccc`; all others but `seconds` to the left.
    """
    names = list(dict.fromkeys(name for rows in logs for row in rows for name in row))
    measured = [name for name in names if name not in ("epoch", "seconds")]
    shares = [name for name in measured if name.endswith(("_ua", "_wa", "accuracy"))]
    concordant = [name for name in measured if name.endswith("_ccc")]
    figure, (left, right) = fields(2, 4.7, 4.0)
    _curves(left, logs, [name for name in measured if name not in (*shares, *concordant)])
    _curves(right, logs, [*concordant, *shares])
    left.set_title("losses and coefficients", loc="left", size=11, color=INK)
    agreed = "agreement (CCC)" + " and shares recognised" * bool(shares)
    right.set_title(agreed if concordant else "recognised", loc="left", size=11, color=INK)
    if concordant:
        lowest = min(row[name] for rows in logs for row in rows for name in concordant if name in row)
        right.set_ylim(min(0.0, lowest), 1)
    else:
        right.set_ylim(0, 1)
        right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def curves(
    lines: Mapping[str, Line], x_label: str, y_label: str, *, log_x: bool = False, percent: bool = True
) -> Figure:
    """Draw lines, each with its name at its end and a band where it has one.

    Where any place is a word, such as "all" beside 0, 1, 2, the places stand in even steps: numbers in their order,
    then words in that of the lines. With `log_x` places are positive numbers; `percent` is for values that are shares.
    """
    figure, (axes,) = fields(1, 8.0, 4.4)
    step = _steps(axes, [x for line in lines.values() for x in line[0]], log_x)
    ends = []
    for place, (name, (where, values, low, high)) in enumerate(lines.items()):
        color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        x, y = np.array([step[at] for at in where], dtype=float), np.asarray(values, dtype=float)
        axes.plot(x, y, color=color, marker=marker, lw=1.8, ms=5)
        if low is not None and high is not None:
            axes.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
        ends.append((name, x[-1], y[-1], color))
    axes.set(xlabel=x_label, ylabel=y_label)
    if percent:
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
    dress(axes)
    _name_ends(axes, ends)
    return figure


def per_batch(lines: Mapping[str, Sequence[float]], *, window: int = WINDOW) -> Figure:
    """Draw the share right of each system's batches (batch,), its running mean in bold, its spread beside the name."""
    figure, (axes,) = fields(1, 8.0, 4.4)
    ends = []
    for place, (name, values) in enumerate(lines.items()):
        color, mean = PALETTE[place % len(PALETTE)], running_mean(values, window)
        axes.plot(np.arange(1, len(mean) + 1), values, color=color, lw=0.6, alpha=0.35)
        axes.plot(np.arange(1, len(mean) + 1), mean, color=color, lw=2.2, zorder=3)
        ends.append((f"{name} ± {100 * spread(values, window):.1f} points", len(mean), mean[-1], color))
    axes.set_xlabel(
        f"batch\n(thin: each batch; bold: mean of {window} around it; ±: deviation from that mean, last half)"
    )
    axes.set_ylabel("training accuracy")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
    dress(axes)
    _name_ends(axes, ends)
    return figure


def running_mean(values: Sequence[float], window: int = WINDOW) -> np.ndarray:
    """Average each of the values (batch,) with its neighbours; near the edges with those that there are."""
    sums, places = np.concatenate([[0.0], np.cumsum(values)]), np.arange(len(values))
    first, last = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def spread(values: Sequence[float], window: int = WINDOW) -> float:
    """Give the deviation of the values (batch,) from their running mean over the last half, when all has settled."""
    apart = np.asarray(values, dtype=float) - running_mean(values, window)
    return float(np.sqrt(np.mean(apart[len(apart) // 2 :] ** 2)))


def _steps(axes: Axes, places: Sequence[float | str], log_x: bool) -> dict[float | str, float]:
    """Say where on the x axis each place is, and mark it there."""
    numbers = sorted({at for at in places if not isinstance(at, str)})
    words = list(dict.fromkeys(at for at in places if isinstance(at, str)))
    if words:
        axes.set_xticks(range(len(numbers) + len(words)), plain([f"{at:g}" for at in numbers] + words))
        return {at: float(step) for step, at in enumerate([*numbers, *words])}
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        if len(numbers) <= MOST_TICKS:
            axes.xaxis.set_major_locator(FixedLocator(numbers))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    elif all(float(at).is_integer() for at in numbers):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return {at: float(at) for at in numbers}


def _name_ends(axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Write (name, x, y, colour) to the right of the axes, as near to the lines' ends as there is room."""
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: end[2])
    wanted = np.array([(y - low) / (high - low) for _, _, y, _ in ends])
    room = LINE_HEIGHT * np.arange(len(ends))
    upwards = np.maximum.accumulate(wanted - room) + room  # pushed apart upwards, downwards: the middle of the two
    downwards = np.minimum.accumulate((wanted - room)[::-1])[::-1] + room
    for (name, x, y, color), height in zip(ends, (upwards + downwards) / 2, strict=True):
        where = {"xytext": (1.04, height), "textcoords": "axes fraction", "va": "center"}
        axes.annotate(plain([name])[0], (x, y), size=9, color=INK, arrowprops={"color": color, **LEADER}, **where)
    axes.set_ylim(low, high)


def _curves(axes: Axes, logs: Sequence[Sequence[Mapping[str, float]]], names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        by_epoch: dict[float, list[float]] = {}
        for row in (row for rows in logs for row in rows if name in row):
            by_epoch.setdefault(row["epoch"], []).append(row[name])
        epochs = sorted(by_epoch)
        color = PALETTE[place % len(PALETTE)]
        axes.plot(epochs, [np.mean(by_epoch[e]) for e in epochs], color=color, lw=1.8, label=plain([_words(name)])[0])
        if len(logs) > 1:
            low, high = ([pick(by_epoch[e]) for e in epochs] for pick in (min, max))
            axes.fill_between(epochs, low, high, color=color, alpha=0.15, lw=0)
    axes.set_xlabel("epoch")
    dress(axes)
    if names:
        legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)


def _words(name: str) -> str:
    text = name.rpartition("/")[2].replace("_", " ")
    return text.replace(" ua", " UA").replace(" wa", " WA").replace(" ccc", " CCC")


def draw_pretraining(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw how many hidden frames are told right over the epochs, of what is trained on and of what is held out."""
    lines: dict[str, Line] = {}
    for key in (key for key in rows[0] if key.endswith(("accuracy", "majority"))):
        word = key.removeprefix("validation_").replace("_", " ").replace("masked/accuracy", "training")
        lines[word] = [row["epoch"] for row in rows], [row[key] for row in rows], None, None
    save(curves(lines, "epoch", "hidden frames told right"), path)
