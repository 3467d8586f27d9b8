"""Unseen speakers are enrolled: what a run's models answer with some of a speaker's own unlabelled clips at hand.

Nothing is trained, and no sound is read again: the embeddings that finished trials kept are standardised by speaker,
and the models' heads answer anew. So every number of clips from none to all makes a point of the cold-start curve.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import TooFewClips
from serene.evaluation.report import Report, ReportFacts, build
from serene.experiment.corpus import Progress, load_corpus, silent
from serene.experiment.run import Run, Trial
from serene.experiment.run_report import COLD_START, write_cards
from serene.experiment.unseen import UnseenSpeakers, cold_start
from serene.files import write_text
from serene.models.model import EmotionModel
from serene.reporting.plots import curves
from serene.reporting.report_page import write_html
from serene.reporting.style import save
from serene.task import task_of_report


def unseen_of(trial: Trial) -> UnseenSpeakers:
    """Read what a finished trial kept of its test speakers.

    Raises:
        SereneError: its model or embeddings are gone, or the model was not trained to enrol.
    """
    model, kept = EmotionModel.load(trial.folder / "model"), trial.embeddings("test")
    if "embeddings" not in model.needs:
        raise SereneError(
            "The models of this run standardise no embeddings by speaker; train with model.embedding_norm=speaker. "
            "For features standardised by speaker, `serene reproduce cold-start` draws the curve."
        )
    if kept is None:
        raise SereneError(f"{trial.folder} has finished, and its embeddings are gone. Delete it and train again.")
    answers = trial.predictions().select(part="test")
    place = {name: row for row, name in enumerate(kept[0])}
    rows = [place[name] for name in answers.id.tolist()]
    return UnseenSpeakers(model, answers.ordered(model.task.names), kept[1][rows])


def evaluate_enrolled(run: Run, progress: Progress = silent) -> tuple[Report, Path]:
    """Measure a run's models on enrolled unseen: a report with all clips, and the cold-start curve.

    Returns:
        The report of all clips, and the folder inside the run's where it was written, with `cold_start.json` (clips ->
        UA, or CCC of the first dimension, with its interval) and its picture. The cards of the run's models are written
        anew.

    Raises:
        SereneError: the models do not enrol, something of the run is gone, or its corpus is out of reach.
    """
    trials, kept = run.finished(), run.folder / "report.json"
    if not kept.exists():
        raise SereneError(f"{run.folder} has no report; make it first: serene evaluate {run.folder}.")
    unseen = [unseen_of(trial) for trial in trials]
    texts = {u.id: u.text_id for u in load_corpus(run.recipe.corpus, run.folder.parent, progress)}
    progress("enrolling", 0, 1)
    curve = cold_start(unseen)
    progress("enrolling", 1, 1)
    content = json.loads(kept.read_text(encoding="utf-8"))
    facts = replace(
        ReportFacts.of(content),
        title=f"{run.recipe.name}, speakers enrolled",
        saw_unlabelled_test_audio=True,
        stamps=[*content["stamps"], "each test speaker is enrolled with all of their unlabelled test clips"],
        seconds=None,
    )
    report = build(
        Predictions.concatenate(own.answered(None) for own in unseen),
        facts,
        probes=[{"test": _probe(own, texts), "train": None} for own in unseen],
        temperatures=[own.model.temperature for own in unseen],
    )
    folder = run.folder / "enrolled"
    report.write(folder / "report.json")
    write_html([report], folder / "report.html")
    write_text(run.folder / COLD_START, json.dumps(curve, indent=2) + "\n")
    _draw(curve, task_of_report(content).metric.upper(), (run.folder / COLD_START).with_suffix(".png"))
    write_cards(run)
    return report, folder


def _probe(unseen: UnseenSpeakers, texts: Mapping[str, str | None]) -> dict[str, Any] | None:
    """Probe the embeddings; None where no two speakers can be told apart, or where that is the model's very task."""
    if unseen.model.task.speaker_probe:
        with contextlib.suppress(TooFewClips):
            return unseen.probe(texts)
    return None


def _draw(curve: dict[str, Any], measure: str, path: Path) -> None:
    where: Sequence[float | str] = [int(name) if name.isdecimal() else name for name in curve]
    low, high = ([figure[end] for figure in curve.values()] for end in ("low", "high"))
    line = (where, [figure["value"] for figure in curve.values()], low, high)
    save(curves({measure: line}, "unlabelled clips that each test speaker is enrolled with", measure), path)
