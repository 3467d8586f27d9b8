"""Pictures of answers and of speakers: confusion, agreement, reliability; each speaker's figures, shift and embedding.

Every function returns a matplotlib Figure that belongs to nobody else. Fields are shades of one blue over a clear
ground, so that they read on white and on black.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.manifold import TSNE

from serene.reporting.style import BLUE, DASHES, INK, dots, dress, fields, legend, plain, shade

MOST_DOTS = 1000  # of an agreement; above, a field shows how dense they are
CELLS = 48  # of that field, along each axis
LARGEST, SMALLEST = 600.0, 16.0  # areas of dots, in square points: of all clips, and of the fewest
MOST_POINTS = 100  # of each speaker in the t-SNE: more are slow to lay out and cover each other
MOST_NAMES = 50  # speakers whose names fit under a picture


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix (emotion, emotion): share of each true emotion, and the count below it."""
    n = len(classes)
    figure, (axes,) = fields(1, 2.1 + 0.82 * n, 1.5 + 0.68 * n)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shade(shares), aspect="auto", interpolation="nearest")
    for (row, column), share in np.ndenumerate(shares):
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": "#ffffff" if share > 0.62 else INK}
        axes.text(column, row - 0.12, f"{share:.0%}", size=11, weight="bold" if row == column else "normal", **style)
        axes.text(column, row + 0.24, f"{matrix[row, column]:,.0f}", size=8, **style)
    axes.set_xticks(range(n), plain(classes), rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), plain(classes))
    axes.set(xlabel="recognised as", ylabel="is")
    dress(axes, frame=False)
    return figure


def agreement(truth: np.ndarray, prediction: np.ndarray, dimensions: Sequence[str]) -> Figure:
    """Draw what was predicted over what is true (utterance, dimension), and the line on which both are the same.

    Many utterances are drawn as how dense they lie: the stronger the blue, the more.
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
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set(xlabel=f"true {name.strip()}", ylabel=f"predicted {name.strip()}")
        dress(axes)
    return figure


def reliability(found: Mapping[str, Any]) -> Figure:
    """Draw share right over score, and error over coverage, of what `report.json` holds under `reliability`."""
    figure, (left, right) = fields(2, 4.7, 4.2)
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
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="score of what was decided for", ylabel="of these right")


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
    axes.set(xlim=(0, 1.02), ylim=(0, min(top, 1.02)), xlabel="answered, the surest first", ylabel="of these wrong")


def per_speaker(
    speakers: Sequence[str],
    measures: Mapping[str, Sequence[float | None]],
    recall: Mapping[str, Sequence[float | None]],
    shares: bool,
) -> Figure:
    """Draw how well each speaker is recognised, in the order given: a row for each measure, recalls of classes below.

    A figure of a speaker that is None has no dot. Measures that are shares are written as percentages.
    """
    n, heights = len(speakers), [1.7] * len(measures) + [0.26 * len(recall)] * bool(recall)
    width = min(11.0, max(7.0, 2.2 + 0.34 * n))
    figure = Figure(figsize=(width, 1.1 + sum(heights)), layout="constrained")
    rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, own) in zip(rows, measures.items(), strict=False):
        values = _numbers(own)
        _dots(axes, values, ".0%" if shares else ".2f")
        low = min([0.0, *values[~np.isnan(values)].tolist()])
        axes.set_ylim(low if shares else low - 0.05, 1)
        axes.set_xlim(-0.5, n - 0.5)
        if shares:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylabel(plain([name])[0].strip())
    for axes in rows[:-1]:
        axes.tick_params(axis="x", length=0, labelbottom=False)
    how = "the worst recognised first" if len(measures) == 1 else "the lowest mean first"
    if recall:
        field = np.array([_numbers(own) for own in recall.values()])
        rows[-1].imshow(shade(field), aspect="auto", interpolation="nearest")
        rows[-1].set_yticks(range(len(recall)), plain(recall))
        dress(rows[-1], frame=False)
        how += "\n(the stronger the blue, the better recognised)"
    names, size = plain(speakers) if n <= MOST_NAMES else [], 9 if n <= 24 else 7
    rows[-1].set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", size=size)
    rows[-1].set_xlabel(f"{n} speakers, {how}")
    return figure


def shifts(found: Mapping[str, Any], unit: str) -> Figure:
    """Draw every speaker's performance, in this unit, over both of what `report.json` holds under `shift`."""
    targets, people = list(found["correlations"]), found["per_speaker"]
    figure = Figure(figsize=(9.4, 3.6 * len(targets)), layout="constrained")
    rows = figure.subplots(len(targets), 2, squeeze=False, sharey="row")
    for row, target in zip(rows, targets, strict=True):
        reached = _numbers([one["performance"][target] for one in people])
        apart = {
            "embedding": ("divergence of embeddings from training's", [one["embedding"] for one in people]),
            "labels": ("divergence of labels from other speakers'", [one["labels"][target] for one in people]),
        }
        for axes, (key, (kind, values)) in zip(row, apart.items(), strict=True):
            axes.scatter(_numbers(values), reached, s=26, color=BLUE, alpha=0.6, linewidths=0)
            r = found["correlations"][target][key]
            said = "not measured" if r is None else f"r = {r['r']:.2f} [{r['low']:.2f} to {r['high']:.2f}]"
            axes.set_title(said, loc="left", size=11, color=INK)
            axes.set_xlabel(f"{kind}, nats")
            dress(axes)
        name = plain([target])[0].strip()
        row[0].set_ylabel(f"{unit} of the speaker" + f", {name}" * (len(targets) > 1))
    return figure


def tsne(embeddings: np.ndarray, kinds: Mapping[str, np.ndarray], speakers: Sequence[str], *, seed: int = 0) -> Figure:
    """Lay out the embeddings of four random speakers in a plane, coloured by what is learnt and by speaker.

    As in figure 2 of Tu et al. 2019: emotions should gather on the left, speakers should be mixed on the right.

    Embeddings are (utterance, feature); kinds give a label of each utterance, or a value, drawn from dark to light
    (utterance,). The seed is of the choice of speakers and of the layout.
    """
    names = np.asarray(speakers, dtype=np.str_)
    shown = {**kinds, "speaker": names}
    rows = _drawn(names, some_speakers(names.tolist(), seed), seed)
    plane = _plane(embeddings[rows], seed)
    figure, places = fields(len(shown), 4.7, 4.6)
    for axes, (title, kind) in zip(places, shown.items(), strict=True):
        _layout(axes, plane, kind[rows], f"by {plain([title])[0].strip()}")
    return figure


@dataclass(frozen=True, eq=False)
class Parts:
    """Embeddings of two parts of a fold: validation (utterance, feature) with emotions and speakers, and training."""

    validation: np.ndarray
    emotions: Sequence[str]
    validated: Sequence[str]
    training: np.ndarray
    trained: Sequence[str]


def tsne_of_parts(systems: Mapping[str, Parts], *, seed: int = 0) -> Figure:
    """Lay out validation clips by emotion, and below them four training speakers' by speaker, systems side by side.

    As figure 2 of Tu et al. 2019 compares DAT with SER-only.
    """
    figure, places = fields(2 * len(systems), 4.7, 4.6)
    for (name, parts), above, below in zip(systems.items(), places, places[len(systems) :], strict=False):
        everybody, names = np.asarray(parts.validated), np.asarray(parts.trained)
        rows = _drawn(everybody, np.unique(everybody).tolist(), seed)
        _layout(above, _plane(parts.validation[rows], seed), np.asarray(parts.emotions)[rows], f"{name}, validation")
        rows = _drawn(names, some_speakers(parts.trained, seed), seed)
        _layout(below, _plane(parts.training[rows], seed), names[rows], f"{name}, training speakers")
    return figure


def some_speakers(speakers: Sequence[str], seed: int = 0) -> list[str]:
    """Draw four of the speakers of some clips, or all if these are fewer."""
    return np.random.default_rng(seed).permutation(np.unique(speakers))[:4].tolist()


def _drawn(names: np.ndarray, speakers: Sequence[str], seed: int) -> np.ndarray:
    """Draw indices of utterances (utterance,) of each of some speakers, at most so many as can be seen."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(names == name))[:MOST_POINTS] for name in speakers])


def _plane(embeddings: np.ndarray, seed: int) -> np.ndarray:
    """Lay out embeddings (utterance, feature) in a plane (utterance, 2)."""
    x = embeddings - embeddings.mean(axis=0)
    scale = x.std(axis=0)
    x = x / np.where(scale > 0, scale, 1)
    perplexity = max(1.0, min(30.0, (len(x) - 1) / 3))
    return TSNE(perplexity=perplexity, init="random", random_state=seed).fit_transform(x)


def _layout(axes: Axes, plane: np.ndarray, kind: np.ndarray, title: str) -> None:
    """Draw the places (utterance, 2) of what is named or measured (utterance,)."""
    axes.set_title(title, loc="left", size=11, color=INK)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    dress(axes, frame=False)
    if kind.dtype.kind == "f":
        places = axes.scatter(plane[:, 0], plane[:, 1], s=22, alpha=0.85, linewidths=0, c=kind, cmap="viridis")
        bar = axes.figure.colorbar(places, ax=axes, shrink=0.85, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=INK, length=0)
        return
    dots(axes, plane, kind.tolist())
    legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=4)


def _dots(axes: Axes, values: np.ndarray, form: str) -> None:
    """Draw a figure of each speaker (speaker,), NaN for none, and a line at their mean, written in this form."""
    n, known = len(values), ~np.isnan(values)
    places = np.arange(n)[known]
    axes.vlines(places, 0, values[known], color=BLUE, alpha=0.35, lw=1.5)
    axes.plot(places, values[known], "o", color=BLUE, ms=max(2.5, 6 - n / 40))
    if known.any():
        height = float(values[known].mean())
        axes.axhline(height, color=INK, lw=0.8, ls=DASHES)
        axes.text(n - 0.5, height, f" mean {height:{form}}", va="center", ha="left", size=9, color=INK)
    dress(axes)


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)
