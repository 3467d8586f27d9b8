"""Layers that never let padding or batch-mates change what a clip's own frames become."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from serene.models import across


def mask_of(lengths: Tensor, longest: int) -> Tensor:
    """Turn lengths (batch,) into a bool mask (batch, frame): true where there is sound, false in the padding."""
    return torch.arange(longest, device=lengths.device)[None, :] < lengths[:, None]


def moments(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give weighted mean and population variance (batch, 1, feature) over frames (batch, frame, feature)."""
    count = weight.sum(dim=1, keepdim=True)
    mean = (values * weight).sum(dim=1, keepdim=True) / count
    return mean, ((values - mean).square() * weight).sum(dim=1, keepdim=True) / count


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch norm over the valid frames of a batch; the same parameters and keys as `nn.BatchNorm1d`.

    While training, the mean and variance come from valid frames only, so that padding counts for nothing; when
    scoring, the running statistics make it a fixed affine map, so that batch-mates count for nothing either. So they do
    for a single row while training, such as a long clip alone in a batch of so many seconds: it has no variance.
    Of a batch on several processes the frames of all count.
    """

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Normalise (batch, frame, feature) with a mask (batch, frame), or (batch, feature) without one."""
        rows = values.reshape(-1, values.shape[-1])
        if mask is None or not self.training:
            return self._normalised(rows).view_as(values)
        valid = mask.flatten().nonzero().squeeze(1)
        normalised = self._normalised(rows.index_select(0, valid))
        return torch.zeros_like(rows).to(normalised.dtype).index_copy(0, valid, normalised).view_as(values)

    def _normalised(self, rows: Tensor) -> Tensor:
        if self.training and across.processes() > 1:
            return self._over_all(rows.float()).to(rows.dtype)
        return super().forward(rows) if not self.training or len(rows) > 1 else self._at_rest(rows)

    def _at_rest(self, rows: Tensor) -> Tensor:
        known = (self.running_mean, self.running_var, self.weight, self.bias)
        return nn.functional.batch_norm(rows, *known, eps=self.eps)

    def _over_all(self, wide: Tensor) -> Tensor:
        """Do as for one process, with the statistics of all processes' rows (row, feature)."""
        sums = across.summed(torch.cat([wide.sum(dim=0), wide.new_tensor([len(wide)])]))
        count = sums[-1].item()
        if count < 2:
            return self._at_rest(wide)
        mean = sums[:-1] / count
        variance = across.summed((wide - mean).square().sum(dim=0)) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum or 0.0)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum or 0.0)
                self.num_batches_tracked += 1  # pyright: ignore
        normalised = (wide - mean) * torch.rsqrt(variance + self.eps)
        return normalised * self.weight + self.bias if self.affine else normalised


class Dropout(nn.Dropout):
    """Dropout whose mask is drawn as uniform numbers: on a CPU a third of the cost of Bernoulli draws."""

    def forward(self, values: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Zero each value with probability `p` while training, and scale the others up."""
        if not self.training or self.p == 0:
            return values
        kept = torch.rand(values.shape, device=values.device) >= self.p
        return values * kept / (1 - self.p)


@contextlib.contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Leave the running statistics of every batch norm as they are inside the block; a batch's own are still used."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


class MaskedBiLSTM(nn.Module):
    """A bidirectional LSTM of `hidden` units each, whose backward direction starts at each clip's own last frame.

    Both directions run over plain padded tensors: padding lies after the end of either one's sequence, so it cannot
    reach back, and the graph exports to ONNX, which packed sequences do not.
    """

    def __init__(self, width: int, hidden: int) -> None:
        """Make one LSTM per direction."""
        super().__init__()
        self.onward = nn.LSTM(width, hidden, batch_first=True)
        self.backward_ = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frame, feature) and lengths (batch,) to (batch, frame, 2 * hidden)."""
        mirrored = reverse_within(values, lengths)
        backward = reverse_within(self.backward_(mirrored)[0], lengths)
        return torch.cat([self.onward(values)[0], backward], dim=-1)


def reverse_within(values: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each clip (batch, frame, feature) within its own length; the padding stays where it is."""
    frames = torch.arange(values.shape[1], device=values.device)[None, :]
    mirrored = lengths[:, None] - 1 - frames
    index = torch.where(mirrored >= 0, mirrored, frames)
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[2]))
