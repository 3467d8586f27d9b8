"""Clips taken for their sound alone: cut at random, each frame with the index of the place it was cut from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from serene import sound
from serene.audio.clusters import Clusters, Unlabelled
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.audio.store import Store
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed
from serene.errors import SereneError

SECONDS = (0.5, 2.0, 1.03, 0.15)
STRIDE, RATE = 320, 100.0


class Counted(FrontEnd):
    """A front end for tests, of MFCC's frames (25 ms every 10 ms), each of which says which one it is."""

    identity, declared = "counted", InputSpec(width=1, rate=0.0)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        return np.arange(1 + max(0, len(samples) - 400) // 160, dtype=np.float64)[:, None]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Utterance, ...]:
    """Four clips whose samples tell where they are: a ramp, which 16 bits hold."""
    folder, made = tmp_path_factory.mktemp("ramps"), []
    for number, seconds in enumerate(SECONDS):
        ramp = (np.arange(round(seconds * 16_000)) - 16_000 + number).astype(np.int16)
        soundfile.write(folder / f"{number}.wav", ramp, 16_000)
        who = {"speaker": "AB"[number % 2], "corpus": "ramps", "duration": seconds}
        made.append(Utterance(id=f"clip{number}", audio=str(folder / f"{number}.wav"), **who))
    return hashed(Manifest(tuple(made))).utterances


@pytest.fixture
def dataset(clips: tuple[Utterance, ...], tmp_path: Path) -> Callable[..., Unlabelled]:
    """Give a function: seconds taken at once -> the clips; a frame's cluster is the number of the MFCC frame."""

    def make(crop: float = 15.625, **more: Any) -> Unlabelled:
        centres = np.arange(250, dtype=np.float32)[:, None]
        store = Store(tmp_path, Clusters(Counted(), centres, RATE))
        return Unlabelled(more.pop("clips", clips), store, stride=STRIDE, crop=round(crop * 16_000), **more)

    return make


def ramp_of(batch: Any, row: int) -> list[int]:
    """Give which samples of the clip a row of a batch holds."""
    number = int(batch.ids[row].removeprefix("clip"))
    values = batch.inputs[row, : batch.lengths[row], 0] * 32768
    return [round(v) + 16_000 - number for v in values.tolist()]


def test_a_short_clip_is_taken_whole_with_the_index_of_each_frame(dataset: Callable[..., Unlabelled]) -> None:
    batch = dataset().batch([1, 0, 3], np.random.default_rng(0))
    assert batch.ids == ("clip1", "clip0", "clip3")
    assert batch.lengths.tolist() == [32_000, 8000, 2400]
    assert batch.inputs.shape == (3, 32_000, 1)
    assert batch.clusters is not None and batch.clusters.shape == (3, 100)
    for row, frames in enumerate((100, 25, 7)):
        assert ramp_of(batch, row) == list(range(int(batch.lengths[row])))
        labels = batch.clusters[row].tolist()
        # MFCC's last frames begin 25 ms before the end
        last = (int(batch.lengths[row]) - 400) // 160
        assert labels[:frames] == [2 * t if 2 * t <= last else -1 for t in range(frames)]
        assert labels[frames:] == [-1] * (100 - frames)


def test_a_long_clip_is_cut_where_a_frame_begins_and_so_are_its_indices(dataset: Callable[..., Unlabelled]) -> None:
    cut, rng, begins = dataset(0.9), np.random.default_rng(1), set()
    assert cut.lengths.tolist() == [8000, 14_400, 14_400, 2400]
    for _ in range(80):
        batch = cut.batch([2], rng)
        part = ramp_of(batch, 0)
        assert part == list(range(part[0], part[0] + 14_400))
        assert part[0] % STRIDE == 0
        begins.add(part[0])
        assert batch.clusters is not None
        labels = batch.clusters[0].tolist()
        places = [(part[0] + frame * STRIDE) // 160 for frame in range(45)]
        assert labels == [place if place <= (16_480 - 400) // 160 else -1 for place in places]
    assert begins == set(range(0, 16_480 - 14_400 + 1, STRIDE)), "any place where the part fits"


def test_without_a_generator_it_is_the_beginning(dataset: Callable[..., Unlabelled]) -> None:
    cut = dataset(0.5)
    for index in range(3):
        assert ramp_of(cut.batch([index]), 0)[0] == 0
    assert [ids for batch in cut.in_order(2) for ids in batch.ids] == ["clip3", "clip0", "clip1", "clip2"]


def test_places_are_the_generators_alone(dataset: Callable[..., Unlabelled]) -> None:
    first, same, other = (dataset(0.5).batch([1, 2], np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert torch.equal(first.inputs, same.inputs)
    assert not torch.equal(first.inputs, other.inputs)


def test_nothing_is_said_of_emotion_and_who_speaks_is_known_by_corpus_and_name(
    dataset: Callable[..., Unlabelled],
) -> None:
    batch = dataset(known=["ramps/B", "others/A"]).batch([0, 1, 2])
    assert batch.target is None
    assert batch.speaker is None
    assert batch.context is not None and batch.context.identity.tolist() == [-1, 0, -1]


def test_lengths_come_from_the_manifest_where_it_has_them(
    dataset: Callable[..., Unlabelled], clips: tuple[Utterance, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    monkeypatch.setattr(sound, "read", lambda path, *part, of=sound.read: decoded.append(path) or of(path, *part))
    one = replace(clips[2], duration=None)
    assert dataset(clips=(clips[0], one)).lengths.tolist() == [8000, 16_480]
    assert decoded == [one.audio]


@pytest.mark.parametrize(("labels", "about"), [(150, 200), (260, 200), (1, 200)])
def test_indices_of_other_audio_are_refused(
    labels: int, about: int, dataset: Callable[..., Unlabelled], clips: tuple[Utterance, ...]
) -> None:
    clipped = dataset()
    clipped.batch([1])
    clipped.clusters.shards.put(str(clips[1].audio_hash), np.zeros((labels, 1), np.int32))
    clipped = dataset()
    with pytest.raises(SereneError) as error:
        clipped.batch([1])
    assert str(error.value) == (
        f"'clip1' has {labels} cluster indices, and its 32000 samples have about {about}: they are of other audio. "
        f"Delete {clipped.clusters.folder} and run again."
    )


@pytest.mark.parametrize("samples", [400, 401, 640, 719, 960, 1300, 3200, 3279])
def test_a_very_short_clip_is_not_taken_for_other_audio(
    samples: int, dataset: Callable[..., Unlabelled], tmp_path: Path
) -> None:
    """A frame or two at its end have no index, which is much of a clip of a few frames."""
    soundfile.write(tmp_path / "short.wav", np.sin(np.arange(samples)) / 2, 16_000)
    short = Utterance(id="clip9", audio=str(tmp_path / "short.wav"), speaker="A")
    made = dataset(clips=hashed(Manifest((short,))).utterances)
    batch = made.batch([0])
    assert batch.clusters is not None and batch.clusters.shape == (1, max(1, samples // STRIDE))
    assert batch.clusters[0, 0] == 0
