"""Whisper's log-mel: transformers' extractor gives the same, and so does the formula by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import transformers

from serene.audio.log_mel import LogMel, mel_filters
from serene.errors import AudioError, SereneError


def sound(samples: int) -> np.ndarray:
    rising = np.linspace(0.01, 1, samples)
    return (0.1 * rising * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("filters", [80, 128])
@pytest.mark.parametrize("samples", [1, 100, 399, 16_000, 40_001, 479_900, 480_000])
def test_it_is_what_transformers_computes(samples: int, filters: int) -> None:
    extractor: Any = transformers.WhisperFeatureExtractor(feature_size=filters)
    padded = np.pad(sound(samples), (0, 480_000 - samples))
    theirs = extractor._np_extract_fbank_features(padded[None], "cpu")[0].T  # its own numpy: torch's floats are rougher
    filled, own = LogMel(filters=filters, pad=30)(sound(samples)), LogMel(filters=filters)(sound(samples))
    assert filled.dtype == own.dtype == np.float32
    np.testing.assert_allclose(filled, theirs, rtol=0, atol=1e-5)
    assert len(own) == math.ceil(samples / 160)
    np.testing.assert_allclose(own, theirs[: len(own)], rtol=0, atol=1e-5)


def test_a_longer_clip_is_computed_window_by_window() -> None:
    samples = np.concatenate([sound(480_000), 0.01 * sound(20_000)])
    made = LogMel()(samples)
    assert made.shape == (3000 + 125, 80)
    np.testing.assert_array_equal(made[:3000], LogMel()(samples[:480_000]))
    np.testing.assert_array_equal(made[3000:], LogMel()(samples[480_000:]))


def test_a_tone_by_hand() -> None:
    tone = [0.5 * math.sin(2 * math.pi * 1000 * n / 16_000) for n in range(1600)]
    frame = 5  # centred at sample 800, clear of both ends
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    cut = [tone[frame * 160 - 200 + n] * window[n] for n in range(400)]
    power = []
    for k in range(201):
        real = sum(x * math.cos(2 * math.pi * k * n / 400) for n, x in enumerate(cut))
        imaginary = sum(x * math.sin(2 * math.pi * k * n / 400) for n, x in enumerate(cut))
        power.append(real**2 + imaginary**2)
    top = 15 + 27 * math.log(8) / math.log(6.4)  # mels at 8 kHz
    mels = [top * i / 81 for i in range(82)]
    hertz = [m * 200 / 3 if m < 15 else 1000 * math.exp((m - 15) * math.log(6.4) / 27) for m in mels]
    energies = []
    for low, middle, high in zip(hertz, hertz[1:], hertz[2:], strict=False):
        total = 0.0
        for k in range(201):
            slope = min((40 * k - low) / (middle - low), (high - 40 * k) / (high - middle))
            total += max(0.0, slope) * 2 / (high - low) * power[k]
        energies.append(math.log10(max(total, 1e-10)))
    loudest = float(LogMel()(np.array(tone, dtype=np.float32)).max()) * 4 - 4  # of the whole clip
    expected = [(max(e, loudest - 8) + 4) / 4 for e in energies]
    np.testing.assert_allclose(LogMel()(np.array(tone, dtype=np.float32))[frame], expected, rtol=0, atol=1e-4)


def test_every_filter_hears_something() -> None:
    for count in (80, 128):
        assert (mel_filters(count).max(axis=0) > 0).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(AudioError, match=r"has 31\.0 s, and features\.pad fills clips up to 30 s\. Leave it out"):
        LogMel(pad=30)(np.zeros(31 * 16_000, dtype=np.float32))
    assert LogMel(pad=30).spec.accepted == 30
    assert LogMel().spec.accepted == 600
    for settings, message in (
        ({"filters": 2}, "filters is 2"),
        ({"pad": 31}, "pad is 31"),
        ({"pad": 0}, "pad is 0"),
        ({"loudest": np.nan}, "loudest is nan"),
    ):
        with pytest.raises(SereneError, match=message):
            LogMel(**settings)
