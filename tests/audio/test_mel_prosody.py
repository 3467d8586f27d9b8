"""Pitch, voicing and power of sounds whose pitch is known; what is cut away, and what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serene.audio.mel_prosody import MelProsody, prosody, spoken
from serene.errors import SereneError

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0, overtone: float = 0.4) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * hertz * time) + overtone * np.sin(4 * np.pi * hertz * time)
    return (0.2 * wave).astype(np.float32)


@pytest.mark.parametrize("hertz", [75.0, 110.0, 180.5, 260.0, 440.0])
def test_the_pitch_of_a_tone_is_its_own(hertz: float) -> None:
    found = prosody(tone(hertz), 100)
    inner = found[5:-5]
    assert 165 * 2 ** inner[:, 0] == pytest.approx(hertz, rel=0.01)
    assert (inner[:, 1] > 0.9).all() and (inner[:, 2] == 1).all()


def test_a_glide_is_followed_and_noise_has_no_pitch() -> None:
    time = np.arange(RATE) / RATE
    glide = (0.2 * np.sin(2 * np.pi * (120 * time + 60 * time**2))).astype(np.float32)  # 120 to 240 Hz
    found = prosody(glide, 100)
    for frame in (20, 50, 80):
        assert 165 * 2 ** found[frame, 0] == pytest.approx(120 + 120 * frame / 100, rel=0.04)
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert (prosody(noise, 100)[:, 2] == 0).mean() > 0.9
    assert not prosody(noise, 100)[prosody(noise, 100)[:, 2] == 0, 0].any(), "an unvoiced frame has no pitch"


def test_power_is_the_mean_square_in_nepers() -> None:
    found = prosody(tone(200.0, overtone=0.0), 100)
    assert found[50, 3] == pytest.approx(math.log(0.2**2 / 2), abs=0.02)
    softer = prosody(0.1 * tone(200.0, overtone=0.0), 100)
    assert found[50, 3] - softer[50, 3] == pytest.approx(math.log(100), abs=0.02)
    assert found[50, :2] == pytest.approx(softer[50, :2], abs=0.01), "how loud it is does not change the pitch"


def test_soft_frames_around_the_speech_are_cut_and_those_within_it_stay() -> None:
    log_power = np.full(100, -12.0)
    log_power[30:40] = log_power[60:70] = -3.0
    assert spoken(log_power) == slice(22, 78)
    assert spoken(np.full(10, -18.0)) == slice(0, 18), "silence is as loud as its loudest frame"
    quiet = np.zeros(RATE // 2, dtype=np.float32)
    whole = MelProsody()(np.concatenate([quiet, tone(150.0), quiet, tone(150.0), quiet]))
    assert 2 * 100 + 50 <= len(whole) <= 2 * 100 + 50 + 2 * 12


@pytest.mark.parametrize("samples", [1, 100, 399, 400, 401, 4_800, 5_000, 16_001])
def test_any_clip_has_frames_of_one_width_and_finite_values(samples: int) -> None:
    for sound in (np.zeros(samples, np.float32), np.random.default_rng(1).normal(0, 0.3, samples).astype(np.float32)):
        made = MelProsody(filters=40)(sound)
        assert made.dtype == np.float32
        assert made.shape[0] >= 1 and made.shape[1] == MelProsody(filters=40).spec.width == 44
        assert np.isfinite(made).all()
        assert np.array_equal(made, MelProsody(filters=40)(sound)), "nothing is random"


def test_mel_energies_are_those_of_the_filters() -> None:
    """A tone lies in the filters around its frequency on the mel scale, and twice the amplitude adds log 4."""
    made = MelProsody()(tone(1000.0, overtone=0.0))[50, :64]
    mel = [1127 * math.log(1 + hertz / 700) for hertz in (20, 1000, 8000)]
    expected = 64 * (mel[1] - mel[0]) / (mel[2] - mel[0]) - 0.5
    assert abs(int(made.argmax()) - expected) <= 1
    louder = MelProsody()(2 * tone(1000.0, overtone=0.0))[50, :64]
    assert (louder - made)[made.argmax()] == pytest.approx(math.log(4), abs=1e-3)


def test_what_is_softer_than_the_contrast_allows_is_raised() -> None:
    """A recording with little noise of its own is read like one with more, and the loud frames stay as they are."""
    generator = np.random.default_rng(0)
    speech = tone(150.0) * (np.sin(2 * np.pi * 3 * np.arange(RATE) / RATE) > 0)
    whole, flat = MelProsody(contrast=40.0), MelProsody(contrast=3.0)
    clean, noisy = (speech + generator.normal(0, level, RATE).astype(np.float32) for level in (1e-6, 1e-3))
    wide, narrow = whole(clean), flat(clean)
    for f in (10, 40, 67):
        column = sorted(wide[:, f].tolist())
        place = 0.95 * (len(column) - 1)
        below, share = int(place), place - int(place)
        loud = column[below] + share * (column[min(below + 1, len(column) - 1)] - column[below])
        assert narrow[:, f] == pytest.approx(np.maximum(wide[:, f], loud - 3.0), abs=1e-4)
    assert np.array_equal(narrow[:, 64:67], wide[:, 64:67]), "pitch and voicing are as they were"
    apart = [np.abs(made(clean) - made(noisy))[:, :64].mean() for made in (whole, flat)]
    assert apart[1] < 0.4 * apart[0]


def test_settings_that_make_no_filters_are_refused_and_others_are_told_apart() -> None:
    with pytest.raises(SereneError, match=r"features.filters is 2; 3 to 80 were expected"):
        MelProsody(filters=2)
    with pytest.raises(SereneError, match=r"features.contrast is 0; a positive number of nepers"):
        MelProsody(contrast=0)
    assert len({made.identity for made in (MelProsody(), MelProsody(filters=40), MelProsody(contrast=4.0))}) == 3
