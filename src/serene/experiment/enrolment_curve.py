"""Unseen speakers are enrolled with some of their unlabelled clips: what a model answers then, from none to all.

Nothing is trained, and no sound is decoded again: embeddings that were kept are standardised by speaker, and the
models' heads answer anew. So every number of clips makes a point of the cold-start curve.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serene.errors import SereneError
from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import TooFewClips, speaker_probe
from serene.evaluation.report import Report, ReportFacts, build
from serene.experiment.plan import Progress, load_corpus, silent
from serene.experiment.run import Run, Trial
from serene.experiment.run_report import COLD_START, REPORTED, write_cards
from serene.files import read_json, write_text
from serene.models.model import EmotionModel
from serene.protocols.split import enrolment_ids
from serene.reporting.plots import curves
from serene.reporting.report_page import write_html
from serene.reporting.style import save
from serene.speaker import SpeakerContext, Statistics
from serene.task import task_of_report

CLIPS = (0, 1, 2, 5, 10, 20, None)  # that each speaker is enrolled with; None for all


@dataclass(frozen=True)
class UnseenSpeakers:
    """Tested speakers, and what a model that standardises embeddings by speaker made of their clips.

    Attributes:
        model: trained with `embedding_norm: speaker`.
        answers: for the clips, nobody being enrolled.
        embeddings: float32 (utterance, feature), in the order of the answers.
    """

    model: EmotionModel
    answers: Predictions
    embeddings: np.ndarray

    @classmethod
    def of(cls, trial: Trial) -> UnseenSpeakers:
        """Read what a finished trial kept of its test speakers.

        Raises:
            SereneError: its model or embeddings are gone, or the model was not trained to enrol.
        """
        trial.check("model")
        model, kept = EmotionModel.load(trial.folder / "model"), trial.embeddings("test")
        if "embeddings" not in model.needs:
            raise SereneError(
                "The models of this run standardise no embeddings by speaker; train with model.embedding_norm=speaker. "
                "For features standardised by speaker, `serene reproduce cold-start` draws the curve."
            )
        if kept is None:
            raise SereneError(f"{trial.folder} has finished, and its embeddings are gone. Delete it and train again.")
        answers = trial.predictions().select(part="test").ordered(model.task.names)
        place = {name: row for row, name in enumerate(kept[0])}
        return cls(model, answers, kept[1][[place[name] for name in answers.id.tolist()]])

    def enrolled(self, clips: int | None, rows: np.ndarray | None = None) -> np.ndarray:
        """Standardise embeddings by speaker: (row, feature).

        Args:
            clips: that each speaker is enrolled with, drawn from the rows by a hash of their ids; all for None.
            rows: indices of utterances, which alone are there; all without it.
        """
        rows = np.arange(len(self.embeddings)) if rows is None else rows
        own, names, speakers = self.embeddings[rows], self.answers.id[rows], self.answers.speaker[rows]
        nothing, contexts = Statistics.of_nothing(own.shape[1]), {}
        for speaker in np.unique(speakers):
            wanted = enrolment_ids(names[speakers == speaker].tolist(), clips)
            chosen = own[(speakers == speaker) & np.isin(names, wanted)]
            known = Statistics.of(lambda: [chosen]) if len(chosen) else nothing  # noqa: B023  # read at once
            contexts[speaker] = SpeakerContext(embeddings=known)
        context = SpeakerContext.stack([contexts[speaker] for speaker in speakers]).mapped(torch.from_numpy)
        with torch.no_grad():
            return self.model.enrolled(torch.from_numpy(own), context.need("embeddings")).numpy()

    @torch.no_grad()
    def answered(self, clips: int | None) -> Predictions:
        """Answer again, each speaker enrolled with so many unlabelled clips; all for None."""
        outputs = self.model.classify(self.model.hidden(torch.from_numpy(self.enrolled(clips)))).numpy()
        return self.answers.rescored(self.model.task.scores(outputs, self.model.temperature))

    def probe(self, texts: Mapping[str, str | None]) -> dict[str, Any] | None:
        """Probe the embeddings of speakers who are enrolled with all clips, inside each half of the probe's alone.

        Args:
            texts: what is said, by utterance.

        Returns:
            As `speaker_probe`; None where no two speakers can be told apart, or where that is the model's very task.
        """

        def within_halves(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
            made = np.empty((len(rows), self.embeddings.shape[1]), dtype=np.float32)
            for half in (first, ~first):
                made[half] = self.enrolled(None, rows[half])
            return made

        said = [texts.get(name) for name in self.answers.id.tolist()]
        speakers = self.answers.speaker.tolist()
        if self.model.task.speaker_probe:
            with contextlib.suppress(TooFewClips):
                embeddings = self.enrolled(None)
                return speaker_probe(embeddings, speakers, said if any(said) else None, within_halves=within_halves)
        return None


def cold_start(unseen: Sequence[UnseenSpeakers]) -> dict[str, dict[str, Any]]:
    """Give accuracy by how many unlabelled clips each speaker is enrolled with, over all models.

    Returns:
        The clips -> UA, or the CCC of the first dimension.
    """
    curve = {}
    for clips in CLIPS:
        found = intervals(Predictions.concatenate(own.answered(clips) for own in unseen))
        curve["all" if clips is None else str(clips)] = asdict(next(iter(found.values())))
    return curve


def evaluate_enrolled(run: Run, progress: Progress = silent) -> tuple[Report, Path]:
    """Measure a run's models on unseen speakers enrolled with their unlabelled clips, and write its cards anew.

    Returns:
        The report of all clips, and the folder inside the run's where it was written, with `cold_start.json` and its
        picture.

    Raises:
        SereneError: the models do not enrol, something of the run is gone, or its corpus is out of reach.
    """
    trials, kept = run.finished(), run.folder / "report.json"
    if not kept.exists():
        raise SereneError(f"{run.folder} has no report; make it first: serene evaluate {run.folder}.")
    unseen = [UnseenSpeakers.of(trial) for trial in trials]
    texts = {u.id: u.text_id for u in load_corpus(run.recipe.corpus, run.folder.parent, progress)}
    progress("enrolling", 0, 1)
    curve = cold_start(unseen)
    progress("enrolling", 1, 1)
    content = read_json(kept, *REPORTED)
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
        probes=[{"test": own.probe(texts), "train": None} for own in unseen],
        temperatures=[own.model.temperature for own in unseen],
    )
    folder = run.folder / "enrolled"
    report.write(folder / "report.json")
    write_html([report], folder / "report.html")
    write_text(run.folder / COLD_START, json.dumps(curve, indent=2) + "\n")
    _draw(curve, task_of_report(content).metric.upper(), (run.folder / COLD_START).with_suffix(".png"))
    write_cards(run)
    return report, folder


def _draw(curve: dict[str, Any], measure: str, path: Path) -> None:
    where: Sequence[float | str] = [int(name) if name.isdecimal() else name for name in curve]
    value, low, high = ([figure[key] for figure in curve.values()] for key in ("value", "low", "high"))
    line = (where, value, low, high)
    save(curves({measure: line}, "unlabelled clips that each test speaker is enrolled with", measure), path)
