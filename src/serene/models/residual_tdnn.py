"""A small residual TDNN over log-mel and prosody: the encoder of the model that comes with the package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serene.errors import SereneError
from serene.models.encoder import Encoder
from serene.models.masking import MaskedBatchNorm

STRIDE = 2  # of each of the first two convolutions: frames of 10 ms become frames of 40 ms
DILATIONS = (1, 2, 3)  # of the residual layers, each three frames wide
BANDS = 2  # that are hidden of each clip's features, and of its time


class ResidualTdnn(Encoder):
    """Two convolutions that merge four frames into one, then three dilated ones that each add to what they read.

    The architecture is this project's own: time-delay layers as Tu et al. 2019 have them, residual and without an
    LSTM, so that a quarter of a million weights hear a second around each frame. Each convolution is followed by batch
    norm and ReLU.

    While training, two bands of features and two stretches of time of each clip are hidden, at random places and of
    random widths up to the largest (SpecAugment, Park et al. 2019); zero is what standardised features have on average.

    Args:
        width: features per frame going in.
        channels: features per frame coming out.
        hidden_features: most features of a hidden band; 0 hides none.
        hidden_frames: most frames of a hidden stretch; 0 hides none.

    Attributes:
        out_width: `channels`.
        head_width: units of the head's hidden layers.
    """

    front_end = "mel_prosody"

    def __init__(self, width: int, *, channels: int = 128, hidden_features: int = 10, hidden_frames: int = 20) -> None:
        """Build the layers with PyTorch's default initialisation."""
        super().__init__()
        if channels < 4 or min(hidden_features, hidden_frames) < 0:
            raise SereneError(
                f"model.channels is {channels}, model.hidden_features {hidden_features} and model.hidden_frames "
                f"{hidden_frames}; at least 4 channels were expected, and 0 or more of the others."
            )
        self.rebuilt = {"channels": channels, "hidden_features": hidden_features, "hidden_frames": hidden_frames}
        self.hidden_features, self.hidden_frames = hidden_features, hidden_frames
        self.out_width, self.head_width = channels, 3 * channels // 4
        self.merging = nn.ModuleList(
            [_Layer(width, self.head_width, 5, stride=STRIDE), _Layer(self.head_width, channels, 3, stride=STRIDE)]
        )
        self.residual = nn.ModuleList([_Layer(channels, channels, 3, dilation=dilation) for dilation in DILATIONS])

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Map features (batch, frame, feature) and a mask (batch, frame) to (batch, merged frame, out_width)."""
        if self.training:
            frames = self._hidden(frames, mask)
        for layer in self.merging:
            frames = layer(frames, mask)
            mask = mask[:, ::STRIDE]
        for layer in self.residual:
            frames = frames + layer(frames, mask)
        return frames

    def _hidden(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Hide bands of features and stretches of time of each clip (batch, frame, feature)."""
        clips, longest, width = frames.shape
        lengths, widths = mask.sum(dim=1), torch.full((clips,), width, device=mask.device)
        for _ in range(BANDS):
            band = _stretch(widths, width, self.hidden_features)[:, None, :]
            stretch = _stretch(lengths, longest, self.hidden_frames)[:, :, None]
            frames = frames.masked_fill(band | stretch, 0)
        return frames

    def mask_after(self, mask: Tensor) -> Tensor:
        """Give the mask (batch, merged frame): a merged frame is sound where the first of its own frames is."""
        return mask[:, :: STRIDE ** len(self.merging)]


def _stretch(lengths: Tensor, longest: int, most: int) -> Tensor:
    """Draw a stretch of 0 to `most` places within each clip's own length (clip,): bool (clip, longest)."""
    drawn = torch.rand(2, len(lengths), 1, device=lengths.device)
    own = lengths[:, None]
    width = (drawn[0] * (own.clamp(max=most) + 1)).long()
    begin = (drawn[1] * (own - width + 1)).long()
    place = torch.arange(longest, device=lengths.device)
    return (place >= begin) & (place < begin + width)


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
