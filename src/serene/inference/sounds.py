"""Whatever a user calls a sound becomes mono samples at 16 kHz: a path, bytes, an open file, an array, a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np

from serene import sound as decoder
from serene.errors import AudioError

ARRAY = "The array"  # what messages call samples without a name
LOUDEST = 64.0  # of floating-point samples: what goes beyond is on the scale of integers
SAMPLES, RATES = ("array", "raw", "waveform"), ("sampling_rate", "sample_rate")  # as other libraries' dictionaries say


class Tensor(Protocol):
    """A torch tensor, of which nothing but this is asked here."""

    def detach(self) -> Any:
        """Give its values without their history."""
        ...


Pair = tuple[np.ndarray | Tensor, int]
Sound = str | Path | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Tensor | Pair | Mapping[str, Any]


def samples_of(sound: Sound, rate: int | None = None, *, longest: float | None = None) -> np.ndarray:
    """Turn a sound into samples (sample,) at 16 kHz, float32.

    Args:
        sound: a path; the bytes of an audio file; a file opened for reading bytes; samples as a numpy array or torch
            tensor, (sample,) or with channels along the shorter axis, integers at full scale or floats in [-1, 1];
            `(samples, rate)`; or a dictionary of `array`, `raw` or `waveform` and `sampling_rate` or `sample_rate`.
        rate: of samples, in hertz; a file says its own.
        longest: refuse what is longer, in seconds.

    Raises:
        AudioError: it is no sound, cannot be decoded, is empty, too long or not finite, or lacks its rate.
    """
    if isinstance(sound, str | Path | bytes | bytearray | memoryview) or hasattr(sound, "read"):
        samples = decoder.read(cast(decoder.Source, sound), longest=longest)
        refuse_loud(samples, decoder.named(sound))
        return samples
    sound, rate = _unpacked(sound, rate)
    samples = _mono(_numbers(sound))
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise AudioError(f"{ARRAY} came with the rate {rate!r}; say how many samples a second has, such as rate=16000.")
    decoder.refuse_rate(int(rate), ARRAY)
    decoder.refuse_longer(len(samples) / rate, longest, ARRAY)
    if samples.size == 0:
        raise AudioError(f"{ARRAY} holds no samples.")
    return decoder.resample(samples, int(rate))


def refuse_loud(samples: np.ndarray, name: str) -> None:
    """Refuse floating-point samples on the scale of integers, or of none."""
    if samples.size and np.abs(samples).max() > LOUDEST:
        raise AudioError(
            f"{name} holds samples up to {np.abs(samples).max():g}; floats in [-1, 1] were expected. "
            "Divide by 32768 what was 16-bit integers."
        )


def _unpacked(sound: Any, rate: int | None) -> tuple[Any, Any]:
    """Take samples and rate out of a pair or a dictionary."""
    if isinstance(sound, tuple) and len(sound) == 2:
        return sound
    if isinstance(sound, Mapping):
        samples = next((sound[key] for key in SAMPLES if key in sound), None)
        return samples, next((sound[key] for key in RATES if key in sound), rate)
    return sound, rate


def _numbers(sound: Any) -> np.ndarray:
    """Bring an array or tensor to floats in [-1, 1], in its own shape."""
    if hasattr(sound, "detach"):  # a torch tensor, on any device; torch itself is not imported for it
        sound = sound.detach().cpu()
        sound = sound.float().numpy() if sound.is_floating_point() else sound.numpy()
    if not isinstance(sound, np.ndarray) or sound.dtype.kind not in "iuf":
        raise AudioError(
            f"A {type(sound).__name__} is no sound. A path, the bytes of an audio file, an open file, an array or "
            "tensor of numbers with its rate, or (samples, rate) was expected."
        )
    if sound.dtype.kind == "f":
        if not np.isfinite(sound).all():
            raise AudioError(f"{ARRAY} holds samples that are not finite numbers (NaN or infinity).")
        refuse_loud(sound, ARRAY)
        return sound
    full = float(2 ** (8 * sound.dtype.itemsize - 1))
    middle = full if sound.dtype.kind == "u" else 0.0  # unsigned samples rest at half of their range
    return (sound.astype(np.float64) - middle) / full


def _mono(samples: np.ndarray) -> np.ndarray:
    if samples.ndim == 2:
        samples = samples.mean(axis=int(np.argmin(samples.shape))) if samples.size else samples.reshape(-1)
    if samples.ndim != 1:
        raise AudioError(f"{ARRAY} has the shape {samples.shape}; (sample,) or (channel, sample) was expected.")
    return samples.astype(np.float32, copy=False)
