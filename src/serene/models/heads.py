"""The layers between a pooled vector and logits, for emotions in the model and for speakers in the methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from serene.models.masking import Dropout, MaskedBatchNorm
from serene.models.parts import HeadKind


class Head(nn.Module):
    """Hidden layers and a linear output layer without anything behind it.

    Args:
        width: features going in.
        hidden: units of each hidden layer, none for a linear map.
        outputs: classes.
        kind: what follows each hidden linear layer, in this order: ReLU, batch norm and dropout in Tu et al. 2019, the
            Brown report has dropout before batch norm, others ReLU alone or nothing (`linear`).
        dropout: probability of dropping a hidden unit, where the kind has dropout.
    """

    def __init__(
        self,
        width: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        kind: HeadKind = "relu_norm_dropout",
        dropout: float = 0.5,
    ) -> None:
        """Build the layers with PyTorch's default initialisation."""
        super().__init__()
        widths = (width, *hidden)
        layers: list[nn.Module] = []
        for below, above in pairwise(widths):
            layers += [nn.Linear(below, above), *_behind(above, kind, dropout)]
        self.hidden = nn.Sequential(*layers)
        self.classify = nn.Linear(widths[-1], outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (batch, feature) to logits (batch, outputs)."""
        return self.classify(self.hidden(pooled))


def _behind(width: int, kind: HeadKind, dropout: float) -> list[nn.Module]:
    if kind == "relu_norm_dropout":
        return [nn.ReLU(), MaskedBatchNorm(width), Dropout(dropout)]
    if kind == "relu_dropout_norm":
        return [nn.ReLU(), Dropout(dropout), MaskedBatchNorm(width)]
    return [nn.ReLU()] if kind == "relu" else []


def ccc_loss(values: Tensor, target: Tensor) -> Tensor:
    """Mean over dimensions of `1 - CCC` (Lin 1989) of values and targets (batch, dimension), in full precision.

    CCC = 2 cov / (var_x + var_y + (mean_x - mean_y)^2), all of it over the batch and with its population statistics;
    a constant dimension that is met exactly has CCC 0.
    """
    x, y = values.float(), target.float()
    x_rest, y_rest = x - x.mean(dim=0), y - y.mean(dim=0)
    spread = x_rest.square().mean(dim=0) + y_rest.square().mean(dim=0) + (x.mean(dim=0) - y.mean(dim=0)).square()
    return (1 - 2 * (x_rest * y_rest).mean(dim=0) / spread.clamp(min=1e-8)).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy of logits (batch, class) in full precision; targets are distributions or class indices."""
    return functional.cross_entropy(logits.float(), target)


LOSSES = {"cross_entropy": cross_entropy, "ccc": ccc_loss}  # of a task, by the name that it gives
