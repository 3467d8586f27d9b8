"""Tu et al. 2019: a speaker head in multi-task, domain-adversarial and cross-gradient training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods.method import GradientReversal, Method, Terms, accuracy, emotion_loss, speaker_head_for
from serene.models import across
from serene.models.encoder import Frames
from serene.models.heads import cross_entropy
from serene.models.masking import statistics_kept
from serene.models.model import EmotionModel


class WithSpeakerHead(Method):
    """Base of the paper's three methods, by a name for messages."""

    name: ClassVar[str]

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Make the speaker head."""
        self.speaker_head = speaker_head_for(model, speakers, self.name)


class MultiTask(WithSpeakerHead):
    """`L = Ly + weight * Ls`: the embedding learns the emotion and the speaker.

    Args:
        speaker_weight: weight of the speaker loss. The paper gives none; 1 is our reading of its equation 4.
    """

    name = "multi_task"

    def __init__(self, *, speaker_weight: float = 1.0) -> None:
        """Keep the weight; the speaker head comes with `attach`."""
        super().__init__()
        if speaker_weight < 0:
            raise SereneError(f"speaker_weight {speaker_weight} must not be negative.")
        self.speaker_weight = speaker_weight

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give both cross entropies from one pass."""
        embedding = model.embed(batch)
        speakers = self.speaker_head(embedding)
        self.measures = {"speaker_accuracy": accuracy(speakers, batch.speaker)}
        return {
            "emotion": emotion_loss(model, model.classify(model.hidden(embedding)), batch.target),
            "speaker": self.speaker_weight * cross_entropy(speakers, batch.speaker),
        }


class DomainAdversarial(WithSpeakerHead):
    """The speaker head descends on `Ls`; the embedding descends on `Ly - reversal * Ls`.

    The paper's equation 1 writes the same step; its text calls the coefficient "a negative value", which is a slip of
    sign: a positive `reversal` here always works against the speaker.

    Args:
        reversal: the coefficient, or where the ramp ends. Not published; 1 is our choice.
        schedule: `ramp` grows it as `2 / (1 + exp(-steepness * progress)) - 1` (Ganin et al. 2016), `constant` keeps
            it. Not published; the ramp is our choice.
        steepness: of the ramp; Ganin et al. use 10.
    """

    name = "domain_adversarial"

    def __init__(
        self, *, reversal: float = 1.0, schedule: Literal["ramp", "constant"] = "ramp", steepness: float = 10.0
    ) -> None:
        """Keep the settings; the speaker head comes with `attach`."""
        super().__init__()
        if reversal < 0 or steepness <= 0:
            raise SereneError(f"reversal {reversal} must not be negative, and steepness {steepness} must be positive.")
        self.reversal = reversal
        self.schedule = schedule
        self.steepness = steepness

    def coefficient(self, progress: float) -> float:
        """Give the reversal at a point of the training, from 0 (start) to 1 (end)."""
        if self.schedule == "constant":
            return self.reversal
        return self.reversal * (2.0 / (1.0 + math.exp(-self.steepness * progress)) - 1.0)

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give both cross entropies, the speaker's behind the reversal."""
        embedding = model.embed(batch)
        reversal = self.coefficient(progress)
        reversed_embedding: Tensor = GradientReversal.apply(embedding, reversal)  # pyright: ignore[reportAssignmentType]
        speakers = self.speaker_head(reversed_embedding)
        self.measures = {"reversal": reversal, "speaker_accuracy": accuracy(speakers, batch.speaker)}
        return {
            "emotion": emotion_loss(model, model.classify(model.hidden(embedding)), batch.target),
            "speaker": cross_entropy(speakers, batch.speaker),
        }


class CrossGradient(WithSpeakerHead):
    """`L = (1 - mixing) [Ly(X) + Ls(X)] + mixing [Ly(X_s) + Ls(X_y)]`, everything descending.

    `X_s = X + step * grad_X Ls` moves the features where the speaker head does worse, so that the emotion is learnt in
    spite of it; `X_y` moves them along the emotion's gradient for the speaker head (equations 2 to 4). The gradients
    are those of the batch's *summed* losses, so that a clip's perturbation does not shrink as the batch grows, and
    they are constants: nothing is learnt through them. Only the clean pass updates batch-norm statistics. Where the
    lowest part of the encoder is frozen, its outputs are the features.

    Args:
        step: how far the features move. Not published; see `perturbation`.
        mixing: weight of the perturbed losses (alpha). Not published; Shankar et al. 2018 use 0.5.
        perturbation: what a step of 1 means. `relative` (our choice): as far from the clip's features as they are from
            zero, in Euclidean norm over the clip; `clip`: the gradient cut to [-0.1, 0.1] element by element, as in
            Shankar et al.'s code; `raw`: the gradient itself, the equation as it stands.
    """

    name = "cross_gradient"
    CLIP = 0.1

    def __init__(
        self, *, step: float = 0.1, mixing: float = 0.5, perturbation: Literal["relative", "clip", "raw"] = "relative"
    ) -> None:
        """Keep the settings; the speaker head comes with `attach`."""
        super().__init__()
        if step < 0 or not 0 <= mixing <= 1:
            raise SereneError(f"step {step} must not be negative, and mixing {mixing} must lie between 0 and 1.")
        self.step = step
        self.mixing = mixing
        self.perturbation = perturbation

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give the four cross entropies from one clean and two perturbed passes."""
        clean = model.past_frozen(model.features(batch))
        clean = replace(clean, values=clean.values.detach().requires_grad_())
        embedding = model.embed_features(clean)
        emotions, speakers = model.classify(model.hidden(embedding)), self.speaker_head(embedding)
        emotion, speaker = emotion_loss(model, emotions, batch.target), cross_entropy(speakers, batch.speaker)

        clips = across.count(len(batch.ids))  # the losses are means over the batch: this many times the mean is the sum
        (along_speaker,) = torch.autograd.grad(clips * speaker, clean.values, retain_graph=True)
        (along_emotion,) = torch.autograd.grad(clips * emotion, clean.values, retain_graph=True)
        for_emotion, for_speaker = self.move(clean, along_speaker), self.move(clean, along_emotion)
        with statistics_kept(model), statistics_kept(self):
            perturbed_emotion = model.classify(model.hidden(model.embed_features(for_emotion)))
            perturbed_speaker = self.speaker_head(model.embed_features(for_speaker))

        moved = norm(for_emotion.values - clean.values) / norm(clean.values).clamp(min=1e-12)
        measures = {"speaker_accuracy": accuracy(speakers, batch.speaker), "perturbation": across.mean(moved).item()}
        self.measures = measures
        return {
            "emotion": (1 - self.mixing) * emotion,
            "speaker": (1 - self.mixing) * speaker,
            "emotion_perturbed": self.mixing * emotion_loss(model, perturbed_emotion, batch.target),
            "speaker_perturbed": self.mixing * cross_entropy(perturbed_speaker, batch.speaker),
        }

    @torch.no_grad()
    def move(self, clean: Frames, gradient: Tensor) -> Frames:
        """Move features (batch, frame, feature) along a gradient of the same shape; padding stays where it is."""
        direction = gradient * clean.mask.unsqueeze(-1)
        if self.perturbation == "clip":
            direction = direction.clamp(-self.CLIP, self.CLIP)
        elif self.perturbation == "relative":
            direction = direction * norm(clean.values) / norm(direction).clamp(min=1e-12)
        return replace(clean, values=clean.values + self.step * direction)


@torch.no_grad()
def norm(values: Tensor) -> Tensor:
    """Euclidean norm of each clip's values (batch, frame, feature), as (batch, 1, 1)."""
    return values.square().sum(dim=(1, 2), keepdim=True).sqrt()
