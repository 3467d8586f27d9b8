"""The personalisation gap: what a model gains from training on those it is tested on, by how many speakers train it.

Speaker-dependent minus speaker-independent accuracy, after figure 1 of Tran et al. 2023. Here the two models of a pair
are tested on the same clips and trained on equally many clips of equally many speakers, and the number of clips is the
same for every number of speakers: nothing else makes a difference. The models are linear, and so quick that pairs of
many draws can be trained, on a frozen encoder's features or MFCC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from serene.audio.dataset import features, warm
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed
from serene.errors import SereneError, unknown
from serene.evaluation import metrics
from serene.evaluation.confidence import PERCENTILES
from serene.experiment.linear_study import PENALTY, Row, scaled, write_table
from serene.experiment.plan import Progress, silent
from serene.models.frozen import Frozen
from serene.reporting import plots
from serene.reporting.style import save
from serene.task import TASKS, Task

NUMBERS = (1, 2, 5, 10, 20, 40)
DRAWS = 50
TARGETS = tuple(target for target in TASKS if target != "speaker")
MODELS = ("dependent", "independent")


@dataclass(frozen=True)
class Pair:
    """Which clips train and test a pair of models, as rows of the clips.

    Attributes:
        number: of speakers that each of the two is trained on.
        dependent: training clips of the speakers who are tested (utterance,).
        independent: as many of as many other speakers (utterance,).
        test: further clips of the speakers who are tested (utterance,).
    """

    number: int
    dependent: np.ndarray
    independent: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Gap:
    """What was measured.

    Attributes:
        facts: on what, and how.
        rows: of each metric and number of speakers, the mean over draws of `dependent`, `independent` and `gap`, each
            with `low` and `high`, between which 95 % of the draws lie.
        folder: holds `gap.csv`, `gap.json` and a picture of each metric.
    """

    facts: dict[str, Any]
    rows: list[Row]
    folder: Path


def personalisation_gap(
    path: Path,
    runs: Path,
    *,
    weights: str | None = None,
    target: str = "emotion",
    use: Sequence[str] | None = None,
    numbers: Sequence[int] = NUMBERS,
    clips: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = silent,
) -> Gap:
    """Measure the gap on a manifest; write a table and pictures.

    Args:
        path: a manifest.
        runs: folder of runs; the features are kept in its store.
        weights: a frozen encoder, as a recipe's `features.weights`; mean and deviation of MFCC without it.
        target: `dimensions`, for the CCC of each by ridge regression; or `emotion`, `emotion_perceived` or the majority
            of `votes`, for UA by logistic regression.
        use: the dimensions or classes, as a recipe's `labels.use`.
        numbers: of training speakers.
        clips: that each model is trained on; by default the most that there are for every number of speakers.
        draws: of speakers and their clips.
        seed: of the draws.
        progress: told about features and draws.

    Raises:
        SereneError: there are no such labels, or too few speakers with enough clips.
    """
    if target not in TARGETS:
        raise SereneError(unknown("target of a gap", target, TARGETS))
    manifest, task = choose(Manifest.read(path), target=target, use=use, join={})
    labelled = Manifest(tuple(sorted(manifest, key=lambda clip: clip.id)))
    pairs = draw_pairs([clip.speaker for clip in labelled], numbers=numbers, clips=clips, draws=draws, seed=seed)
    decoded = hashed(labelled, lambda done, of: progress("decoding", done, of)).utterances
    maker: Any = Mfcc() if weights is None else Frozen(weights=weights)
    store = Store(runs / "store", maker)
    warm(decoded, store, lambda done, of: progress("features", done, of))
    x, y = clip_features(decoded, store), np.array(task.truth(decoded))
    rows = _measure(x, y, task, pairs, progress)
    facts = {"manifest": path.stem, "data": manifest.digest, "features": maker.identity, "target": target}
    facts |= {"names": list(task.names), "speakers": list(numbers), "clips": len(pairs[0].dependent)}
    facts |= {"draws": draws, "seed": seed, "penalty": PENALTY}
    return _write(facts, rows, runs)


def _measure(x: np.ndarray, y: np.ndarray, task: Task, pairs: Sequence[Pair], progress: Progress) -> list[Row]:
    """Train and test both models of every pair; give a row for each metric and number of speakers."""
    found: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    with threadpool_limits(1):  # the models are small
        for done, pair in enumerate(pairs, 1):
            both = [accuracy(x, y, task, getattr(pair, model), pair.test) for model in MODELS]
            for metric in both[0]:
                found[metric, pair.number].append([of[metric] for of in both])
            progress("draws", done, len(pairs))
    return [_row(*place, np.array(figures)) for place, figures in sorted(found.items())]


def draw_pairs(
    speakers: Sequence[str], *, numbers: Sequence[int], clips: int | None = None, draws: int = DRAWS, seed: int = 0
) -> list[Pair]:
    """Draw speakers and clips: a draw's smaller numbers of speakers are the first of its larger ones.

    One half of a speaker's clips may train, and the other half tests.

    Args:
        speakers: who speaks (utterance,).
        numbers: of training speakers.
        clips: that each model is trained on, shared out evenly among its speakers; by default the most that there are.
        draws: how many.
        seed: of the draws.

    Raises:
        SereneError: numbers that make no sense, or too few speakers with enough clips.
    """
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers) or draws < 1:
        raise SereneError(
            f"{draws} draws of {list(numbers)} speakers were asked for; one draw or more, and different numbers of "
            "speakers from 1 on were expected, such as 1, 2, 5, 10."
        )
    own: dict[str, list[int]] = defaultdict(list)
    for row, speaker in enumerate(speakers):
        own[speaker].append(row)
    fewest, most = min(numbers), max(numbers)
    halves = sorted((len(rows) // 2 for rows in own.values()), reverse=True)
    if clips is None:
        clips = max(most, fewest * (halves[2 * most - 1] if len(halves) >= 2 * most else 0))
    each = -(-clips // fewest)
    able = [speaker for speaker in sorted(own) if len(own[speaker]) >= 2 * each]
    if clips < most or len(able) < 2 * most:
        raise SereneError(
            f"Two models of {fewest} to {most} speakers each, with {clips} clips to train on, need {2 * most} speakers "
            f"with {2 * each} clips and at least a clip of each; {len(able)} of {len(own)} speakers have as many. Ask "
            "for other numbers of speakers or clips."
        )
    return [pair for draw in range(draws) for pair in _draw(own, able, sorted(numbers), clips, (seed, draw))]


def clip_features(clips: Sequence[Utterance], store: Store) -> np.ndarray:
    """Give each clip's features (utterance, feature): the single frame, or mean and deviation of several."""
    frames = [features(clip, store) for clip in clips]
    if all(len(own) == 1 for own in frames):
        return np.concatenate(frames)
    return np.stack([np.concatenate([own.mean(axis=0), own.std(axis=0)]) for own in frames])


def accuracy(x: np.ndarray, y: np.ndarray, task: Task, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Train a linear model on some clips and score it on others.

    Args:
        x: (utterance, feature).
        y: what is true of them, as `task.truth` gives it.
        task: what is learnt.
        train: rows of some clips.
        test: rows of others.

    Returns:
        `CCC of <dimension>` for each, or `UA`.
    """
    return LINEAR[task.metric](scaled(x, train), y, task.names, train, test)


def _classified(x: Any, y: Any, names: Sequence[str], train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    place = {name: number for number, name in enumerate(names)}
    y = np.array([place[name] for name in y.tolist()])
    answers = np.full(len(test), y[train[0]])
    if len(np.unique(y[train])) > 1:
        answers = LogisticRegression(C=1 / PENALTY, max_iter=1000).fit(x[train], y[train]).predict(x[test])
    return {"UA": float(metrics.ua(metrics.tally(y[test], answers, len(names))))}


def _regressed(x: Any, y: Any, names: Sequence[str], train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    model = Ridge(alpha=PENALTY).fit(x[train], y[train])
    figures = metrics.ccc(y[test], model.predict(x[test]).reshape(len(test), -1))
    return {f"CCC of {name}": float(figure) for name, figure in zip(names, figures, strict=True)}


LINEAR = {"ua": _classified, "ccc": _regressed}  # by the task's metric


def _draw(
    own: dict[str, list[int]], able: list[str], numbers: list[int], clips: int, seed: tuple[int, int]
) -> list[Pair]:
    """Draw one set of speakers, and a pair for each number of them."""
    rng, most = np.random.default_rng(seed), numbers[-1]
    chosen = rng.permutation(able)[: 2 * most]
    order = {speaker: rng.permutation(own[speaker]) for speaker in chosen}
    found = []
    for number in numbers:
        share = [clips // number + (place < clips % number) for place in range(number)]
        tested, others = chosen[:number], chosen[most : most + number]
        trains = [[order[s][:n] for s, n in zip(group, share, strict=True)] for group in (tested, others)]
        tests = [order[speaker][len(order[speaker]) // 2 :] for speaker in tested]
        found.append(Pair(number, *(np.concatenate(rows) for rows in (*trains, tests))))
    return found


def _row(metric: str, number: int, figures: np.ndarray) -> Row:
    """Sum up the draws of both models (draw, 2)."""
    row: Row = {"metric": metric, "speakers": number}
    for name, values in zip((*MODELS, "gap"), (*figures.T, figures[:, 0] - figures[:, 1]), strict=True):
        low, high = np.percentile(values, PERCENTILES).tolist()
        row |= {name: float(values.mean()), f"{name} low": low, f"{name} high": high}
    return row


def _write(facts: dict[str, Any], rows: list[Row], runs: Path) -> Gap:
    """Write the table twice, and a picture of both models for each metric."""
    folder = write_table("personalisation-gap", "gap", facts, rows, runs)
    for metric in dict.fromkeys(row["metric"] for row in rows):
        own = [row for row in rows if row["metric"] == metric]
        lines: dict[str, plots.Line] = {}
        for model in MODELS:
            values, low, high = ([row[key] for row in own] for key in (model, f"{model} low", f"{model} high"))
            lines[f"speaker-{model}"] = [row["speakers"] for row in own], values, low, high
        label = f"training speakers, {facts['clips']} clips in all (bands: 95 % of {facts['draws']} draws)"
        save(plots.curves(lines, label, metric, log_x=True, percent=metric == "UA"), folder / f"{metric}.png")
    return Gap(facts, rows, folder)
