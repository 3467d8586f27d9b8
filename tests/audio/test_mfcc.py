"""MFCC are Kaldi's: every step re-derived with loops for one frame, then deltas, voice activity and the shape."""

from __future__ import annotations

import cmath
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from serene import sound
from serene.audio.mfcc import Mfcc, add_deltas, voiced
from serene.errors import SereneError

RATE = 16_000
ALL_FRAMES = Mfcc(voice_activity=False)


def noise(n_samples: int, scale: float = 0.1, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def half_silent() -> np.ndarray:
    return np.concatenate([noise(8000), noise(8000, scale=1e-4, seed=1), noise(4000, seed=2)])


def cepstra_by_hand(samples: np.ndarray, frame: int) -> list[float]:
    """Kaldi's defaults in plain loops: 25 ms every 10 ms, Povey window, 23 mel bands from 20 Hz, lifter 22."""
    x = [32768.0 * float(s) for s in samples[160 * frame : 160 * frame + 400]]
    offset = sum(x) / 400
    x = [value - offset for value in x]
    log_energy = math.log(sum(value * value for value in x))  # raw: before pre-emphasis and window
    x = [value - 0.97 * before for value, before in zip(x, [x[0], *x[:-1]], strict=True)]
    x = [value * (0.5 - 0.5 * math.cos(2 * math.pi * i / 399)) ** 0.85 for i, value in enumerate(x)]
    power = [abs(sum(v * cmath.exp(-2j * math.pi * k * i / 512) for i, v in enumerate(x))) ** 2 for k in range(257)]

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    width = (mel(8000) - mel(20)) / 24
    bands = []
    for band in range(23):
        centre = mel(20) + (band + 1) * width
        weights = [max(0.0, 1 - abs(mel(k * RATE / 512) - centre) / width) for k in range(256)]
        bands.append(math.log(sum(w * p for w, p in zip(weights, power, strict=False))))
    cepstra = [log_energy]
    for k in range(1, 13):
        cosines = sum(band * math.cos(math.pi * k * (j + 0.5) / 23) for j, band in enumerate(bands))
        cepstra.append(math.sqrt(2 / 23) * cosines * (1 + 11 * math.sin(math.pi * k / 22)))
    return cepstra


@pytest.mark.parametrize("frame", [0, 7])
def test_cepstra_are_kaldis_on_the_16_bit_scale_with_raw_log_energy_first(frame: int) -> None:
    samples = noise(4000) + 0.05  # a constant offset is removed
    assert ALL_FRAMES(samples)[frame, :13] == pytest.approx(cepstra_by_hand(samples, frame), abs=2e-3)


@pytest.mark.parametrize(("n_samples", "frames"), [(400, 1), (559, 1), (560, 2), (16_000, 98), (32_000, 198)])
def test_frames_are_25_ms_every_10_ms(n_samples: int, frames: int) -> None:
    assert frames == 1 + (n_samples - 400) // 160
    features = ALL_FRAMES(noise(n_samples))
    assert (features.shape, features.dtype) == ((frames, 39), np.float32)


@pytest.mark.parametrize(
    ("settings", "width"), [({}, 39), ({"deltas": 0}, 13), ({"coefficients": 20, "deltas": 1}, 40)]
)
def test_the_width_is_what_comes_out(settings: dict, width: int) -> None:
    mfcc = Mfcc(**settings)
    assert mfcc.spec.width == mfcc(noise(1600)).shape[1] == width


def test_deltas_are_kaldis_regression_with_repeated_edge_frames() -> None:
    """The outer frames of the *cepstra* are repeated for every order: the second is no delta of the first there."""
    cepstra = np.random.default_rng(0).normal(size=(7, 3))
    ours = add_deltas(cepstra, 2)

    def at(frame: int, feature: int) -> float:
        return float(cepstra[min(max(frame, 0), 6), feature])

    for t in range(7):
        for f in range(3):
            first = sum(n * at(t + n, f) for n in range(-2, 3)) / 10
            second = sum(m * n * at(t + m + n, f) for m in range(-2, 3) for n in range(-2, 3)) / 100
            assert ours[t, [f, 3 + f, 6 + f]] == pytest.approx([at(t, f), first, second], abs=1e-6)


def test_a_frame_is_voiced_above_five_plus_half_the_mean_log_energy() -> None:
    """Mean 12, so the threshold is 11: a frame must be above it, not at it."""
    assert voiced(np.array([20.0, 11.0, 11.001, 5.999])).tolist() == [True, False, True, False]
    energy = [float(e) for e in ALL_FRAMES(half_silent())[:, 0]]
    expected = [e > 5.0 + 0.5 * sum(energy) / len(energy) for e in energy]
    assert 0 < sum(expected) < len(expected)
    assert voiced(np.array(energy)).tolist() == expected


def test_silent_frames_are_dropped_after_the_deltas_have_seen_them() -> None:
    samples = half_silent()
    everything = ALL_FRAMES(samples)
    kept = voiced(everything[:, 0])
    assert np.array_equal(Mfcc()(samples), everything[kept])
    assert not np.allclose(add_deltas(everything[kept, :13], 2), everything[kept]), "the order is of consequence here"


def test_a_clip_without_any_voiced_frame_keeps_all() -> None:
    assert voiced(np.full(4, 3.0)).tolist() == [True] * 4
    silence = Mfcc()(np.zeros(16_000, dtype=np.float32))
    assert silence.shape == (98, 39)
    assert np.isfinite(silence).all()


@pytest.mark.parametrize("n_samples", [1, 100, 399])
def test_a_clip_shorter_than_a_frame_is_one_frame(n_samples: int) -> None:
    features = Mfcc()(noise(n_samples))
    assert features.shape == (1, 39)
    assert np.isfinite(features).all()


def test_the_same_sound_gives_the_same_numbers() -> None:
    assert np.array_equal(Mfcc()(noise(8000)), Mfcc()(noise(8000)))


def test_every_setting_is_part_of_the_identity() -> None:
    others = {"coefficients": 20, "deltas": 1, "voice_activity": False, "energy": False}
    assert set(others) == {field.name for field in fields(Mfcc)}
    still = {"voice_activity": False}  # which needs the energy
    identities = [Mfcc().identity, *(Mfcc(**{**still, name: value}).identity for name, value in others.items())]
    assert len(set(identities)) == 5
    assert Mfcc().identity == Mfcc(deltas=2).identity


@pytest.mark.parametrize("settings", [{"coefficients": 24}, {"coefficients": 0}, {"deltas": -1}])
def test_settings_that_make_no_features_are_refused(settings: dict) -> None:
    with pytest.raises(SereneError, match="1 to 23 coefficients and 0 deltas or more were expected"):
        Mfcc(**settings)


def test_real_speech_has_silence_to_drop(speech: Path) -> None:
    for path in sorted((speech / "emodb/wav").iterdir())[:5]:
        samples = sound.read(path)
        everything, kept = ALL_FRAMES(samples), Mfcc()(samples)
        assert len(everything) == 1 + (len(samples) - 400) // 160
        assert 0.2 < len(kept) / len(everything) < 1
        assert np.isfinite(everything).all()
