"""The report's pictures: confusion, learning curves, recall by speaker, t-SNE by emotion and by speaker.

Every function returns a matplotlib Figure that belongs to nobody else (no pyplot, no global state). All words and lines
are drawn in `INK`, so that a page can recolour them, and fields are shades of one blue over a clear ground, so that
they read on white and on black.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.manifold import TSNE

INK = "#33383f"
BLUE = "#2a7fc1"  # of lines and dots
SHADE = "#135ea3"  # of fields, over a clear ground
# Okabe and Ito's colours, told apart by colour-blind readers as well; grey stands for their black
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c", "#b8a800")
MARKERS = "osD^vPX*"
MOST_POINTS = 100  # of each speaker in the t-SNE: more are slow to lay out and cover each other
MOST_NAMES = 50  # speakers whose names fit under a picture


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
    axes.set_xticks(range(n), _plain(classes), rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), _plain(classes))
    axes.set_xlabel("recognised as")
    axes.set_ylabel("is")
    _dress(axes, frame=False)
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
    bottom.set_yticks(range(len(classes)), _plain(classes))
    if n <= MOST_NAMES:
        names = _plain(np.asarray(speakers)[order].tolist())
        size = 9 if n <= 24 else 7
        bottom.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", size=size)
    else:
        bottom.set_xticks([])
    bottom.set_xlabel(f"{n} speakers, the worst recognised first\n(the stronger the blue, the better recognised)")
    top.tick_params(axis="x", length=0, labelbottom=False)
    _dress(top)
    _dress(bottom, frame=False)
    return figure


def tsne(embeddings: np.ndarray, emotions: Sequence[str], speakers: Sequence[str], *, seed: int = 0) -> Figure:
    """Lay out the embeddings of four random speakers in a plane, coloured by emotion and by speaker.

    As in figure 2 of Tu et al. 2019: emotions should gather on the left, speakers should be mixed on the right.

    Args:
        embeddings: (utterance, feature).
        emotions: label of each (utterance,).
        speakers: who speaks (utterance,).
        seed: of the choice of speakers and of the layout.
    """
    rng = np.random.default_rng(seed)
    names, labels = np.asarray(speakers, dtype=np.str_), np.asarray(emotions, dtype=np.str_)
    four = rng.permutation(np.unique(names))[:4]
    rows = np.concatenate([rng.permutation(np.flatnonzero(names == name))[:MOST_POINTS] for name in four])
    x = embeddings[rows] - embeddings[rows].mean(axis=0)
    scale = x.std(axis=0)
    x = x / np.where(scale > 0, scale, 1)
    plane = TSNE(perplexity=max(1.0, min(30.0, (len(rows) - 1) / 3)), init="random", random_state=seed).fit_transform(x)
    figure = Figure(figsize=(9.4, 4.6), layout="constrained")
    for axes, kind, title in zip(figure.subplots(1, 2), (labels, names), ("emotion", "speaker"), strict=True):
        for place, name in enumerate(np.unique(kind[rows]).tolist()):
            dots = plane[kind[rows] == name]
            axes.scatter(
                dots[:, 0], dots[:, 1], s=22, alpha=0.8, linewidths=0, label=_plain([name])[0], **_style(place)
            )
        axes.set_title(f"by {title}", loc="left", size=11, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        _dress(axes, frame=False)
        _legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=4)
    return figure


def _curves(axes: Axes, logs: Sequence[Sequence[Mapping[str, float]]], names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        by_epoch: dict[float, list[float]] = {}
        for row in (row for rows in logs for row in rows if name in row):
            by_epoch.setdefault(row["epoch"], []).append(row[name])
        epochs = sorted(by_epoch)
        color = PALETTE[place % len(PALETTE)]
        axes.plot(epochs, [np.mean(by_epoch[e]) for e in epochs], color=color, lw=1.8, label=_plain([_words(name)])[0])
        if len(logs) > 1:
            low, high = ([pick(by_epoch[e]) for e in epochs] for pick in (min, max))
            axes.fill_between(epochs, low, high, color=color, alpha=0.15, lw=0)
    axes.set_xlabel("epoch")
    _dress(axes)
    if names:
        _legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)


def _plain(names: Iterable[str]) -> list[str]:
    """Keep matplotlib from reading a name as a formula, or as an entry that its legend hides."""
    return [(" " if name.startswith("_") else "") + name.replace("$", r"\$") for name in names]


def _words(name: str) -> str:
    text = name.rpartition("/")[2].replace("_", " ")
    return text.replace(" ua", " UA").replace(" wa", " WA")


def _style(place: int) -> dict[str, str]:
    return {"color": PALETTE[place % len(PALETTE)], "marker": MARKERS[place % len(MARKERS)]}


def _shade(shares: np.ndarray) -> np.ndarray:
    """Turn shares (row, column) into one blue, the clearer the smaller: (row, column, 4). NaN is clear."""
    image = np.empty((*shares.shape, 4))
    image[..., :3] = to_rgb(SHADE)
    image[..., 3] = np.nan_to_num(0.04 + 0.96 * np.clip(shares, 0, 1), nan=0.0)
    return image


def _dress(axes: Axes, *, frame: bool = True) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(frame and side in ("left", "bottom"))
        spine.set_color(INK)
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    if frame:
        axes.grid(axis="y", color=INK, alpha=0.12, lw=0.8)
        axes.set_axisbelow(True)
    else:
        axes.tick_params(length=0)


def _legend(axes: Axes, **where: Any) -> None:
    legend = axes.legend(frameon=False, fontsize=9, handletextpad=0.4, columnspacing=1.2, **where)
    for text in legend.get_texts():
        text.set_color(INK)
