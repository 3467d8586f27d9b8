"""What features are standardised by: the training set, each utterance, or each speaker's own clips."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from serene.audio.batch import Batch
from serene.models.masking import moments
from serene.speaker import SMALLEST, SpeakerContext, Statistics

Normalization = Literal["training_set", "utterance", "speaker", "none"]
Moments = tuple[Tensor, Tensor]
"""Mean and deviation, (feature,) each, or (batch, 1, feature)."""


def moments_of(normalize: Normalization, batch: Batch, mask: Tensor, training: Moments, prior: float) -> Moments:
    """Give the mean and deviation that a batch's features are standardised by, sound where the mask (batch, frame) is.

    `training` are the training set's own; `prior`, how many frames these count for beside a speaker's own.
    """
    if normalize == "training_set":
        return training
    if normalize == "none":
        return torch.zeros_like(training[0]), torch.ones_like(training[1])
    if normalize == "utterance":
        mean, variance = moments(batch.inputs, mask.unsqueeze(-1).float())
        return mean, torch.sqrt(variance).clamp(min=SMALLEST)
    own: Statistics = (batch.context or SpeakerContext()).need("features")
    return blended(own, prior, *training) if prior else (own.moments[:, :1], own.moments[:, 1:])


def blended(own: Statistics, prior: float, mean: Tensor, deviation: Tensor) -> Moments:
    """Blend speakers' statistics, side by side, with the training set's, which count for `prior` frames or clips.

    Returns mean and deviation, each (batch, 1, feature).
    """
    share = (own.count / (own.count + prior))[:, None, None].to(own.moments.dtype)
    variance = share * own.moments[:, 1:].square() + (1 - share) * deviation.square()
    return share * own.moments[:, :1] + (1 - share) * mean, variance.sqrt()
