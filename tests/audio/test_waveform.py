"""The waveform as a front end: the samples themselves, never stored, counted without decoding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serene import sound
from serene.audio.dataset import Dataset, features, frames_of, warm
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.task import Task


def dataset(manifest: Manifest, folder: Path, **settings: float) -> Dataset:
    clips = [replace(u, duration=None) if n == 1 else u for n, u in enumerate(manifest.utterances[:4])]
    emotions = sorted({str(u.emotion) for u in manifest})
    return Dataset(clips, Store(folder, Waveform(**settings)), task=Task(tuple(emotions)), speakers=())


@pytest.mark.parametrize(("longest", "read"), [(None, 16_000), (2.0, 16_000), (0.25, 4000), (0.0001, 2)])
def test_samples_are_frames_of_one_feature_up_to_the_longest_that_is_taken(longest: float | None, read: int) -> None:
    samples = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    front_end = Waveform(longest=longest)
    frames = front_end(samples)
    assert (frames.shape, frames.dtype, front_end.spec.width) == ((read, 1), np.float32, 1)
    assert np.array_equal(frames[:, 0], samples[:read])
    assert front_end.spec.frames_of(1.0) == read


def test_a_clip_is_filled_up_with_its_mean_and_scaled_by_its_peak() -> None:
    samples = np.array([0.5, -0.25, 0.125, 0.0], dtype=np.float32)
    front_end = Waveform(longest=6 / 16_000, fill="mean")
    assert front_end(samples)[:, 0].tolist() == [*samples.tolist(), 0.09375, 0.09375]
    assert front_end(np.tile(samples, 2))[:, 0].tolist() == [*samples.tolist(), 0.5, -0.25], (
        "a long one is cut, not filled"
    )
    assert front_end.spec.frames_of(4 / 16_000) == 4, "what is filled in is none of the clip's own"
    scaled = Waveform(longest=6 / 16_000, fill="mean", scale="peak")(samples)
    assert scaled[:, 0].tolist() == [1.0, -0.5, 0.25, 0.0, 0.1875, 0.1875]
    assert Waveform(scale="peak")(np.zeros(3, np.float32))[:, 0].tolist() == [0.0] * 3
    assert (scaled.dtype, scaled.shape) == (np.float32, (6, 1))
    with pytest.raises(SereneError, match=r"features\.fill needs features\.longest"):
        Waveform(fill="mean")


@pytest.mark.parametrize("longest", [0.0, -1.0, float("nan")])
def test_reading_nothing_is_refused(longest: float) -> None:
    with pytest.raises(SereneError, match=r"features\.longest is .*; a positive number of seconds was expected"):
        Waveform(longest=longest)


def test_lengths_are_known_by_the_duration_without_decoding(
    made_up_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, decoded = sound.read, []

    def noted(path: str, start: float = 0.0, duration: float | None = None) -> np.ndarray:
        decoded.append(path)
        return read(path, start, duration)

    monkeypatch.setattr(sound, "read", noted)
    whole, cut = (dataset(made_up_manifest, tmp_path, **settings) for settings in ({}, {"longest": 0.3}))
    assert decoded == [made_up_manifest.utterances[1].audio] * 2, "only the clip whose manifest has no duration"
    samples = [len(read(u.audio)) for u in whole.utterances]
    assert whole.lengths.tolist() == samples
    assert cut.lengths.tolist() == [min(n, 4800) for n in samples] == [4800] * 4
    for part in (whole, cut):
        assert [frames_of(u, part.store) for u in part.utterances] == [
            len(features(u, part.store)) for u in part.utterances
        ]


def test_nothing_is_warmed_and_nothing_is_written(made_up_manifest: Manifest, tmp_path: Path) -> None:
    part, told = dataset(made_up_manifest, tmp_path), []
    warm(part.utterances, part.store, lambda done, of: told.append((done, of)))
    batch = part.batch([2, 0])
    assert told == []
    assert list(tmp_path.iterdir()) == []
    for row, index in enumerate((2, 0)):
        samples = sound.read(part.utterances[index].audio)
        assert batch.lengths[row] == len(samples)
        assert np.array_equal(batch.inputs[row, : len(samples), 0].numpy(), samples)
        assert not batch.inputs[row, len(samples) :].any()


def test_audio_that_has_changed_is_found_though_nothing_is_stored(made_up_manifest: Manifest, tmp_path: Path) -> None:
    clip, other = made_up_manifest.utterances[:2]
    with pytest.raises(SereneError, match="has changed since its manifest was made"):
        features(replace(clip, audio=other.audio), Store(tmp_path, Waveform()))
