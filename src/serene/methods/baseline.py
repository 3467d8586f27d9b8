"""The emotions' own loss alone: Tu et al. 2019's SER_only."""

from __future__ import annotations

from serene.audio.batch import Batch
from serene.methods.method import Method, Terms, accuracy, emotion_loss
from serene.models.model import EmotionModel


class Baseline(Method):
    """`L = CE(y, model(X))`, averaged over the batch; the reference that every other method is compared with.

    Of dimensions it is `L = 1 - CCC` over the batch (Tran et al. 2023 fine-tune so).
    """

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give the loss of the emotions."""
        outputs = model(batch)
        decided = model.task.gives == "probabilities"
        self.measures = {"accuracy": accuracy(outputs, batch.target.argmax(dim=1))} if decided else {}
        return {"emotion": emotion_loss(model, outputs, batch.target)}
