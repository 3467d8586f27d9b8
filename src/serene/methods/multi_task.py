"""Multi-task learning of Tu et al. 2019: a speaker head beside the emotion head, both descending."""

from __future__ import annotations

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods.method import Method, Terms, accuracy, emotion_loss, speaker_head_for
from serene.models.heads import cross_entropy
from serene.models.model import EmotionModel


class MultiTask(Method):
    """`L = Ly + weight * Ls`: the embedding learns the emotion and the speaker.

    Args:
        speaker_weight: weight of the speaker loss. The paper gives none; 1 is our reading of its equation 4.
    """

    def __init__(self, *, speaker_weight: float = 1.0) -> None:
        """Keep the weight; the speaker head comes with `attach`."""
        super().__init__()
        if speaker_weight < 0:
            raise SereneError(f"speaker_weight {speaker_weight} must not be negative.")
        self.speaker_weight = speaker_weight

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Make the speaker head."""
        self.speaker_head = speaker_head_for(model, speakers, "multi_task")

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give both cross entropies from one pass."""
        embedding = model.embed(batch)
        speakers = self.speaker_head(embedding)
        self.measures = {"speaker_accuracy": accuracy(speakers, batch.speaker)}
        return {
            "emotion": emotion_loss(model, model.classify(model.hidden(embedding)), batch.target),
            "speaker": self.speaker_weight * cross_entropy(speakers, batch.speaker),
        }
