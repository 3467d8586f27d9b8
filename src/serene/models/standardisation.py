"""What features are standardised by: the training set, each utterance, or each speaker's own clips."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from serene.audio.batch import Batch
from serene.speaker import SMALLEST, SpeakerContext, Statistics

Normalization = Literal["training_set", "utterance", "speaker", "none"]
Moments = tuple[Tensor, Tensor]
"""Mean and deviation, (feature,) each, or (batch, 1, feature)."""


def _of_nothing(batch: Batch, mask: Tensor, training: Moments, prior: float) -> Moments:
    return torch.zeros_like(training[0]), torch.ones_like(training[1])


def _of_the_training_set(batch: Batch, mask: Tensor, training: Moments, prior: float) -> Moments:
    return training


def _of_the_utterance(batch: Batch, mask: Tensor, training: Moments, prior: float) -> Moments:
    weight = mask.unsqueeze(-1).float()
    count = weight.sum(dim=1, keepdim=True)
    mean = (batch.inputs * weight).sum(dim=1, keepdim=True) / count
    variance = ((batch.inputs - mean).square() * weight).sum(dim=1, keepdim=True) / count
    return mean, torch.sqrt(variance).clamp(min=SMALLEST)


def _of_the_speaker(batch: Batch, mask: Tensor, training: Moments, prior: float) -> Moments:
    own: Statistics = (batch.context or SpeakerContext()).need("features")
    if prior == 0:
        return own.moments[:, :1], own.moments[:, 1:]
    return blended(own, prior, *training)


def blended(own: Statistics, prior: float, mean: Tensor, deviation: Tensor) -> Moments:
    """Blend speakers' statistics with the training set's, by how many frames or clips speak for each.

    Args:
        own: of each clip's speaker, side by side.
        prior: how many frames or clips the training set's count for.
        mean: (feature,) of the training set.
        deviation: (feature,) of the training set.

    Returns:
        Mean and deviation, each (batch, 1, feature).
    """
    share = (own.count / (own.count + prior))[:, None, None].to(own.moments.dtype)
    variance = share * own.moments[:, 1:].square() + (1 - share) * deviation.square()
    return share * own.moments[:, :1] + (1 - share) * mean, variance.sqrt()


MOMENTS = {  # of a batch and its mask, the training set's own, and how many frames those count for
    "training_set": _of_the_training_set,
    "utterance": _of_the_utterance,
    "speaker": _of_the_speaker,
    "none": _of_nothing,
}
