"""Frames become one vector per clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serene.errors import SereneError

HEADS = 4  # of attentive pooling
SMALLEST = 1e-5  # added to a variance before its root is taken


class Pooling(nn.Module):
    """Base of what turns frames (batch, frame, feature) and a mask (batch, frame) into (batch, widening * feature).

    Args:
        width: features per frame.
    """

    widening = 1

    def __init__(self, width: int) -> None:
        """Most learn nothing."""
        super().__init__()


class FirstFrame(Pooling):
    """The first frame of a clip; its padding does not matter."""

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) to (batch, feature)."""
        return frames[:, 0].float()


class MeanPooling(Pooling):
    """Mean over a clip's valid frames."""

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) and a mask (batch, frame) to (batch, feature)."""
        weight = mask.unsqueeze(-1).float()
        return (frames.float() * weight).sum(dim=1) / weight.sum(dim=1)


class StatisticsPooling(Pooling):
    """Mean and population deviation over a clip's valid frames, one after the other (Tu et al. 2019, table 1)."""

    widening = 2

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) and a mask (batch, frame) to (batch, 2 * feature)."""
        return _moments(frames.float(), mask.unsqueeze(-1).float())


class AttentivePooling(Pooling):
    """Mean and deviation over a clip's frames, weighted by attention (Okabe et al. 2018, attentive statistics).

    Each of four heads weighs the frames for its own quarter of the features: the softmax over valid frames of a linear
    map of each frame.

    Raises:
        SereneError: the features cannot be shared out among the heads.
    """

    widening = 2

    def __init__(self, width: int) -> None:
        """Build the map that weights come from."""
        super().__init__(width)
        if width % HEADS:
            raise SereneError(
                f"model.pooling attentive deals the encoder's {width} features to {HEADS} heads, and that does not "
                "come out even; choose another width, or statistics."
            )
        self.attention = nn.Linear(width, HEADS)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) and a mask (batch, frame) to (batch, 2 * feature)."""
        wide = frames.float()
        scores = self.attention(wide).masked_fill(~mask.unsqueeze(-1), float("-inf"))
        quarter = wide.shape[2] // HEADS
        return _moments(wide, scores.softmax(dim=1).repeat_interleave(quarter, dim=2))


def _moments(frames: Tensor, weight: Tensor) -> Tensor:
    """Give weighted mean and population deviation over frames, one after the other: (batch, 2 * feature)."""
    count = weight.sum(dim=1)
    mean = (frames * weight).sum(dim=1) / count
    variance = ((frames - mean.unsqueeze(1)).square() * weight).sum(dim=1) / count
    return torch.cat([mean, torch.sqrt(variance + SMALLEST)], dim=-1)


POOLINGS = {
    "statistics": StatisticsPooling,
    "attentive": AttentivePooling,
    "mean": MeanPooling,
    "first_frame": FirstFrame,
}
