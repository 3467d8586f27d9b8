"""Any container, channel count, rate and part of a file becomes mono float32 at 16 kHz, or an error that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from serene import sound
from serene.errors import AudioError


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = noise(1600), noise(1600, seed=1)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    heard = sound.read(tmp_path / "a.wav")
    assert (heard.shape, heard.dtype) == ((1600,), np.float32)
    assert heard == pytest.approx((left + right) / 2, abs=1e-7)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_any_rate_becomes_16_khz_of_the_same_length_and_pitch(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate), rate, subtype="FLOAT")
    heard = sound.read(str(tmp_path / "a.wav"))
    assert len(heard) == pytest.approx(16_000, abs=1)
    assert heard.dtype == np.float32
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    middle = slice(1000, 15_000)  # the resampler's filter sees the ends
    assert heard[middle] == pytest.approx(expected[middle], abs=2e-3)


def test_what_is_above_half_the_rate_is_gone_and_not_folded_back(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000), 48_000)
    assert np.abs(sound.read(tmp_path / "a.wav")[1000:15_000]).max() < 1e-3


@pytest.mark.parametrize(
    ("start", "duration", "first", "last"), [(0.5, 0.25, 8000, 12_000), (0.75, None, 12_000, 16_000)]
)
def test_a_part_of_a_file_is_those_samples(
    tmp_path: Path, start: float, duration: float | None, first: int, last: int
) -> None:
    soundfile.write(tmp_path / "a.flac", noise(16_000), 16_000, subtype="PCM_16")
    whole = sound.read(tmp_path / "a.flac")
    assert np.array_equal(sound.read(tmp_path / "a.flac", start, duration), whole[first:last])


def test_seconds_are_of_the_file_not_of_what_is_heard(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(24_000), 48_000)
    assert sound.seconds(tmp_path / "a.wav") == (0.5, 48_000)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([0.1, np.nan, 0.1]), "not finite"),
        (np.array([0.1, np.inf, 0.1]), "not finite"),
        (np.zeros(0), "holds no samples"),
    ],
)
def test_sound_that_holds_nothing_or_no_numbers_is_named(tmp_path: Path, samples: np.ndarray, message: str) -> None:
    soundfile.write(tmp_path / "bad.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"bad\.wav .*{message}"):
        sound.read(tmp_path / "bad.wav")


@pytest.mark.parametrize("content", [b"these are words", b"", b"RIFF", None])
@pytest.mark.parametrize("reader", [sound.read, sound.seconds])
def test_a_file_that_is_missing_or_no_audio_is_named(tmp_path: Path, content: bytes | None, reader) -> None:
    if content is not None:
        (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"bad\.wav cannot be read as audio"):
        reader(tmp_path / "bad.wav")


def test_a_part_beyond_the_end_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1600), 16_000)
    with pytest.raises(AudioError, match=r"a\.wav holds no samples \(start 2 s, duration 1\.0\)"):
        sound.read(tmp_path / "a.wav", 2.0, 1.0)


def test_the_hash_is_of_what_is_heard_not_of_the_file(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(-32768, 32768, size=1600).astype(np.int16)
    for name in ("a.wav", "b.flac", "c.aiff"):
        soundfile.write(tmp_path / name, numbers, 16_000)
    soundfile.write(tmp_path / "d.wav", numbers[::-1], 16_000)
    a, b, c, d = (sound.content_hash(sound.read(tmp_path / name)) for name in ("a.wav", "b.flac", "c.aiff", "d.wav"))
    assert a == b == c != d
    assert len(a) == 32
    assert int(a, 16)


def test_the_hash_does_not_depend_on_memory_layout() -> None:
    samples = noise(100)
    strided, swapped = np.repeat(samples, 2)[::2], samples.astype(">f4")
    assert sound.content_hash(samples) == sound.content_hash(strided) == sound.content_hash(swapped)
    changed = samples.copy()
    changed[50] = np.nextafter(changed[50], 1)
    assert sound.content_hash(samples) != sound.content_hash(changed)
