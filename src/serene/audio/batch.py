"""Batch: what a model reads, padded to its longest clip, with a mask that keeps the padding out."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A few clips side by side.

    Attributes:
        inputs: (batch, frame, feature); a waveform's samples are frames of one feature. Zeros after each clip's end.
        lengths: (batch,) valid frames.
        target: (batch, emotion) distributions over the emotions, one-hot in the ordinary case; or values of dimensions.
        speaker: (batch,) index among the training speakers, -1 for anybody else.
        ids: the utterances, in order.
        own_lengths: (batch,) valid frames of the clips themselves: fewer where a front end fills clips up.
        enrolment: (batch, 2, feature) mean and deviation over the speaker's own clips, where the model asks for them.
        enrolled: (batch,) how many frames those were taken over.
        voice: (batch, coefficient) the speaker's mean cepstra, where the model asks for them.
        known: (batch,) index among the speakers whom the model knows by name, -1 for anybody else.
        clusters: (batch, frame) index of each frame's cluster, -1 where it has none, for masked prediction.
    """

    inputs: Tensor
    lengths: Tensor
    target: Tensor
    speaker: Tensor
    ids: tuple[str, ...]
    own_lengths: Tensor | None = None
    enrolment: Tensor | None = None
    enrolled: Tensor | None = None
    voice: Tensor | None = None
    known: Tensor | None = None
    clusters: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """Bool (batch, frame): true where there is sound, false in the padding."""
        return mask_of(self.lengths, self.inputs.shape[1])

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if isinstance(v, Tensor)})


def mask_of(lengths: Tensor, longest: int) -> Tensor:
    """Turn lengths (batch,) into a bool mask (batch, frame)."""
    return torch.arange(longest, device=lengths.device)[None, :] < lengths[:, None]
