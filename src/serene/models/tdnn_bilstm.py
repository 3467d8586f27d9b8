"""TDNN-BiLSTM over MFCC: the encoder of Tu et al. 2019, table 1, in both sizes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from serene.errors import SereneError
from serene.models.encoder import Encoder
from serene.models.masking import Dropout, MaskedBatchNorm, MaskedBiLSTM

# out channels of the two TDNN layers, LSTM units per direction, width of the frame-level layer, width of the heads
SIZES = {"iemocap": (128, 64, 64, 256, 64), "mandarin": (128, 128, 128, 512, 128)}


class TdnnBilstm(Encoder):
    """Two dilated convolutions, a bidirectional LSTM and a frame-level layer, each with batch norm and dropout.

    The order within a layer (ReLU, batch norm, dropout) and zero padding that keeps the number of frames are our
    choices: the paper gives neither.

    Args:
        width: features per frame going in.
        size: the paper's network for `iemocap` or the larger one for `mandarin`.
        dropout: probability of dropping a unit; the paper keeps 0.5.
    """

    def __init__(self, width: int, *, size: Literal["iemocap", "mandarin"] = "iemocap", dropout: float = 0.5) -> None:
        """Build the layers with PyTorch's default initialisation."""
        super().__init__()
        if not 0 <= dropout < 1:
            raise SereneError(f"model.dropout is {dropout}; a probability below 1 was expected.")
        self.rebuilt = {"size": size, "dropout": dropout}
        first, second, units, self.out_width, self.head_width = SIZES[size]
        self.tdnn1 = _Layer(nn.Conv1d(width, first, 5, dilation=2, padding="same"), first, dropout)
        self.tdnn2 = _Layer(nn.Conv1d(first, second, 3, dilation=4, padding="same"), second, dropout)
        self.bilstm = MaskedBiLSTM(second, units)
        self.bilstm_norm = MaskedBatchNorm(2 * units)
        self.bilstm_dropout = Dropout(dropout)
        self.frame_level = _Layer(nn.Linear(2 * units, self.out_width), self.out_width, dropout)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map features (batch, frame, feature) and a mask (batch, frame) to (batch, frame, out_width)."""
        frames = self.tdnn2(self.tdnn1(frames, mask), mask)
        frames = self.bilstm(frames, mask.sum(dim=1))
        frames = self.bilstm_dropout(self.bilstm_norm(frames, mask))
        return self.frame_level(frames, mask)


class _Layer(nn.Module):
    def __init__(self, linear: nn.Conv1d | nn.Linear, out_width: int, dropout: float) -> None:
        super().__init__()
        self.linear = linear
        self.norm = MaskedBatchNorm(out_width)
        self.dropout = Dropout(dropout)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        if isinstance(self.linear, nn.Conv1d):
            # zeros after a clip's end are what the convolution's own padding puts there: batch-mates change nothing
            silenced = frames * mask.unsqueeze(-1).to(frames.dtype)
            frames = self.linear(silenced.transpose(1, 2)).transpose(1, 2)
        else:
            frames = self.linear(frames)
        return self.dropout(self.norm(torch.relu(frames), mask))
