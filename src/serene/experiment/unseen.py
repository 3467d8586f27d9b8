"""Unseen speakers are enrolled with unlabelled clips: their embeddings standardised, and what a model answers then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import speaker_probe
from serene.models.model import EmotionModel
from serene.protocols.split import enrolment_ids
from serene.speaker import SpeakerContext, Statistics

CLIPS = (0, 1, 2, 5, 10, 20, None)  # that each speaker is enrolled by; None for all


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

    def enrolled(self, clips: int | None, rows: np.ndarray | None = None) -> np.ndarray:
        """Standardise embeddings by speaker: (row, feature).

        Args:
            clips: of each speaker to enrol with, drawn from the rows by a hash of their ids; all for None.
            rows: indices of utterances, which alone are there; all without it.
        """
        rows = np.arange(len(self.embeddings)) if rows is None else rows
        own, names, speakers = self.embeddings[rows], self.answers.id[rows], self.answers.speaker[rows]
        known = [Statistics.of_nothing(own.shape[1])] * len(rows)
        for speaker in np.unique(speakers):
            said = np.flatnonzero(speakers == speaker)
            enrolled = set(enrolment_ids(names[said].tolist(), clips))
            chosen = own[[row for row in said if names[row] in enrolled]]
            if len(chosen):
                statistics = Statistics.of(lambda: [chosen])  # noqa: B023  # read at once
                known = [statistics if row in said else one for row, one in enumerate(known)]
        context = SpeakerContext.stack([SpeakerContext(embeddings=one) for one in known]).mapped(torch.from_numpy)
        with torch.no_grad():
            return self.model.enrolled(torch.from_numpy(own), context.need("embeddings")).numpy()

    @torch.no_grad()
    def answered(self, clips: int | None) -> Predictions:
        """Answer again, each speaker enrolled by so many clips; all for None."""
        outputs = self.model.classify(self.model.hidden(torch.from_numpy(self.enrolled(clips)))).numpy()
        scores = self.model.task.scores(outputs, self.model.temperature)
        return self.answers.rescored(scores)

    def probe(self, texts: Mapping[str, str | None]) -> dict[str, Any]:
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
        return speaker_probe(self.enrolled(None), speakers, said if any(said) else None, within_halves=within_halves)


def cold_start(unseen: Sequence[UnseenSpeakers]) -> dict[str, dict[str, Any]]:
    """Give accuracy by how many clips of each speaker are enrolled, over all models: the clips -> UA, or the first CCC.

    Args:
        unseen: of each model; their answers go into one figure.
    """
    curve = {}
    for clips in CLIPS:
        found = intervals(Predictions.concatenate(own.answered(clips) for own in unseen))
        curve["all" if clips is None else str(clips)] = next(iter(found.values())).to_dict()
    return curve
