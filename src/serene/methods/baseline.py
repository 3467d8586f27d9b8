"""Cross entropy on the emotions alone: Tu et al. 2019's SER_only."""

from __future__ import annotations

from serene.audio.batch import Batch
from serene.methods.method import Method, Terms, accuracy
from serene.models.heads import cross_entropy
from serene.models.model import EmotionModel


class Baseline(Method):
    """`L = CE(y, model(X))`, averaged over the batch; the reference that every other method is compared with."""

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give the cross entropy of the emotions."""
        logits = model(batch)
        self.measures = {"accuracy": accuracy(logits, batch.target.argmax(dim=1))}
        return {"emotion": cross_entropy(logits, batch.target)}
