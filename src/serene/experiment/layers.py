"""Emotion and speaker by layer of a pretrained encoder: linear probes of every layer's mean and deviation.

Nothing of the encoder is trained. The emotion is told on speakers who did not train the probe, of clips as they are and
standardised by all of the speaker's own unlabelled clips; the speaker on texts that did not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from serene import protocols
from serene.audio.dataset import features, warm
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed
from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import TooFewClips, speaker_probe
from serene.experiment.linear_study import PENALTY, Row, scaled, write_table
from serene.experiment.plan import Progress, silent
from serene.models.layer_statistics import LayerStatistics
from serene.protocols import Split
from serene.reporting.plots import curves
from serene.reporting.style import save
from serene.speaker import Statistics
from serene.task import Task
from serene.training.checkpoint import environment

FOLDS = 5  # of speakers
DRAWS = 2  # of the halves of the texts
TOLD = {"UA": "emotion", "UA enrolled": "emotion, speakers enrolled", "speaker": "speaker"}


@dataclass(frozen=True)
class Layers:
    """What was measured.

    Attributes:
        facts: on what, and how.
        rows: of each layer, the first one's input first, `UA`, `UA enrolled` and `speaker`, the former two with `low`
            and `high`, between which 95 % of the draws of speakers lie; `texts` says whether those that train and test
            the speaker's probe are `apart` or `shared`, as where none are known.
        folder: holds `layers.csv`, `layers.json` and `layers.png`.
    """

    facts: dict[str, Any]
    rows: list[Row]
    folder: Path


def probe_layers(weights: str, path: Path, runs: Path, *, progress: Progress = silent) -> Layers:
    """Probe every layer on a manifest; write a table and a picture.

    Args:
        weights: a folder or hub name of an encoder.
        path: a manifest with emotions.
        runs: folder of runs; every layer's mean and deviation are kept in its store.
        progress: told about clips and layers.

    Raises:
        SereneError: weights or manifest cannot be read, or there are too few speakers.
    """
    started = time.perf_counter()
    manifest, task = choose(Manifest.read(path), target="emotion", use=None, join={})
    labelled = hashed(manifest, lambda done, of: progress("decoding", done, of))
    splits = protocols.make_splits("speaker_folds", labelled, {"folds": min(FOLDS, len({u.speaker for u in labelled}))})
    store, clips = Store(runs / "store", LayerStatistics(weights=weights)), labelled.utterances
    warm(clips, store, lambda done, of: progress("features", done, of))
    vectors = np.stack([features(clip, store) for clip in clips])
    rows = []
    for layer in range(vectors.shape[1]):
        progress("layers", layer, vectors.shape[1])
        with threadpool_limits(1):  # the probes are small
            rows.append({"layer": layer} | _probed(vectors[:, layer], clips, task, splits))
    facts = {"manifest": path.stem, "data": labelled.digest, "encoder": store.front_end.identity, "penalty": PENALTY}
    facts |= {"clips": len(clips), "speakers": len({u.speaker for u in clips}), "folds": len(splits)}
    return _write(facts | {"chance": 1 / len(task.names)}, environment(time.perf_counter() - started), rows, runs)


def _probed(x: np.ndarray, clips: Sequence[Utterance], task: Task, splits: Sequence[Split]) -> Row:
    """Probe one layer's vectors (utterance, feature)."""
    row: Row = {}
    for name, vectors in (("UA", x), ("UA enrolled", enrolled(x, [clip.speaker for clip in clips]))):
        found = intervals(answers(vectors, clips, task, splits))["ua"]
        row |= {name: found.value, f"{name} low": found.low, f"{name} high": found.high}
    texts = [clip.text_id for clip in clips]
    try:
        found = speaker_probe(x, [clip.speaker for clip in clips], texts if any(texts) else None, draws=DRAWS)
    except TooFewClips:
        return row | {"speaker": None}
    texts = "apart" if found["text_disjoint"] else "shared"  # by the two halves of the clips
    return row | {"speaker": found["linear"]["mean"], "speaker chance": found["chance"], "texts": texts}


def answers(x: np.ndarray, clips: Sequence[Utterance], task: Task, splits: Sequence[Split]) -> Predictions:
    """Answer for each split's test clips by a logistic regression on all other clips, every emotion weighing as much.

    Args:
        x: float32 (utterance, feature).
        clips: in the same order.
        task: the emotions.
        splits: whose test speakers are not among the others.
    """
    place = {clip.id: row for row, clip in enumerate(clips)}
    found = []
    for split in splits:
        train, test = ([place[u.id] for u in part] for part in ((*split.train, *split.validation), split.test))
        inputs, truth = scaled(x, train), task.truth([clips[row] for row in train])
        model = LogisticRegression(C=1 / PENALTY, class_weight="balanced", max_iter=1000).fit(inputs[train], truth)
        scores = np.zeros((len(test), len(task.names)))
        scores[:, [task.names.index(name) for name in model.classes_]] = model.predict_proba(inputs[test])
        found.append(Predictions.of_clips(split.test, scores, task, part="test", fold=split.fold, seed=0))
    return Predictions.concatenate(found)


def enrolled(x: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
    """Standardise vectors (utterance, feature) by all of each speaker's own, whose labels are not looked at."""
    made, names = np.empty_like(x), np.asarray(speakers)
    for speaker in np.unique(names):
        own = names == speaker
        mean, deviation = Statistics.of(lambda: [x[own]]).moments  # noqa: B023  # read at once
        made[own] = (x[own] - mean) / deviation
    return made


def _write(facts: dict[str, Any], made: dict[str, Any], rows: list[Row], runs: Path) -> Layers:
    """Write the table twice, and the picture of all three probes."""
    folder = write_table("layers", "layers", facts, rows, runs, environment=made)
    lines = {}
    for key, name in TOLD.items():
        values, low, high = ([row.get(place) for row in rows] for place in (key, f"{key} low", f"{key} high"))
        if None not in values:
            lines[name] = [row["layer"] for row in rows], values, *((low, high) if None not in low else (None, None))
    save(curves(lines, "layer (0: what goes into the first)", "UA; accuracy for the speaker"), folder / "layers.png")
    return Layers(facts, rows, folder)
