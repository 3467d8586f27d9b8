"""Frames become one vector per clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FirstFrame(nn.Module):
    """The first frame of a clip; its padding does not matter."""

    widening = 1

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) to (batch, feature)."""
        return frames[:, 0].float()


class MeanPooling(nn.Module):
    """Mean over a clip's valid frames."""

    widening = 1

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) and a mask (batch, frame) to (batch, feature)."""
        weight = mask.unsqueeze(-1).float()
        return (frames.float() * weight).sum(dim=1) / weight.sum(dim=1)


class StatisticsPooling(nn.Module):
    """Mean and population deviation over a clip's valid frames, one after the other (Tu et al. 2019, table 1)."""

    widening = 2

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) and a mask (batch, frame) to (batch, 2 * feature)."""
        wide = frames.float()
        weight = mask.unsqueeze(-1).float()
        count = weight.sum(dim=1)
        mean = (wide * weight).sum(dim=1) / count
        variance = ((wide - mean.unsqueeze(1)).square() * weight).sum(dim=1) / count
        return torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=-1)


POOLINGS = {"statistics": StatisticsPooling, "mean": MeanPooling, "first_frame": FirstFrame}
