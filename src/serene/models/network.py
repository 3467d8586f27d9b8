"""Network: a model at rest, in whatever runs it; evaluation and serving score by it alike."""

from __future__ import annotations

import numpy as np

from serene.audio.batch import Batch
from serene.audio.input_spec import InputSpec


class Network:
    """Base of what runs a model; safe to call from several threads.

    Attributes:
        what: what runs it, where and in which precision, for people.
        on_cpu: whether it runs on a CPU.
        exact: whether the other clips of a batch leave a clip's outputs alone.
    """

    what: str
    on_cpu = True
    exact = True

    def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Give outputs (batch, name), logits or values of dimensions, and embeddings (batch, feature): float32."""
        raise NotImplementedError

    def clips(self, spec: InputSpec, most: int) -> int:
        """Give how many clips it should be given at once, of so many at most."""
        alone = not self.exact or (self.on_cpu and not spec.batched)
        return 1 if alone else most
