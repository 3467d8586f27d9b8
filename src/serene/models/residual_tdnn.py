"""A small residual TDNN over log-mel and prosody: the encoder of the model that comes with the package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serene.errors import SereneError
from serene.models.distortion import Distortion
from serene.models.encoder import Encoder
from serene.models.masking import MaskedBatchNorm

STRIDE = 2  # of each of the first two convolutions: frames of 10 ms become frames of 40 ms
DILATIONS = (1, 2, 3)  # of the residual layers, each three frames wide


class ResidualTdnn(Encoder):
    """Two convolutions that merge four frames into one, then three dilated ones that each add to what they read.

    The architecture is this project's own: time-delay layers as Tu et al. 2019 have them, residual and without an
    LSTM, so that a quarter of a million weights see 0.3 s to either side of each frame. Each convolution is followed
    by batch norm and ReLU.

    While training, clips are changed at random, see `serene.models.distortion`.

    Args:
        width: features per frame going in.
        channels: features per frame coming out.
        warp: largest relative stretch of the mel axis, and of time, in training.
        colour: by how much level and spectrum of a training clip are changed, in deviations of a filter's energy.
        hidden_features: most features of each of the two bands that are hidden of a training clip.
        hidden_frames: the same of frames.

    Attributes:
        out_width: `channels`.
        head_width: units of the head's hidden layers.
    """

    front_end = "mel_prosody"

    def __init__(
        self,
        width: int,
        *,
        channels: int = 128,
        warp: float = 0.0,
        colour: float = 0.0,
        hidden_features: int = 10,
        hidden_frames: int = 20,
    ) -> None:
        """Build the layers with PyTorch's default initialisation."""
        super().__init__()
        if channels < 4:
            raise SereneError(f"model.channels is {channels}; at least 4 were expected.")
        changes = {"warp": warp, "colour": colour, "hidden_features": hidden_features, "hidden_frames": hidden_frames}
        self.rebuilt = {"channels": channels, **changes}
        self.distortion = Distortion(**changes)
        self.out_width, self.head_width = channels, 3 * channels // 4
        self.merging = nn.ModuleList(
            [_Layer(width, self.head_width, 5, stride=STRIDE), _Layer(self.head_width, channels, 3, stride=STRIDE)]
        )
        self.residual = nn.ModuleList([_Layer(channels, channels, 3, dilation=dilation) for dilation in DILATIONS])

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map features (batch, frame, feature) and a mask (batch, frame) to (batch, merged frame, out_width)."""
        frames = self.distortion(frames, mask)
        for layer in self.merging:
            frames = layer(frames, mask)
            mask = mask[:, ::STRIDE]
        for layer in self.residual:
            frames = frames + layer(frames, mask)
        return frames

    def mask_after(self, mask: Tensor) -> Tensor:
        """Give the mask (batch, merged frame): a merged frame is sound where the first of its own frames is."""
        return mask[:, :: STRIDE ** len(self.merging)]


class _Layer(nn.Module):
    """A convolution over time, batch norm over valid frames, ReLU; what lies in the padding comes out as zeros."""

    def __init__(self, width: int, channels: int, taps: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        reach = dilation * (taps // 2)
        self.convolution = nn.Conv1d(width, channels, taps, stride=stride, padding=reach, dilation=dilation, bias=False)
        self.norm, self.stride = MaskedBatchNorm(channels), stride

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        # zeros after a clip's end are what the convolution's own padding puts there: batch-mates change nothing
        silenced = frames * mask.unsqueeze(-1).to(frames.dtype)
        convolved = self.convolution(silenced.transpose(1, 2)).transpose(1, 2)
        return torch.relu(self.norm(convolved, mask[:, :: self.stride]))
