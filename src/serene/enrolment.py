"""Strangers are enrolled: what a run's models answer once they have heard some of a speaker's clips, without labels.

Nothing is trained, and no sound is heard again: the embeddings that finished cells kept are standardised by speaker,
and the models' heads answer anew. So every number of clips from none to all makes a point of the cold-start curve.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serene.errors import SereneError
from serene.evaluation.answers import Answers
from serene.evaluation.confidence import intervals
from serene.evaluation.picture_style import png
from serene.evaluation.plots import curves
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import speaker_leak
from serene.evaluation.ratings import Ratings
from serene.evaluation.report import Report, build
from serene.evaluation.report_page import write_html
from serene.experiment import COLD_START, Progress, load_corpus, silent, write_cards
from serene.files import whole_file, write_text
from serene.models.model import EmotionModel
from serene.protocols.split import shuffled
from serene.run import Cell, Run

CLIPS = (0, 1, 2, 5, 10, 20, None)  # that each speaker is enrolled by; None for all
SMALLEST = 1e-5  # of a deviation
FACTS = (  # of the run's own report, which hold for the enrolled models as well
    *("corpus", "only", "data", "languages", "target", "join", "method", "speaker_corpus", "normalize"),
    *("protocol", "speaker_independent", "selection", "stamps", "recipe", "recipe_hash", "machine", "environment"),
)


@dataclass(frozen=True)
class Strangers:
    """What a finished cell kept of its test speakers.

    Attributes:
        model: of the cell.
        answers: for the test's clips, nobody being enrolled.
        embeddings: float32 (utterance, feature), in the order of the answers.
    """

    model: EmotionModel
    answers: Predictions | Ratings
    embeddings: np.ndarray

    @classmethod
    def of(cls, cell: Cell) -> Strangers:
        """Read a cell.

        Raises:
            SereneError: its model or embeddings are gone, or the model was not trained to enrol.
        """
        model, kept = EmotionModel.load(cell.folder / "model"), cell.embeddings("test")
        if not model.parts.enrols_embeddings:
            raise SereneError(
                "The models of this run standardise no embeddings by speaker; train with model.embedding_norm=speaker. "
                "For features standardised by speaker, `serene reproduce cold-start` draws the curve."
            )
        if kept is None:
            raise SereneError(f"{cell.folder} has finished, and its embeddings are gone. Delete it and train again.")
        answers = cell.predictions().select(part="test")
        place = {name: row for row, name in enumerate(kept[0])}
        return cls(model, answers, kept[1][[place[name] for name in answers.id.tolist()]])

    def enrolled(self, clips: int | None, rows: np.ndarray | None = None) -> np.ndarray:
        """Standardise embeddings by speaker: (row, feature).

        Args:
            clips: of each speaker that are heard, drawn from the rows by a hash of their ids; all for None.
            rows: indices of utterances, which alone are there; all without it.
        """
        rows = np.arange(len(self.embeddings)) if rows is None else rows
        own, names, speakers = self.embeddings[rows], self.answers.id[rows], self.answers.speaker[rows]
        statistics = np.zeros((len(rows), 2, own.shape[1]), dtype=np.float32)
        count = np.zeros(len(rows), dtype=np.int64)
        for speaker in np.unique(speakers):
            said = np.flatnonzero(speakers == speaker)
            heard = set(shuffled(names[said].tolist(), 0, "enrolment")[:clips])
            chosen = own[[row for row in said if names[row] in heard]]
            count[said] = len(chosen)
            if len(chosen):
                statistics[said] = np.stack([chosen.mean(axis=0), np.maximum(chosen.std(axis=0), SMALLEST)])
        with torch.no_grad():
            tensors = (torch.from_numpy(array) for array in (own, statistics, count))
            return self.model.enrolled(*tensors).numpy()

    @torch.no_grad()
    def answered(self, clips: int | None) -> Predictions | Ratings:
        """Answer again, each speaker enrolled by so many clips; all for None."""
        outputs = self.model.classify(self.model.hidden(torch.from_numpy(self.enrolled(clips)))).double()
        if isinstance(self.answers, Ratings):
            return replace(self.answers, prediction=outputs.numpy())
        scores = (outputs / self.model.temperature).softmax(dim=1).numpy()
        return replace(self.answers, scores=scores, prediction=scores.argmax(axis=1))

    def leak(self, texts: dict[str, str | None]) -> dict[str, Any]:
        """Probe the embeddings of speakers who are enrolled by all clips, inside each half of the probe's alone.

        Args:
            texts: what is said, by utterance.
        """

        def within_halves(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
            made = np.empty((len(rows), self.embeddings.shape[1]), dtype=np.float32)
            for half in (first, ~first):
                made[half] = self.enrolled(None, rows[half])
            return made

        said = [texts.get(name) for name in self.answers.id.tolist()]
        speakers = self.answers.speaker.tolist()
        return speaker_leak(self.enrolled(None), speakers, said if any(said) else None, within_halves=within_halves)


def evaluate_enrolled(run: Run, progress: Progress = silent) -> tuple[Report, Path]:
    """Measure a run's models on enrolled strangers: a report with all clips, and the cold-start curve.

    Returns:
        The report of all clips, and the folder inside the run's where it was written, with `cold_start.json` (clips ->
        UA, or mean CCC, with its interval) and its picture. The cards of the run's models are written anew.

    Raises:
        SereneError: the models do not enrol, something of the run is gone, or its corpus is out of reach.
    """
    cells, kept = run.finished(), run.folder / "report.json"
    if not kept.exists():
        raise SereneError(f"{run.folder} has no report; make it first: serene evaluate {run.folder}.")
    strangers = [Strangers.of(cell) for cell in cells]
    texts = {u.id: u.text_id for u in load_corpus(run.recipe.corpus, run.folder.parent, progress)}
    curve = {}
    for done, clips in enumerate(CLIPS, 1):
        found = intervals(Answers.concatenate(own.answered(clips) for own in strangers))
        curve[_name(clips)] = next(iter(found.values())).to_dict()
        progress("enrolling", done, len(CLIPS))
    content = json.loads(kept.read_text(encoding="utf-8"))
    facts = {name: content[name] for name in FACTS if name in content}
    facts["title"] = f"{run.recipe.name}, speakers enrolled"
    facts["stamps"] = [
        *facts["stamps"],
        "each test speaker is enrolled by all of their test clips, without labels: not to be compared with a system "
        "that hears one clip at a time",
    ]
    report = build(
        Answers.concatenate(own.answered(None) for own in strangers),
        facts=facts | {"saw_unlabelled_test_audio": True},
        leak=[{"test": own.leak(texts), "train": None} for own in strangers],
        temperatures=[own.model.temperature for own in strangers],
    )
    folder = run.folder / "enrolled"
    report.write(folder / "report.json")
    write_html([report], folder / "report.html")
    write_text(run.folder / COLD_START, json.dumps(curve, indent=2) + "\n")
    _draw(curve, "CCC" if "dimensions" in content else "UA", (run.folder / COLD_START).with_suffix(".png"))
    write_cards(run)
    return report, folder


def _draw(curve: dict[str, Any], measure: str, path: Path) -> None:
    where: Sequence[float | str] = [int(name) if name.isdecimal() else name for name in curve]
    low, high = ([figure[end] for figure in curve.values()] for end in ("low", "high"))
    line = (where, [figure["value"] for figure in curve.values()], low, high)
    figure = curves({"": line}, "clips of the speaker that were heard before, without labels", measure)
    with whole_file(path) as temporary:
        temporary.write_bytes(png(figure))


def _name(clips: int | None) -> str:
    return "all" if clips is None else str(clips)
