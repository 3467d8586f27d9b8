"""Domain-adversarial training of Tu et al. 2019: the embedding unlearns the speaker through gradient reversal."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods.method import GradientReversal, Method, Terms, accuracy, emotion_loss, speaker_head_for
from serene.models.heads import cross_entropy
from serene.models.model import EmotionModel


class DomainAdversarial(Method):
    """The speaker head descends on `Ls`; the embedding descends on `Ly - reversal * Ls`.

    The paper's equation 1 writes the same step; its text calls the coefficient "a negative value", which is a slip of
    sign: a positive `reversal` here always works against the speaker.

    Args:
        reversal: the coefficient, or where the ramp ends. Not published; 1 is our choice.
        schedule: `ramp` grows it as `2 / (1 + exp(-steepness * progress)) - 1` (Ganin et al. 2016), `constant` keeps
            it. Not published; the ramp is our choice.
        steepness: of the ramp; Ganin et al. use 10.
    """

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

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Make the speaker head."""
        self.speaker_head = speaker_head_for(model, speakers, "domain_adversarial")

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
