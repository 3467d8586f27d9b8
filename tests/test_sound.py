"""Any container, channel count, rate and part of a file becomes mono float32 at 16 kHz, or an error that names it."""

from __future__ import annotations

import io
import os
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
    samples = sound.read(tmp_path / "a.wav")
    assert (samples.shape, samples.dtype) == ((1600,), np.float32)
    assert samples == pytest.approx((left + right) / 2, abs=1e-7)


@pytest.mark.parametrize(
    ("sides", "taken"),
    [
        ((1.0, -0.9), 0),
        ((1.0, -0.6), 0),
        ((-0.6, 1.0), 1),
        ((0.2, 0.9, -1.0), 2),  # the mean keeps a thirtieth of a channel
        ((1.0, 0.0), None),
        ((1.0, -0.1), None),
        ((1.0, *[0.0] * 7), None),
        ((1.0, 1.0), None),
    ],
)
def test_of_channels_that_cancel_each_other_the_loudest_is_taken(
    tmp_path: Path, sides: tuple[float, ...], taken: int | None
) -> None:
    heard = noise(1600)
    channels = np.stack([np.float32(side) * heard + 0.01 * noise(1600, 1 + n) for n, side in enumerate(sides)], axis=1)
    soundfile.write(tmp_path / "a.wav", 0.3 + channels, 16_000, subtype="FLOAT")  # a constant is no sound
    remarks: list[str] = []
    samples = sound.read(tmp_path / "a.wav", remarks=remarks)
    expected = channels.mean(axis=1) if taken is None else channels[:, taken]
    assert samples == pytest.approx(0.3 + expected, abs=1e-6)
    assert remarks == ([] if taken is None else [sound.OPPOSITE])


def test_the_channel_that_was_taken_is_taken_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    louder = np.linspace(1.2, 0.8, 9000, dtype=np.float32)  # the second is louder at first, and the first at last
    channels = np.stack([-noise(9000), louder * noise(9000)], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, 16_000, subtype="FLOAT")
    monkeypatch.setattr(sound, "AT_ONCE", 2000)
    remarks: list[str] = []
    assert np.array_equal(sound.read(tmp_path / "a.wav", remarks=remarks), channels[:, 1])
    assert remarks == [sound.OPPOSITE]


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_any_rate_becomes_16_khz_of_the_same_length_and_pitch(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate), rate, subtype="FLOAT")
    samples = sound.read(str(tmp_path / "a.wav"))
    assert len(samples) == pytest.approx(16_000, abs=1)
    assert samples.dtype == np.float32
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    middle = slice(1000, 15_000)  # the resampler's filter sees the ends
    assert samples[middle] == pytest.approx(expected[middle], abs=2e-3)


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


def test_seconds_are_of_the_file_not_of_what_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(24_000), 48_000)
    assert sound.seconds(tmp_path / "a.wav") == (0.5, 48_000)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([0.1, np.nan, 0.1]), "not finite"),
        (np.array([0.1, np.inf, 0.1]), "not finite"),
        (np.zeros(0), "holds no samples"),
        (np.zeros((0, 2)), "holds no samples"),
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


def test_the_hash_is_of_what_is_read_not_of_the_file(tmp_path: Path) -> None:
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


def test_bytes_and_open_files_are_what_their_paths_are(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(16_000), 44_100)
    samples = sound.read(tmp_path / "a.flac", 0.1, 0.2)
    content = (tmp_path / "a.flac").read_bytes()
    with (tmp_path / "a.flac").open("rb") as file:
        for source in (content, bytearray(content), memoryview(content), io.BytesIO(content), file):
            assert np.array_equal(sound.read(source, 0.1, 0.2), samples)
    assert sound.seconds(content) == sound.seconds(tmp_path / "a.flac")


def test_a_large_file_is_decoded_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([noise(10_007), noise(10_007, seed=1)], axis=1), 16_000)
    whole, part = sound.read(tmp_path / "a.wav"), sound.read(tmp_path / "a.wav", 0.1, 0.25)
    monkeypatch.setattr(sound, "AT_ONCE", 999)
    assert np.array_equal(sound.read(tmp_path / "a.wav"), whole)
    assert np.array_equal(sound.read(tmp_path / "a.wav", 0.1, 0.25), part)


def test_more_than_the_longest_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(32_000), 16_000)
    assert len(sound.read(tmp_path / "a.wav", longest=2.0)) == 32_000
    assert len(sound.read(tmp_path / "a.wav", 0.5, 1.0, longest=1.0)) == 16_000
    with pytest.raises(AudioError, match=r"a\.wav is 2\.0 s long, and no more than 1\.9 s are read at once\. Cut it"):
        sound.read(tmp_path / "a.wav", longest=1.9)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, form: str, share: float) -> None:
    path = tmp_path / f"cut.{form.lower()}"
    soundfile.write(path, noise(48_000), 16_000, format=form)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AudioError, match=rf"cut\.{form.lower()} cannot be read as audio: "):
        sound.read(path)
    with pytest.raises(AudioError, match="the sound cannot be read as audio: "):
        sound.read(path.read_bytes())


@pytest.mark.parametrize("placeholder", [bytes(4), b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
@pytest.mark.parametrize("where", ["both", "data", "RIFF"])
def test_a_stream_that_did_not_know_its_length_is_whole(tmp_path: Path, placeholder: bytes, where: str) -> None:
    """What writes into a pipe cannot go back and put the sizes in."""
    samples = noise(16_000)
    samples[:8000] = 0.0  # what begins with silence looks like an empty chunk
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    for kind in ("RIFF", "data") if where == "both" else (where,):
        place = content.index(kind.encode()) + 4
        content[place : place + 4] = placeholder
    (tmp_path / "b.wav").write_bytes(content)
    for source in (bytes(content), tmp_path / "b.wav", io.BytesIO(content)):
        assert np.array_equal(sound.read(source), sound.read(tmp_path / "a.wav"))
    assert sound.seconds(tmp_path / "b.wav") == (1.0, 16_000)
    assert np.array_equal(sound.read(tmp_path / "b.wav", 0.5, 0.25), sound.read(tmp_path / "a.wav", 0.5, 0.25))


@pytest.mark.parametrize("after", [b"", b"LIST\x04\0\0\0INFO", b"id3 \x03\0\0\0abc\0"])
def test_a_wav_without_samples_holds_none_whatever_follows(tmp_path: Path, after: bytes) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16_000, subtype="PCM_16")
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes() + after)
    with pytest.raises(AudioError, match="holds no samples"):
        sound.read(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "Git LFS pointer .* with git lfs pull"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81", r"WebM or Matroska is not .* ffmpeg -i IN\.webm OUT\.wav"),
        (b"\xff\xf1\x50\x80\x02\x1f", r"AAC is not decoded here\. .* ffmpeg -i IN\.aac OUT\.wav"),
        (b"\xff\xf9\x50\x80\x02\x1f", r"AAC is not decoded"),
        (b"#!AMR\n\x3c", r"AMR is not .* ffmpeg -i IN\.amr OUT\.wav"),
        (b"#!AMR-WB\n\x3c", r"AMR is not"),
        (b"\xff\xfb\x90\0", "the decoder finds no sound in it"),
        (b"<!DOCTYPE html>", r"it is a web page .* Download the sound again\."),
        (b"\0\0\0\x20ftypM4A ", r"MPEG-4 \(m4a, mp4\) is not .* ffmpeg -i IN\.m4a OUT\.wav"),
    ],
)
def test_what_is_not_decoded_is_told_by_its_first_bytes(tmp_path: Path, start: bytes, message: str) -> None:
    (tmp_path / "a.wav").write_bytes(start + bytes(100))
    for source in (tmp_path / "a.wav", start + bytes(100)):
        with pytest.raises(AudioError, match=f"cannot be read as audio: .*{message}"):
            sound.read(source)


def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path) -> None:
    """A second of samples at 1 Hz would become four hours."""
    soundfile.write(tmp_path / "slow.wav", noise(16_000), 1)
    with pytest.raises(AudioError, match=r"slow\.wav claims 1 samples per second; 1000 to 1000000 were expected"):
        sound.read(tmp_path / "slow.wav")


def test_pipes_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path, tmp_path / "pipe.wav"):
        with pytest.raises(AudioError, match="cannot be read as audio: it is a folder or device, and a file was"):
            sound.read(path)


def test_odd_names_are_read_and_can_be_printed(tmp_path: Path) -> None:
    for name in ("line\nbreak.wav", os.fsdecode(b"caf\xe9.wav")):
        soundfile.write(tmp_path / "a.wav", noise(1600), 16_000)
        os.rename(tmp_path / "a.wav", tmp_path / name)
        assert len(sound.read(tmp_path / name)) == 1600
        (tmp_path / name).write_bytes(b"words")
        with pytest.raises(AudioError) as raised:
            sound.read(str(tmp_path / name))
        assert str(raised.value).encode()
    assert r"caf\udce9.wav cannot be read" in str(raised.value)
