"""Whatever a user calls a sound becomes mono samples at 16 kHz: a path, bytes, an open file, an array, a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serene import sound as decoder
from serene.errors import AudioError
from serene.sound import SAMPLE_RATE

LOUDEST = 64.0  # of floating-point samples: what goes beyond is on the scale of integers
EXPECTED = (
    "A path, the bytes of an audio file, an open file, an array or tensor of samples with its rate, or (samples, rate) "
    "was expected."
)
SAMPLES, RATES = ("array", "raw", "waveform"), ("sampling_rate", "sample_rate")  # as other libraries' dictionaries say


def samples_of(sound: Any, rate: int | None = None, *, longest: float | None = None) -> np.ndarray:
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
        return decoder.read(sound, longest=longest)
    sound, rate = _unpacked(sound, rate)
    samples = _mono(_numbers(sound))
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or not rate > 0:
        raise AudioError(f"Samples came with the rate {rate!r}; say how many there are in a second, such as rate=16000.")
    decoder.refuse_rate(int(rate), "the array")
    if longest is not None and len(samples) > longest * rate:
        decoder.refuse_longer(len(samples) / rate, longest, "the array")
    samples = decoder.resample(samples, int(rate))
    if samples.size == 0:
        raise AudioError("The array holds no samples.")
    return samples
