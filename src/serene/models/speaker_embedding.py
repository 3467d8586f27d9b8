"""What the model knows of who speaks: the Brown report's personalised models, and Tran et al. 2023's."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from serene.audio.mfcc import CEPSTRA
from serene.errors import SereneError
from serene.files import load_json, regular
from serene.models import weights
from serene.models.encoder import Encoder
from serene.models.parts import PERSONAL, Parts, Unseen
from serene.speaker import SMALLEST

SPEAKERS, VECTORS = "speakers.json", "speakers.safetensors"  # beside a pre-trained encoder's own files
COEFFICIENTS = CEPSTRA.spec.width  # of a speaker's mean; the report does not say how many it takes


class SpeakerTable(nn.Module):
    """A learned vector for each training speaker, brought to the encoder's width: `z = h + W e_s + b`.

    Speakers that were not trained on get the mean of the known vectors: no label and no audio of theirs is needed.
    """

    def __init__(self, speakers: int, width: int, inner: int) -> None:
        """Build the table with PyTorch's default initialisation."""
        super().__init__()
        self.table = nn.Embedding(speakers, inner)
        self.dense = nn.Linear(inner, width)

    def forward(self, speaker: Tensor) -> Tensor:
        """Map indices (batch,), -1 for unseen speakers, to vectors (batch, feature)."""
        known = self.table(speaker.clamp(min=0))
        unseen = (speaker < 0).unsqueeze(-1)
        return self.dense(torch.where(unseen, self.table.weight.mean(dim=0), known))


class SpeakerMfcc(nn.Module):
    """The mean cepstra of all of a speaker's clips: `z = h + m_s`, as the report has it, or standardised and learned.

    Learned is a linear layer to the encoder's width, after standardising by the training speakers; otherwise the raw
    cepstra fill the first features and zeros the others, which drowns the encoder in cepstra: the report's model stays
    at chance.
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
        self.deviation.copy_(voices.std(dim=0, correction=0).clamp(min=SMALLEST))

    def forward(self, voice: Tensor) -> Tensor:
        """Map mean cepstra (batch, coefficient) to vectors (batch, feature)."""
        if self.dense is None:
            return functional.pad(voice, (0, self.width - COEFFICIENTS))
        return self.dense((voice - self.mean) / self.deviation)


class PersonalVectors(nn.Module):
    """A vector of the encoder's width for each known speaker (Tran et al. 2023), zero until it is learned.

    A speaker is known by `voices`: the mean of the encoder's frames without any vector, taken over the speaker's
    training clips once training is over. What unseen speakers get, see `serene.models.parts.Parts`, is ours: the paper
    says only that they can.
    """

    voices: Tensor

    def __init__(self, speakers: int, width: int, unseen: Unseen, similar: int) -> None:
        """Begin with zeros, and with nobody's voice."""
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(speakers, width))
        self.unseen, self.similar = unseen, similar
        self.register_buffer("voices", torch.zeros(speakers, width))

    def forward(self, speaker: Tensor, voice: Tensor | None = None) -> Tensor:
        """Map indices (batch,), -1 for unseen speakers, to vectors (batch, feature).

        `voice` (batch, feature) is how the clips sound without any vector, for unseen speakers who get what is similar.

        Raises:
            SereneError: an unseen speaker, where they are refused.
        """
        known, strange = self.vectors[speaker.clamp(min=0)], (speaker < 0).unsqueeze(-1)
        if self.unseen == "refuse":
            if strange.any():
                raise SereneError(
                    f"This model knows {len(self.vectors)} speakers by name, and was given another. Set "
                    "model.unseen_speakers to similar, mean or zero, or name one of its speakers."
                )
            return known
        return torch.where(strange, self._for_unseen(voice), known)

    def _for_unseen(self, voice: Tensor | None) -> Tensor:
        if self.unseen == "zero":
            return torch.zeros_like(self.vectors[0])
        voiced = self.voices.any(dim=1)
        if self.unseen == "mean" or voice is None or not voiced.any():
            return self.vectors.mean(dim=0)
        vectors = self.vectors[voiced]
        likeness = functional.cosine_similarity(voice.unsqueeze(1), self.voices[voiced].unsqueeze(0), dim=-1)
        nearest = likeness.topk(min(self.similar, len(vectors)), dim=1).indices
        return vectors[nearest].mean(dim=1)


def speaker_embedding_of(
    parts: Parts, speakers: int, encoder: Encoder
) -> SpeakerTable | SpeakerMfcc | PersonalVectors | None:
    """Make what an encoder's frames are told of who speaks; None where they are told nothing.

    Raises:
        SereneError: nobody's name is known where names are asked for, or the encoder takes no vector inside.
    """
    kind, width = parts.speaker_embedding, encoder.out_width
    if "identity" in parts.needs("none") and not speakers:
        raise SereneError("A model with vectors of speakers has to be told the speakers' names.")
    if kind in ("first", "prefix") and not encoder.takes_inside:
        raise SereneError(
            f"model.speaker_embedding {kind} reaches inside an encoder of waveforms; this encoder takes `last`."
        )
    if kind == "none":
        return None
    if kind == "table":
        return SpeakerTable(speakers, width, parts.speaker_width)
    if kind in PERSONAL:
        return PersonalVectors(speakers, width, parts.unseen_speakers, parts.similar_speakers)
    return SpeakerMfcc(width, learned=kind == "mfcc_learned")


def vectors_of(encoder: str | Path | None) -> tuple[list[str], torch.Tensor] | None:
    """Read whom a pre-trained encoder has vectors of, and the vectors (speaker, feature); None where it has none."""
    folder = None if encoder is None else weights.find(str(encoder))
    if folder is None or not (folder / SPEAKERS).exists():
        return None
    try:
        names = load_json(folder / SPEAKERS)
        vectors = safetensors.torch.load_file(regular(folder / VECTORS))["vectors"]
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise SereneError(f"The speakers' vectors in {folder} are not readable: {error!r}.") from error
    return list(names), vectors
