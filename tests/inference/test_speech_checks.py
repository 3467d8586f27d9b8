"""Short, silent and steady sounds are told apart from speech; speech of any loudness passes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from small_model import spoken

from serene import sound
from serene.corpora.synthetic import PROSODY, Voice, speak
from serene.inference import features as speech

RATE = 16_000


def coloured(seconds: float, slope: float, seed: int) -> np.ndarray:
    """Noise whose power falls by `slope` times 3 dB per octave: 0 white, 1 pink, 2 brown."""
    samples = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum *= np.where(frequency < 20, 0, np.maximum(frequency, 20) ** (-slope / 2))
    noise = np.fft.irfft(spectrum, samples)
    return (0.3 * noise / np.abs(noise).max()).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 399, 4799])
def test_less_than_three_tenths_of_a_second_is_too_short(samples: int) -> None:
    assert speech.why_not(np.ones(samples, np.float32)) == "too short"


def test_three_tenths_of_a_second_are_enough() -> None:
    assert speech.why_not(spoken(0.3)) is None


@pytest.mark.parametrize("constant", [0.0, 0.25, -1.0])
def test_a_constant_is_silence(constant: float) -> None:
    assert speech.why_not(np.full(RATE, constant, np.float32)) == "silence"


def test_silence_is_by_the_loudest_frame() -> None:
    """Speech whose loudest frame is just below -65 dB of full scale is silence, just above it is speech."""
    voiced = spoken(2.0)
    centred = voiced - voiced.mean()
    starts = range(0, len(voiced) - 399, 160)
    loudest = max(math.sqrt(sum(float(x) ** 2 for x in centred[start : start + 400]) / 400) for start in starts)
    for decibels, expected in ((-65.2, "silence"), (-64.8, None)):
        assert speech.why_not(voiced * (10 ** (decibels / 20) / loudest)) == expected


@pytest.mark.parametrize("slope", [0, 1, 2])
@pytest.mark.parametrize("seconds", [0.5, 2.0, 8.0])
def test_steady_noise_of_any_colour_and_length_is_noise(slope: float, seconds: float) -> None:
    assert [speech.why_not(coloured(seconds, slope, seed)) for seed in range(5)] == ["noise"] * 5


@pytest.mark.parametrize("fundamental", [50, 60, 120])
def test_hum_is_noise(fundamental: int) -> None:
    time = np.arange(3 * RATE) / RATE
    hum = sum(0.1 / n * np.sin(2 * np.pi * fundamental * n * time + n) for n in range(1, 8))
    assert speech.why_not((hum + 0.002 * coloured(3.0, 0, 1)).astype(np.float32)) == "noise"


def test_noise_that_fades_in_slowly_is_noise() -> None:
    """Its level goes over 40 dB, and within 100 ms by half a decibel."""
    fading = coloured(8.0, 0, 3) * np.logspace(-2, 0, 8 * RATE)
    assert speech.why_not(fading.astype(np.float32)) == "noise"


@pytest.mark.parametrize("emotion", sorted(PROSODY))
@pytest.mark.parametrize("voice", [Voice(110.0, 0.95, -9.0), Voice(210.0, 1.15, -6.0)], ids=["low", "high"])
def test_made_up_speech_passes(emotion: str, voice: Voice) -> None:
    """Half of these clips have their noise no more than 22 dB below them."""
    draw = np.random.default_rng(0)
    clips = [speak(voice, PROSODY[emotion], "aiuo", 1.0, draw).astype(np.float32) for _ in range(5)]
    assert [speech.why_not(clip) for clip in clips] == [None] * 5


def test_modulation_by_hand() -> None:
    """One frame over and over, every ten frames louder or softer by 12 dB: all bands change alike."""
    frame = 0.1 * coloured(0.025, 0, 0)
    energies = [10 ** ((0.0, 1.2)[n // 10 % 2]) for n in range(60)]
    frames = np.stack([frame * math.sqrt(energy) for energy in energies]).astype(np.float32)
    levels = [10 * math.log10(sum(energies[n : n + 6]) / 6) for n in range(55)]
    changes = [levels[n + 10] - levels[n] for n in range(45)]
    mean = sum(changes) / 45
    deviation = math.sqrt(sum((change - mean) ** 2 for change in changes) / 45) / math.sqrt(2)
    expected = sum(deviation / chance for chance in speech.CHANCE) / len(speech.CHANCE)
    assert speech.modulation(frames) == pytest.approx(expected, rel=1e-3)


def test_the_unit_of_modulation_is_white_noise() -> None:
    frames = np.lib.stride_tricks.sliding_window_view(coloured(60.0, 0, 7), speech.FRAME)[:: speech.SHIFT]
    assert speech.modulation(frames) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("emotion", sorted(PROSODY))
def test_speech_in_noise_as_loud_as_itself_passes(emotion: str) -> None:
    draw = np.random.default_rng(1)
    clip = speak(Voice(160.0, 1.05, -6.0), PROSODY[emotion], "aiuo", 1.5, draw)
    assert speech.why_not((clip + clip.std() * draw.standard_normal(len(clip))).astype(np.float32)) is None


def test_long_sounds_are_measured_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.lib.stride_tricks.sliding_window_view(spoken(3.0), speech.FRAME)[:: speech.SHIFT]
    whole = speech.level(frames), speech.modulation(frames)
    monkeypatch.setattr(speech, "BLOCK", 7)
    assert (speech.level(frames), speech.modulation(frames)) == pytest.approx(whole, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["crema-d", "emodb", "ravdess", "speechocean762"])
def test_real_speech_passes(corpus: str, request: pytest.FixtureRequest) -> None:
    """Docs and docstring have the figures of 300 clips of each corpus; here are 60, of which none may be refused."""
    folder: Path = request.getfixturevalue("speech")
    clips = sorted(p for p in (folder / corpus).rglob("*") if p.suffix in {".wav", ".flac", ".opus", ".ogg"})
    assert len(clips) > 60
    refused = {clip.name: speech.why_not(sound.read(clip)) for clip in clips[:: len(clips) // 60][:60]}
    assert {name: why for name, why in refused.items() if why} == {}
