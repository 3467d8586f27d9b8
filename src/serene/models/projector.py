"""The speaker normalisation projector of Gat et al. 2022: a layer between the encoder and all heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from serene.models.parts import Projection


class Projector(nn.Module):
    """Map every frame by one non-linear layer that keeps the width.

    The paper gives neither width nor activation. `relu` and `gelu` are `a(W z + b)`; `residual` is
    `z + V gelu(W z + b)` with `V` zero at first, so that it starts as the identity; `gate` is `sigmoid(W z + b) * z`.

    Args:
        width: features per frame.
        kind: which of these.
    """

    def __init__(self, width: int, kind: Projection) -> None:
        """Build the layer with PyTorch's default initialisation."""
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(width, width)
        if kind == "residual":
            self.back = nn.Linear(width, width, bias=False)
            nn.init.zeros_(self.back.weight)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (batch, frame, feature) to the same shape."""
        mapped = self.linear(frames)
        if self.kind == "gate":
            return torch.sigmoid(mapped) * frames
        if self.kind == "residual":
            return frames + self.back(functional.gelu(mapped))
        return torch.relu(mapped) if self.kind == "relu" else functional.gelu(mapped)
