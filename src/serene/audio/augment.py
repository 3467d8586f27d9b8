"""Waveforms are changed at random in training: anew in every epoch, or once for each of a few copies."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from serene import registry
from serene.audio.changes import CHANGES
from serene.audio.input_spec import FrontEnd, InputSpec, identity_of
from serene.errors import SereneError, quoted
from serene.sound import SAMPLE_RATE, content_hash
from serene.trust import authored

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

AUDIOMENTATIONS = {
    "gaussian_noise": "audiomentations:AddGaussianNoise",
    "clipping_distortion": "audiomentations:ClippingDistortion",
    "gain_transition": "audiomentations:GainTransition",
    "tanh_distortion": "audiomentations:TanhDistortion",
    "time_mask": "audiomentations:TimeMask",
    "time_stretch": "audiomentations:TimeStretch",
    "pitch_shift": "audiomentations:PitchShift",
}  # of the extra `augment`, in its own defaults: the paper names the changes and gives no settings
VERSION = 1  # of copies that are stored; raise it when the same settings give other arrays


class Augment:
    """A few changes one after the other, each with a probability of its own, of a share `probability` of the clips.

    Raises:
        SereneError: an unknown change, or a probability outside [0, 1].
        MissingExtra: a change of audiomentations, which is not installed.
    """

    def __init__(self, changes: Mapping[str, float], probability: float) -> None:
        """Load what the changes need."""
        for name, value in ((None, probability), *changes.items()):
            if not 0 <= value <= 1:
                where = f"features.augment.{name}" if name else "features.augment_probability"
                raise SereneError(f"{where} is {value}; a probability from 0 to 1 was expected.")
        self.probability = probability
        self.changes = [(_load(name), chance) for name, chance in changes.items()]

    def __call__(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change samples (sample,) at 16 kHz, or not."""
        if rng.random() >= self.probability:
            return samples
        for change, chance in self.changes:
            if rng.random() < chance:
                samples = change(samples, rng)
        return samples


@dataclass(frozen=True, kw_only=True)
class Copy(FrontEnd):
    """A front end that reads a changed copy of each clip, always the same one, so that it can be stored.

    Args:
        front_end: makes the features.
        changes: change -> its probability.
        probability: that a clip is changed at all.
        number: of the copy.
    """

    front_end: FrontEnd
    changes: Mapping[str, float]
    probability: float
    number: int

    @property
    def declared(self) -> InputSpec:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the front end itself."""
        return self.front_end.declared

    @property
    def spec(self) -> InputSpec:
        """As the front end itself."""
        return self.front_end.spec

    @property
    def identity(self) -> str:
        """What the store keys the arrays by: the changes, the copy's number, and the front end."""
        own = {"changes": list(self.changes.items()), "probability": self.probability, "number": self.number}
        return f"{identity_of('copy', VERSION, own)}-{self.front_end.identity}"

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Change samples (sample,) as their content and the number say, and turn them into features."""
        rng = np.random.default_rng([self.number, int(content_hash(samples), 16)])
        return self.front_end(self._augment(samples, rng))

    @cached_property
    def _augment(self) -> Augment:
        return Augment(self.changes, self.probability)


def _load(name: str) -> Change:
    if name in CHANGES:
        return CHANGES[name]
    with authored():
        kind: Any = registry.load(name, dict.fromkeys(CHANGES, "") | AUDIOMENTATIONS, "change of waveforms")
    takes = {*inspect.signature(kind.__call__).parameters} if inspect.isclass(kind) else set()
    if not {"samples", "sample_rate"} <= takes:
        raise SereneError(
            f"'{quoted(name)}' is no change of waveforms: a class like those of audiomentations was expected, whose "
            "objects are called with samples and sample_rate."
        )
    make: Any = kind
    transform = make(p=1.0)

    def change(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seed = int(rng.integers(2**31))  # audiomentations draws from the global generators
        random.seed(seed)
        np.random.seed(seed)
        changed = transform(samples=np.ascontiguousarray(samples), sample_rate=SAMPLE_RATE)
        return changed[: len(samples)].astype(np.float32, copy=False)

    return change
