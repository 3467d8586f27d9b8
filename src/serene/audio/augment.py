"""Waveforms are changed at random in training: gain and polarity, or any of the nine changes of Kang et al. 2023."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import numpy as np

from serene import registry
from serene.errors import SereneError
from serene.sound import SAMPLE_RATE

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
DECIBELS = 10.0  # largest gain either way, of the released code


def gain(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make samples louder or softer by up to 10 dB."""
    return samples * np.float32(10 ** (rng.uniform(-DECIBELS, DECIBELS) / 20))


def polarity_inversion(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn samples upside down."""
    return -samples


BUILT_IN: dict[str, Change] = {"gain": gain, "polarity_inversion": polarity_inversion}


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
        """Change samples (sample,) at 16 kHz, or not; the length stays."""
        if rng.random() >= self.probability:
            return samples
        for change, chance in self.changes:
            if rng.random() < chance:
                samples = change(samples, rng)
        return samples


def _load(name: str) -> Change:
    if name in BUILT_IN:
        return BUILT_IN[name]
    transform = registry.load(name, dict.fromkeys(BUILT_IN, "") | AUDIOMENTATIONS, "change of waveforms")(p=1.0)

    def change(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seed = int(rng.integers(2**31))  # audiomentations draws from the global generators
        random.seed(seed)
        np.random.seed(seed)
        changed = transform(samples=np.ascontiguousarray(samples), sample_rate=SAMPLE_RATE)
        return changed[: len(samples)].astype(np.float32, copy=False)

    return change
