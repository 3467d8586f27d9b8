"""Directions in which speakers differ are made smaller, in closed form: what a learned normaliser has to beat.

Within-class covariance normalisation (Hatch et al. 2006) with the speaker as the nuisance: embeddings are whitened by
how the means of speakers differ, the training part's or a speaker corpus's. The strength says how much; a very large
one projects these directions out, which is nuisance attribute projection (Solomonoff et al. 2005).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from serene.errors import SereneError
from serene.speaker import SMALLEST

Labels = Sequence[str] | np.ndarray
LEAST = 1e-9  # variance of speakers' means beside 1 of all clips; below it there is rounding alone


class SpeakerWhitening(nn.Module):
    """`z (I + strength B)^(-1/2)`: z are standardised embeddings, B the covariance of the speakers' means of them.

    It leaves embeddings alone until it is estimated, and is a constant then.

    Args:
        width: of the embeddings.
    """

    mean: Tensor
    deviation: Tensor
    matrix: Tensor

    def __init__(self, width: int) -> None:
        """Begin as the identity."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.register_buffer("matrix", torch.eye(width))

    def standardise(self, embeddings: np.ndarray) -> None:
        """Take mean and deviation of the training part's embeddings (utterance, feature)."""
        self.mean.copy_(torch.from_numpy(embeddings.mean(axis=0)))
        self.deviation.copy_(torch.from_numpy(np.maximum(embeddings.std(axis=0), SMALLEST)))

    def estimate(self, standard: np.ndarray, speakers: Labels, labels: Labels, strength: float) -> None:
        """Take the matrix from clips whose speakers are known.

        Speakers' means are of what is left once each label's mean is taken off, so that a speaker who says some
        emotions more often does not make these a direction of speakers.

        Args:
            standard: their embeddings, standardised (utterance, feature).
            speakers: who speaks (utterance,).
            labels: what is learnt of them (utterance,), all alike where that is unknown.
            strength: 0 or more.

        Raises:
            SereneError: there is no such direction, as where each speaker has a label of their own.
        """
        rest = standard.astype(np.float64)
        rest -= _means(rest, labels)
        names = np.asarray(speakers)
        means = np.stack([rest[names == name].mean(axis=0) for name in np.unique(names)])
        values, directions = np.linalg.eigh(means.T @ means / len(means))
        if values[-1] < LEAST:
            raise SereneError(
                f"model.speaker_whitening finds no direction in which the {len(means)} speakers differ: it needs two "
                "who have clips of the same class. Drop it, or name another corpus in 'speakers'."
            )
        scale = 1 / np.sqrt(1 + strength * np.maximum(values, 0))
        self.matrix.copy_(torch.from_numpy(directions * scale @ directions.T))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Whiten embeddings (batch, feature)."""
        return (embeddings - self.mean) / self.deviation @ self.matrix


def _means(values: np.ndarray, labels: Labels) -> np.ndarray:
    """Give each row (utterance, feature) the mean over the rows of its label."""
    made, names = np.empty_like(values), np.asarray(labels)
    for name in np.unique(names):
        made[names == name] = values[names == name].mean(axis=0)
    return made
