"""The layers behind the encoder: projector, pooling and heads; and the losses of what heads give."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from serene.errors import SereneError
from serene.models import across
from serene.models.masking import Dropout, MaskedBatchNorm, moments
from serene.models.parts import HeadKind, Projection

ATTENTION_HEADS = 4  # of attentive pooling
SMALLEST = 1e-5  # added to a variance before its root is taken


class Projector(nn.Module):
    """The speaker normalisation projector of Gat et al. 2022: one non-linear layer over each frame.

    The paper gives neither width nor activation. `relu` and `gelu` are `a(W z + b)`; `residual` is
    `z + V gelu(W z + b)` with `V` zero at first, so that it starts as the identity; `gate` is `sigmoid(W z + b) * z`.
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


class Pooling(nn.Module):
    """Base of what turns frames (batch, frame, feature) and a mask (batch, frame) into (batch, widening * feature)."""

    widening = 1

    def __init__(self, width: int) -> None:
        """Build what learns of `width` features per frame; most learn nothing."""
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
        return self.statistics(frames.float(), mask.unsqueeze(-1).float())

    def statistics(self, frames: Tensor, weight: Tensor) -> Tensor:
        """Give weighted mean and deviation over frames (batch, frame, feature): (batch, 2 * feature)."""
        mean, variance = moments(frames, weight)
        return torch.cat([mean, torch.sqrt(variance + SMALLEST)], dim=-1).squeeze(1)


class AttentivePooling(StatisticsPooling):
    """Mean and deviation over a clip's frames, weighted by attention (Okabe et al. 2018, attentive statistics).

    Each of four heads weighs the frames for its own quarter of the features: the softmax over valid frames of a linear
    map of each frame.

    Raises:
        SereneError: the features cannot be shared out among the heads.
    """

    def __init__(self, width: int) -> None:
        """Build the map that weights come from."""
        super().__init__(width)
        if width % ATTENTION_HEADS:
            raise SereneError(
                f"model.pooling attentive deals the encoder's {width} features to {ATTENTION_HEADS} heads, and that "
                "does not come out even; choose another width, or statistics."
            )
        self.attention = nn.Linear(width, ATTENTION_HEADS)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map (batch, frame, feature) and a mask (batch, frame) to (batch, 2 * feature)."""
        wide = frames.float()
        scores = self.attention(wide).masked_fill(~mask.unsqueeze(-1), float("-inf"))
        quarter = wide.shape[2] // ATTENTION_HEADS
        return self.statistics(wide, scores.softmax(dim=1).repeat_interleave(quarter, dim=2))


POOLINGS = {
    "statistics": StatisticsPooling,
    "attentive": AttentivePooling,
    "mean": MeanPooling,
    "first_frame": FirstFrame,
}


class Head(nn.Module):
    """Hidden layers and a linear output layer without anything behind it.

    Args:
        width: features going in.
        hidden: units of each hidden layer, none for a linear map.
        outputs: classes.
        kind: what follows each hidden layer: ReLU, batch norm and dropout in Tu et al. 2019; the Brown report has
            dropout before batch norm; others ReLU alone or nothing (`linear`).
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

    Of a batch on several processes it is this one's share, as any loss.

    CCC = 2 cov / (var_x + var_y + (mean_x - mean_y)^2), all of it over the batch and with its population statistics;
    a constant dimension that is predicted exactly has CCC 0.
    """
    x, y = values.float(), target.float()
    x_mean, y_mean = across.mean(x), across.mean(y)
    x_rest, y_rest = x - x_mean, y - y_mean
    spread = across.mean(x_rest.square()) + across.mean(y_rest.square()) + (x_mean - y_mean).square()
    return (1 - 2 * across.mean(x_rest * y_rest) / spread.clamp(min=1e-8)).mean() / across.processes()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy of logits (batch, class) in full precision; targets are distributions or class indices."""
    return functional.cross_entropy(logits.float(), target, reduction="sum") / across.count(len(target))


LOSSES = {"cross_entropy": cross_entropy, "ccc": ccc_loss}  # of a task, by the name that it gives
