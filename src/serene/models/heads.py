"""The layers between a pooled vector and logits, for emotions in the model and for speakers in the methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from serene.models.masking import Dropout, MaskedBatchNorm


class Head(nn.Module):
    """Hidden layers (linear, ReLU, batch norm, dropout) and a linear output layer without any of them.

    Args:
        width: features going in.
        hidden: units of each hidden layer; Tu et al. 2019 have two of 64.
        outputs: classes.
        dropout: probability of dropping a hidden unit.
    """

    def __init__(self, width: int, hidden: Sequence[int], outputs: int, *, dropout: float = 0.5) -> None:
        """Build the layers with PyTorch's default initialisation."""
        super().__init__()
        widths = (width, *hidden)
        layers: list[nn.Module] = []
        for below, above in pairwise(widths):
            layers += [nn.Linear(below, above), nn.ReLU(), MaskedBatchNorm(above), Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.classify = nn.Linear(widths[-1], outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (batch, feature) to logits (batch, outputs)."""
        return self.classify(self.hidden(pooled))


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy of logits (batch, class) in full precision; targets are distributions or class indices."""
    return functional.cross_entropy(logits.float(), target)
