"""Whatever a user calls a sound gives the same samples; what is none is refused in one message."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from serene import sound as decoder
from serene.errors import AudioError
from serene.inference.sounds import samples_of

RATE = 16_000


@pytest.fixture
def clip() -> np.ndarray:
    """A second of noise that 16 bits hold exactly."""
    return (np.random.default_rng(0).integers(-9000, 9000, RATE) / 32768).astype(np.float32)


@pytest.fixture
def path(clip: np.ndarray, tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", clip, RATE)
    return tmp_path / "a.wav"


def test_paths_bytes_and_open_files_are_decoded(clip: np.ndarray, path: Path) -> None:
    with path.open("rb") as file:
        given = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), io.BytesIO(path.read_bytes()), file]
        for one in given:
            assert np.array_equal(samples_of(one), clip)


@pytest.mark.parametrize(
    "shape",
    [
        lambda clip: (clip, RATE),
        lambda clip: (torch.from_numpy(clip), RATE),
        lambda clip: (clip.astype(np.float64), np.int64(RATE)),
        lambda clip: {"array": clip, "sampling_rate": RATE},
        lambda clip: {"raw": clip, "sampling_rate": RATE},
        lambda clip: {"waveform": torch.from_numpy(clip)[None], "sample_rate": RATE},
        lambda clip: ((clip * 32768).astype(np.int16), RATE),
        lambda clip: (torch.from_numpy(clip * 32768).to(torch.int16), RATE),
        lambda clip: ((clip * 32768).astype(np.int32) * 65536, RATE),
        lambda clip: (np.stack([clip] * 8), RATE),
        lambda clip: (np.stack([clip] * 8, axis=1), RATE),
    ],
)
def test_arrays_and_tensors_come_with_their_rate(clip: np.ndarray, shape: Any) -> None:
    samples = samples_of(shape(clip))
    assert samples.dtype == np.float32
    assert samples == pytest.approx(clip, abs=1e-7)


def test_the_rate_may_be_an_argument(clip: np.ndarray) -> None:
    assert np.array_equal(samples_of(clip, RATE), clip)
    tensor = torch.from_numpy(clip).to(torch.bfloat16).requires_grad_()
    assert samples_of(tensor, rate=RATE) == pytest.approx(clip, abs=2e-3)


def test_unsigned_samples_rest_in_the_middle() -> None:
    assert samples_of(np.array([0, 128, 255] * 100, np.uint8), RATE)[:3].tolist() == [-1.0, 0.0, 127 / 128]


def test_of_opposite_channels_the_louder_is_taken_and_remarked(clip: np.ndarray) -> None:
    for samples in (np.stack([-0.5 * clip, clip]), np.stack([-0.5 * clip, clip], axis=1)):
        remarks: list[str] = []
        assert np.array_equal(samples_of(samples, RATE, remarks=remarks), clip)
        assert remarks == [decoder.OPPOSITE]


def test_channels_lie_along_the_shorter_axis_and_are_averaged(clip: np.ndarray) -> None:
    left, right = clip, clip[::-1]
    expected = pytest.approx((left + right) / 2, abs=1e-7)
    assert samples_of(np.stack([left, right]), RATE) == expected
    assert samples_of(np.stack([left, right], axis=1), RATE) == expected


def test_any_rate_becomes_16_khz() -> None:
    rate = 192_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert samples_of(tone, rate)[1000:15_000] == pytest.approx(expected[1000:15_000], abs=2e-3)


@pytest.mark.parametrize(
    ("given", "rate", "said"),
    [
        (np.zeros(RATE), None, "The array came with the rate None; say how many samples a second has"),
        (np.zeros(RATE), 16_000.5, "the rate 16000.5"),
        (np.zeros(RATE), True, "the rate True"),
        (np.zeros(RATE), 0, "The array claims 0 samples per second; 1000 to 1000000 were expected"),
        (np.zeros(0), RATE, "The array holds no samples"),
        (np.zeros((0, 2)), RATE, "The array holds no samples"),
        (np.zeros((2, 3, RATE)), RATE, r"The array has the shape \(2, 3, 16000\); \(sample,\) or"),
        (np.array([0.1, np.nan] * 100), RATE, r"not finite numbers \(NaN or infinity\)"),
        (np.array([0.1, np.inf] * 100), RATE, "not finite"),
        (np.full(RATE, 20_000.0), RATE, r"samples up to 20000; floats in \[-1, 1\] were expected. Divide by 32768"),
        (np.zeros(RATE, complex), RATE, "A ndarray is no sound. A path, the bytes of an audio file"),
        (np.array(["a"] * RATE), RATE, "A ndarray is no sound"),
        ([0.1, 0.2], RATE, "A list is no sound"),
        (None, None, "A NoneType is no sound"),
        ({"samples": np.zeros(RATE)}, RATE, "A NoneType is no sound"),
        (np.zeros(RATE * 11), RATE, "The array is 11.0 s long, and no more than 10 s are read at once"),
        (b"no sound at all", None, "the sound cannot be read as audio: Format not recognised"),
    ],
)
def test_what_is_no_sound_is_one_message(given: Any, rate: Any, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        samples_of(given, rate, longest=10)


def test_files_on_the_scale_of_integers_are_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.full(RATE, 9000.0), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"loud\.wav holds samples up to 9000"):
        samples_of(tmp_path / "loud.wav")


def test_a_long_file_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "long.flac", np.zeros(RATE * 11), RATE)
    monkeypatch.setattr(decoder.soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(AudioError, match=r"long\.flac is 11\.0 s long, and no more than 10 s are read at once"):
        samples_of(tmp_path / "long.flac", longest=10)
