"""Speech is told from all else by Silero VAD, whatever its level; what is odd about the samples is remarked."""

from __future__ import annotations

import hashlib
import math
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from small_model import recognizer_of, spoken

from serene import sound
from serene.inference import speech
from serene.inference.features import joined
from serene.inference.recognizer import Recognizer

RATE = 16_000
TIME = np.arange(4 * RATE) / RATE


def coloured(seconds: float, slope: float, seed: int) -> np.ndarray:
    """Noise whose power falls by `slope` times 3 dB per octave: 0 white, 1 pink, 2 brown."""
    samples = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum *= np.where(frequency < 20, 0, np.maximum(frequency, 20) ** (-slope / 2))
    noise = np.fft.irfft(spectrum, samples)
    return (0.3 * noise / np.abs(noise).max()).astype(np.float32)


def struck(seconds: float, every: float, seed: int, tone: float = 0.0) -> np.ndarray:
    """Sounds that begin at once and die away, one after the other: chords, or bursts of noise without a tone."""
    made = np.zeros(round(seconds * RATE))
    draw, length = np.random.default_rng(seed), round(RATE * (0.5 if tone else 0.02))
    decay = np.exp(-np.arange(length) / length * 5)
    for start in draw.permutation(np.arange(0, len(made) - length, round(every * RATE))):
        if tone:
            root = tone * 2 ** (draw.integers(12) / 12)
            body = sum(np.sin(2 * np.pi * root * f * TIME[:length]) for f in (1, 1.26, 1.5, 2, 3))
        else:
            body = draw.uniform(0.3, 1) * draw.standard_normal(length)
        made[start : start + length] += body * decay
    return (0.3 * made / np.abs(made).max()).astype(np.float32)


OTHER = {
    "white": coloured(4.0, 0, 0),
    "pink": coloured(4.0, 1, 1),
    "brown": coloured(4.0, 2, 2),
    "fading in": coloured(4.0, 0, 3) * np.logspace(-2, 0, 4 * RATE),
    "opening and closing": coloured(4.0, 0, 4) * np.sin(np.pi * 4 * TIME) ** 2,
    "hum": sum(0.1 / n * np.sin(2 * np.pi * 50 * n * TIME + n) for n in range(1, 8)),
    "tone": 0.3 * np.sin(2 * np.pi * 440 * TIME),
    "siren": 0.3 * np.sin(2 * np.pi * np.cumsum(700 + 300 * np.sin(2 * np.pi * TIME)) / RATE),
    "chords": struck(4.0, 0.5, 5, 110.0),
    "typing": struck(4.0, 0.12, 6) + 0.01 * coloured(4.0, 1, 7),
    "applause": struck(4.0, 0.004, 8),
}


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
    assert speech.level(centred) == pytest.approx(20 * math.log10(loudest), abs=1e-3)
    for decibels, expected in ((-65.2, "silence"), (-64.8, None)):
        assert speech.why_not(voiced * np.float32(10 ** (decibels / 20) / loudest)) == expected


@pytest.mark.parametrize("decibels", [-45.0, -25.0, -5.0])
@pytest.mark.parametrize("name", sorted(OTHER))
def test_what_is_no_voice_is_no_speech_at_any_level(name: str, decibels: float) -> None:
    samples = np.asarray(OTHER[name], np.float32)
    gain = 10 ** ((decibels - speech.level(samples)) / 20)
    assert speech.why_not(samples * np.float32(gain)) == "no speech"


@pytest.mark.parametrize("decibels", [-60.0, -45.0, -25.0, -5.0, 20.0])
def test_speech_is_speech_at_any_level(decibels: float) -> None:
    for seed in range(5):
        samples = spoken(2.0, seed)
        assert speech.why_not(samples * np.float32(10 ** ((decibels - speech.level(samples)) / 20))) is None


def test_speech_beside_a_constant_or_in_noise_as_loud_as_itself_is_speech() -> None:
    draw = np.random.default_rng(1)
    for seed in range(5):
        clip = spoken(2.5, seed)
        assert speech.why_not(clip + np.float32(0.4)) is None
        assert speech.why_not((clip + clip.std() * draw.standard_normal(len(clip))).astype(np.float32)) is None


def test_a_word_is_enough_in_seconds_and_not_in_a_long_sound() -> None:
    word, hiss = spoken(0.6), coloured(100.0, 0, 9) * np.float32(0.01)
    assert speech.why_not(np.concatenate([hiss[: 5 * RATE], word, hiss[: 5 * RATE]])) is None
    assert speech.why_not(np.concatenate([hiss, word])) == "no speech"


def test_long_sounds_are_read_in_parts_that_know_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = spoken(3.0)
    whole = speech.probabilities(samples)
    assert len(whole) == math.ceil(len(samples) / 512)
    monkeypatch.setattr(speech, "TOGETHER", 7)
    assert np.abs(speech.probabilities(samples) - whole).max() < 1e-5


def test_probabilities_are_where_the_voice_is() -> None:
    likely = speech.probabilities(np.concatenate([np.zeros(RATE, np.float32), spoken(1.0), np.zeros(RATE, np.float32)]))
    assert likely[:30].max() < 0.1
    assert likely[32:60].max() > 0.9
    assert likely[-15:].max() < 0.1


def test_the_model_file_is_the_one_that_its_page_names() -> None:
    page = speech.MODEL.with_name("README.md").read_text(encoding="utf-8")
    content = speech.MODEL.read_bytes()
    assert re.findall(r"^ {4}([0-9a-f]{64})$", page, re.M) == [hashlib.sha256(content).hexdigest()]
    assert f"{len(content):,} bytes" in page
    assert "MIT License" in speech.MODEL.with_name("LICENSE").read_text(encoding="utf-8")


def test_threads_ask_at_once_and_the_extractor_is_pickled_after_it_was_asked(recognizer: Recognizer) -> None:
    clips = [spoken(1.0 + seed / 4, seed) for seed in range(8)]
    alone = [speech.probabilities(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(speech.probabilities, clips), strict=True):
            assert np.array_equal(one, other)
    recognizer.extract(clips[0], RATE)
    assert pickle.loads(pickle.dumps(recognizer.extractor))(coloured(1.0, 0, 0), RATE).note == "no speech"


# --- what is odd


def test_a_constant_and_clipping_are_remarked_and_ordinary_speech_is_not(folder: Path) -> None:
    for seed in range(8):
        clip = spoken(2.0, seed)
        assert speech.oddities(clip) == []
        assert speech.oddities(clip + np.float32(0.2)) == [speech.OFFSET]
        assert speech.oddities(np.clip(10 * clip, -1, 1)) == [speech.CLIPPED]
    known, clip = recognizer_of(folder), spoken(2.0)
    assert known(clip, RATE).remark is None
    odd = np.clip(10 * clip, -1, 1) / 2 + np.float32(0.4)
    answer = known(np.stack([odd, -odd]), RATE)
    assert answer.remark == f"{sound.OPPOSITE}; {speech.OFFSET}; {speech.CLIPPED}"
    assert answer.to_dict()["note"] == answer.remark
    assert answer.label


def test_remarks_are_joined_each_once() -> None:
    assert joined(["a", None, "b; a", "c"]) == "a; b; c"
    assert joined([None]) is None


# --- real speech


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["crema-d", "emodb", "ravdess", "speechocean762"])
def test_real_speech_passes(corpus: str, request: pytest.FixtureRequest) -> None:
    """`docs/inference.md` has the figures of 300 clips of each corpus; here are 60, of which one may be refused."""
    folder: Path = request.getfixturevalue("speech")
    clips = sorted(p for p in (folder / corpus).rglob("*") if p.suffix in {".wav", ".flac", ".opus", ".ogg"})
    assert len(clips) > 60
    refused = {clip.name: speech.why_not(sound.read(clip)) for clip in clips[:: len(clips) // 60][:60]}
    assert len([name for name, why in refused.items() if why]) <= 1, refused
