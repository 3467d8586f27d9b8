"""The report's pictures: confusion, learning curves, recall by speaker, t-SNE by emotion and by speaker; and curves.

Every function returns a matplotlib Figure that belongs to nobody else (no pyplot, no global state). Fields are shades
of one blue over a clear ground, so that they read on white and on black.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter
from sklearn.manifold import TSNE

from serene.evaluation.picture_style import BLUE, INK, MARKERS, PALETTE, SHADE, color_and_marker, dress, legend, plain

MOST_POINTS = 100  # of each speaker in the t-SNE: more are slow to lay out and cover each other
MOST_NAMES = 50  # speakers whose names fit under a picture
MOST_TICKS = 12  # values of a logarithmic axis that fit below it one by one
LINE_HEIGHT = 0.055  # of a name beside the curves, as a share of their height
WINDOW = 31  # batches of a running mean

Line = tuple[Sequence[float | str], Sequence[float], Sequence[float] | None, Sequence[float] | None]
"""Where, how much, and from where to where a band around it reaches; no band where that is None."""


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix (emotion, emotion): share of each true emotion, and the count below it."""
    n = len(classes)
    figure = Figure(figsize=(2.1 + 0.82 * n, 1.5 + 0.68 * n), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(_shade(shares), aspect="auto", interpolation="nearest")
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


def learning_curves(logs: Sequence[Sequence[Mapping[str, float]]]) -> Figure:
    """Draw what trainings logged per epoch: their mean as a line, their range as a band.

    Args:
        logs: of each training, a row per epoch with `epoch` and whatever was measured. Names that end in `_ua`,
            `_wa` or `accuracy` are shares and go to the right, all others but `seconds` to the left.
    """
    names = list(dict.fromkeys(name for rows in logs for row in rows for name in row))
    measured = [name for name in names if name not in ("epoch", "seconds")]
    shares = [name for name in measured if name.endswith(("_ua", "_wa", "accuracy"))]
    figure = Figure(figsize=(9.4, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, logs, [name for name in measured if name not in shares])
    _curves(right, logs, shares)
    left.set_title("losses and coefficients", loc="left", size=11, color=INK)
    right.set_title("recognised", loc="left", size=11, color=INK)
    right.set_ylim(0, 1)
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def per_speaker_recall(speakers: Sequence[str], ua: np.ndarray, recall: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw how well each speaker is recognised, the worst on the left: UA above, each emotion's recall below.

    Args:
        speakers: names (speaker,).
        ua: mean recall of each (speaker,).
        recall: share of each emotion that was recognised (speaker, emotion); NaN where the speaker has none.
        classes: names of the emotions.
    """
    order = np.argsort(ua, kind="stable")
    places, n = np.arange(len(order)), len(order)
    figure = Figure(figsize=(min(11.0, max(7.0, 2.2 + 0.34 * n)), 2.6 + 0.26 * len(classes)), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.3, 0.24 * len(classes)))
    top.vlines(places, 0, ua[order], color=BLUE, alpha=0.35, lw=1.5)
    top.plot(places, ua[order], "o", color=BLUE, ms=max(2.5, 6 - n / 40))
    top.axhline(float(ua.mean()), color=INK, lw=0.8, ls=(0, (4, 3)))
    top.text(n - 0.5, float(ua.mean()), f" mean {ua.mean():.0%}", va="center", ha="left", size=9, color=INK)
    top.set_ylim(0, 1)
    top.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    top.set_ylabel("UA")
    bottom.imshow(_shade(recall[order].T), aspect="auto", interpolation="nearest")
    bottom.set_yticks(range(len(classes)), plain(classes))
    if n <= MOST_NAMES:
        names = plain(np.asarray(speakers)[order].tolist())
        size = 9 if n <= 24 else 7
        bottom.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", size=size)
    else:
        bottom.set_xticks([])
    bottom.set_xlabel(f"{n} speakers, the worst recognised first\n(the stronger the blue, the better recognised)")
    top.tick_params(axis="x", length=0, labelbottom=False)
    dress(top)
    dress(bottom, frame=False)
    return figure


def tsne(embeddings: np.ndarray, emotions: Sequence[str] | None, speakers: Sequence[str], *, seed: int = 0) -> Figure:
    """Lay out the embeddings of four random speakers in a plane, coloured by emotion and by speaker.

    As in figure 2 of Tu et al. 2019: emotions should gather on the left, speakers should be mixed on the right.

    Args:
        embeddings: (utterance, feature).
        emotions: label of each (utterance,); None draws the speakers alone.
        speakers: who speaks (utterance,).
        seed: of the choice of speakers and of the layout.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(speakers, dtype=np.str_)
    kinds = ({} if emotions is None else {"emotion": np.asarray(emotions, dtype=np.str_)}) | {"speaker": names}
    four = rng.permutation(np.unique(names))[:4]
    rows = np.concatenate([rng.permutation(np.flatnonzero(names == name))[:MOST_POINTS] for name in four])
    x = embeddings[rows] - embeddings[rows].mean(axis=0)
    scale = x.std(axis=0)
    x = x / np.where(scale > 0, scale, 1)
    plane = TSNE(perplexity=max(1.0, min(30.0, (len(rows) - 1) / 3)), init="random", random_state=seed).fit_transform(x)
    figure = Figure(figsize=(4.7 * len(kinds), 4.6), layout="constrained")
    for axes, (title, kind) in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds.items(), strict=True):
        for place, name in enumerate(np.unique(kind[rows]).tolist()):
            dots = plane[kind[rows] == name]
            axes.scatter(
                dots[:, 0], dots[:, 1], s=22, alpha=0.8, linewidths=0, label=plain([name])[0], **color_and_marker(place)
            )
        axes.set_title(f"by {title}", loc="left", size=11, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        dress(axes, frame=False)
        legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=4)
    return figure


def curves(
    lines: Mapping[str, Line], x_label: str, y_label: str, *, log_x: bool = False, percent: bool = True
) -> Figure:
    """Draw lines, each with its name at its end and a band where it has one.

    Args:
        lines: name -> (where, how much, lower edge, upper edge), each (point,). Where any place is a word, such as
            "all" beside 0, 1, 2, the places stand in even steps: numbers in their order, then words in that of the
            lines.
        x_label: what the places are.
        y_label: what is measured.
        log_x: whether equal factors are equal distances; places are positive numbers then.
        percent: whether the values are shares, to be written as percentages.
    """
    figure = Figure(figsize=(8.0, 4.4), layout="constrained")
    axes = figure.add_subplot()
    step = _steps(axes, [x for line in lines.values() for x in line[0]], log_x)
    ends = []
    for place, (name, (where, values, low, high)) in enumerate(lines.items()):
        color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        x, y = np.array([step[at] for at in where], dtype=float), np.asarray(values, dtype=float)
        axes.plot(x, y, color=color, marker=marker, lw=1.8, ms=5)
        if low is not None and high is not None:
            axes.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
        ends.append((name, x[-1], y[-1], color))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if percent:
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
    dress(axes)
    _name_ends(axes, ends)
    return figure


def per_batch(lines: Mapping[str, Sequence[float]], *, window: int = WINDOW) -> Figure:
    """Draw the training accuracy of each batch, its running mean in bold, and write its spread beside the name.

    Args:
        lines: name of a system -> share of each batch that was right (batch,).
        window: batches of the running mean.
    """
    figure = Figure(figsize=(8.0, 4.4), layout="constrained")
    axes = figure.add_subplot()
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
        axes.annotate(
            plain([name])[0],
            (x, y),
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            size=9,
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 1.2,
                "ls": ":",
                "shrinkA": 3,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )
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
    return text.replace(" ua", " UA").replace(" wa", " WA")


def _shade(shares: np.ndarray) -> np.ndarray:
    """Turn shares (row, column) into one blue, the clearer the smaller: (row, column, 4). NaN is clear."""
    image = np.empty((*shares.shape, 4))
    image[..., :3] = to_rgb(SHADE)
    image[..., 3] = np.nan_to_num(0.04 + 0.96 * np.clip(shares, 0, 1), nan=0.0)
    return image
