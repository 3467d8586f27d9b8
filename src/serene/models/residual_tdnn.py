"""A small residual TDNN over log-mel and prosody, distorted in training: the encoder of the model in the package."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from serene.audio.mel_prosody import PROSODY
from serene.errors import SereneError
from serene.models.encoder import Encoder
from serene.models.masking import MaskedBatchNorm

STRIDE = 2  # of each of the first two convolutions: frames of 10 ms become frames of 40 ms
DILATIONS = (1, 2, 3)  # of the residual layers, each three frames wide

CURVE = 4  # cosines over the mel filters that another room is made of; the first is the level
MOVED = 0.5  # of the clips go to another room: the others keep how loud they are, which tells of emotion too
HIDDEN = 2  # bands of features, and stretches of time, that are hidden of each clip


class ResidualTdnn(Encoder):
    """Two convolutions that merge four frames into one, then three dilated ones that each add to what they read.

    The architecture is this project's own: time-delay layers as Tu et al. 2019 have them, residual and without an
    LSTM, so that a quarter of a million weights see 0.3 s to either side of each frame. Each convolution is followed
    by batch norm and ReLU. Training clips are changed at random, see `Distortion`.

    Args:
        width: features per frame going in.
        channels: features per frame coming out.
        warp: largest relative stretch of the mel axis, and of time, of a training clip.
        colour: deviation of its level, in deviations of a filter's energy; finer curves have smaller ones.
        hidden_features: most features of each of its two hidden bands.
        hidden_frames: most frames of each of its two hidden stretches.
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


class Distortion(nn.Module):
    """Changes standardised features of clips while training, each clip in its own way; scoring reads them as they are.

    In this order: the mel axis is stretched, as by a longer or shorter vocal tract (Jaitly and Hinton 2013), and time
    is, by nearest frames; a smooth curve over mel is added, and its level to the power, as another room and another
    microphone would; two bands of features and two stretches of time are hidden (SpecAugment, Park et al. 2019). Zero
    is what standardised features have on average. The settings are those of `ResidualTdnn`.
    """

    def __init__(self, *, warp: float, colour: float, hidden_features: int, hidden_frames: int) -> None:
        """Check the settings; nothing is learnt."""
        super().__init__()
        if not (0 <= warp < 0.5 and min(colour, hidden_features, hidden_frames) >= 0):
            raise SereneError(
                f"model.warp is {warp}, model.colour {colour}, model.hidden_features {hidden_features} and "
                f"model.hidden_frames {hidden_frames}; 0 or more was expected of each, and a warp below 0.5."
            )
        self.warp, self.colour = warp, colour
        self.hidden_features, self.hidden_frames = hidden_features, hidden_frames

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Change features (batch, frame, feature) with a mask (batch, frame), or not; the lengths stay."""
        if not self.training:
            return frames
        return self.hidden(self.coloured(self.warped(frames, mask)), mask)

    def warped(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Stretch time and the mel axis."""
        clips, longest, width = frames.shape
        pace, tract = 1 + self.warp * (2 * torch.rand(2, clips, 1, device=frames.device) - 1)
        last = mask.sum(dim=1, keepdim=True) - 1
        source = (torch.arange(longest, device=frames.device) * pace).round().long()
        source = torch.where(source > last, 2 * last - source, source).clamp(min=0)  # what is past the end comes back
        source = torch.where(mask, source, torch.arange(longest, device=frames.device))
        frames = frames.gather(1, source.unsqueeze(-1).expand(-1, -1, width))
        filters = width - PROSODY
        place = (torch.arange(filters, device=frames.device) * tract).clamp(max=filters - 1)
        below = place.long().clamp(max=filters - 2)
        share = (place - below)[:, None, :]
        lower, upper = (frames.gather(2, (below + step)[:, None, :].expand(-1, longest, -1)) for step in (0, 1))
        return torch.cat([(1 - share) * lower + share * upper, frames[:, :, filters:]], dim=2)

    def coloured(self, frames: Tensor) -> Tensor:
        """Move each clip to another level, and through another room."""
        clips, _, width = frames.shape
        filters, order = width - PROSODY, torch.arange(CURVE, device=frames.device)
        place = (torch.arange(filters, device=frames.device) + 0.5) / filters
        waves = torch.cos(math.pi * order[:, None] * place) / (1 + order[:, None])
        moved = torch.rand(clips, 1, device=frames.device) < MOVED
        drawn = moved * self.colour * torch.randn(clips, CURVE, device=frames.device)
        nothing = torch.zeros(clips, PROSODY - 1, device=frames.device)
        return frames + torch.cat([drawn @ waves, nothing, drawn[:, :1]], dim=1)[:, None, :]

    def hidden(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Hide bands of features and stretches of time."""
        clips, longest, width = frames.shape
        lengths, widths = mask.sum(dim=1), torch.full((clips,), width, device=mask.device)
        for _ in range(HIDDEN):
            band = _stretch(widths, width, self.hidden_features)[:, None, :]
            stretch = _stretch(lengths, longest, self.hidden_frames)[:, :, None]
            frames = frames.masked_fill(band | stretch, 0)
        return frames


def _stretch(lengths: Tensor, longest: int, most: int) -> Tensor:
    """Draw a stretch of 0 to `most` places within each clip's own length (clip,): bool (clip, longest)."""
    drawn = torch.rand(2, len(lengths), 1, device=lengths.device)
    own = lengths[:, None]
    width = (drawn[0] * (own.clamp(max=most) + 1)).long()
    begin = (drawn[1] * (own - width + 1)).long()
    place = torch.arange(longest, device=lengths.device)
    return (place >= begin) & (place < begin + width)
