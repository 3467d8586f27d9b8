"""Every layer of a pretrained encoder as one vector per clip: what is looked at first with a new encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from serene import registry
from serene.audio import FRONT_ENDS
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.models import ENCODERS, pretrained, weights
from serene.models.layered import LayeredEncoder
from serene.models.prefix import Prefix
from serene.settings import settings_of


@dataclass(frozen=True, kw_only=True)
class LayerStatistics(FrontEnd):
    """Mean and deviation over a clip's frames of what goes into the first layer and comes out of each.

    Args:
        weights: a folder or hub name, of any family that an encoder reads.

    Raises:
        SereneError: they are not found, or of no such family.
    """

    weights: str

    declared: ClassVar[InputSpec] = InputSpec(width=0, rate=0.0, weights="elsewhere")

    @property
    def identity(self) -> str:
        """What the store keys the arrays by."""
        return f"statistics-{self._prefix.identity}"

    @property
    def spec(self) -> InputSpec:
        """Twice the encoder's width, of the encoder's clips."""
        return replace(self._prefix.spec, width=2 * self._prefix.states_width, rate=0.0)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into means and deviations (1 + layer, 2 * width), float32."""
        frames = self._prefix(samples).astype(np.float32)
        states = frames.reshape(len(frames), -1, self._prefix.states_width)
        return np.concatenate([states.mean(axis=0), states.std(axis=0)], axis=1)

    @cached_property
    def _prefix(self) -> Prefix:
        kinds = {name: registry.load(name, ENCODERS, "encoder") for name in ENCODERS}
        layered = {name: kind for name, kind in kinds.items() if issubclass(kind, LayeredEncoder)}
        families = {family: reader for kind in layered.values() for family, reader in kind.families.items()}
        described, _ = pretrained.described(self.weights, None, families)
        name, kind = next(named for named in layered.items() if described.model_type in named[1].families)
        settings = settings_of({"weights": self.weights, "train": "none", "output": "weighted_sum"}, kind, "model")
        front_end = registry.load(kind.front_end, FRONT_ENDS, "front end")(**kind.features(**settings))
        normalize = kind.normalize if weights.standardises(weights.find(self.weights)) else "none"
        return Prefix(front_end=front_end, encoder=name, settings=settings, normalize=normalize)
