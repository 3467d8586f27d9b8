"""What the model knows of who speaks, added to every frame of the encoder (the Brown report's personalised models)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

COEFFICIENTS = 20  # cepstra of a speaker's mean; the report does not say how many it takes


class SpeakerTable(nn.Module):
    """A learned vector for each training speaker, brought to the encoder's width: `z = h + W e_s + b`.

    Speakers that were not trained on get the mean of the known vectors: no label and no audio of theirs is needed.

    Args:
        speakers: how many are known.
        width: features per frame of the encoder.
        inner: features of a speaker's own vector.
    """

    def __init__(self, speakers: int, width: int, inner: int) -> None:
        """Build the table with PyTorch's default initialisation."""
        super().__init__()
        self.table = nn.Embedding(speakers, inner)
        self.dense = nn.Linear(inner, width)

    def forward(self, speaker: Tensor) -> Tensor:
        """Map indices (batch,), -1 for strangers, to vectors (batch, feature)."""
        known = self.table(speaker.clamp(min=0))
        stranger = (speaker < 0).unsqueeze(-1)
        return self.dense(torch.where(stranger, self.table.weight.mean(dim=0), known))


class SpeakerMfcc(nn.Module):
    """The mean cepstra of all of a speaker's clips: `z = h + m_s`, as the report has it, or standardised and learned.

    Args:
        width: features per frame of the encoder.
        learned: standardise by the training speakers, then a linear layer to the encoder's width; otherwise the raw
            cepstra fill the first features and zeros the others, which drowns the encoder in cepstra (the report's
            model stays at chance).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, *, learned: bool) -> None:
        """Build the layer with PyTorch's default initialisation."""
        super().__init__()
        self.width = width
        self.dense = nn.Linear(COEFFICIENTS, width) if learned else None
        self.register_buffer("mean", torch.zeros(COEFFICIENTS))
        self.register_buffer("deviation", torch.ones(COEFFICIENTS))

    def set_statistics(self, voices: Tensor) -> None:
        """Standardise by the training speakers' voices (speaker, coefficient)."""
        self.mean.copy_(voices.mean(dim=0))
        self.deviation.copy_(voices.std(dim=0, correction=0).clamp(min=1e-5))

    def forward(self, voice: Tensor) -> Tensor:
        """Map mean cepstra (batch, coefficient) to vectors (batch, feature)."""
        if self.dense is None:
            return functional.pad(voice, (0, self.width - COEFFICIENTS))
        return self.dense((voice - self.mean) / self.deviation)
