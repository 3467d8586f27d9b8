"""Fresh speaker probes of what a trained model passes on: of unseen speakers, and of those it was trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from serene.audio.dataset import Dataset
from serene.evaluation.probes import TooFewClips, WithinHalves, speaker_probe
from serene.experiment.sections import Recipe
from serene.models.model import EmotionModel
from serene.models.scoring import score
from serene.protocols import Split
from serene.protocols.split import RANDOM_SHARES


def probes_of(
    recipe: Recipe,
    model: EmotionModel,
    split: Split,
    datasets: Mapping[str, Dataset],
    device: str,
    whitened: WithinHalves | None = None,
) -> dict[str, Any]:
    """Probe the embeddings of unseen and of training speakers; None where no two speakers can be told apart.

    A model whose very task is the speaker is not probed. Where one speaker is tested, those who validate are unseen as
    well, unless they were trained on. Training speakers by whom a model whitens are `whitened` inside each draw.
    """
    alone = len({u.speaker for u in split.test}) < 2
    unseen = ["validation", "test"] if alone and split.validation_rule not in RANDOM_SHARES else ["test"]
    probed: dict[str, Any] = {}
    for name, parts in (("test", unseen), ("train", ["train"])):
        dataset = Dataset.joined([datasets[part] for part in parts if part in datasets])
        probed[name] = None
        if model.task.speaker_probe and len(dataset.utterances.counts("speaker")) > 1:
            with contextlib.suppress(TooFewClips):
                within = whitened if name == "train" else None
                clips = recipe.features.enrolment_clips
                found = probe_of(model, dataset, device=device, enrolment_clips=clips, whitened=within)
                told = {"standardized": "by the training half, whitened by its speakers"} if within else {}
                probed[name] = found | told | {"parts": parts}
    return probed


def probe_of(
    model: EmotionModel,
    dataset: Dataset,
    *,
    device: str = "cpu",
    enrolment_clips: int | None = None,
    whitened: WithinHalves | None = None,
) -> dict[str, Any]:
    """Probe a model's embedding for the speakers of a dataset; see `serene.evaluation.probes.speaker_probe`.

    A model that standardises by speaker embeds the clips anew in every draw, each speaker enrolled with
    unlabelled clips of the same half alone: all of them, or `enrolment_clips`.
    """

    def within_halves(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        embeddings = {}
        for half in (first, ~first):
            part = dataset.enrolled_by_own_clips(rows[half], enrolment_clips)
            embeddings |= dict(zip(rows[half].tolist(), score(model, part, device=device).embeddings, strict=True))
        return np.stack([embeddings[row] for row in rows.tolist()])

    texts = [u.text_id for u in dataset.utterances]
    return speaker_probe(
        score(model, dataset, device=device).embeddings,
        [u.speaker for u in dataset.utterances],
        texts if any(texts) else None,
        within_halves=within_halves if model.normalize == "speaker" else whitened,
    )
