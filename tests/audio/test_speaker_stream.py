"""The speaker corpus as a stream: balanced over speakers, random parts of clips, and nobody who is tested."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from serene import sound
from serene.audio.batch import Batch
from serene.audio.input_spec import InputSpec
from serene.audio.mfcc import Mfcc
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.plan import stream_of
from serene.protocols import Split


class Held:
    """A store of clips whose every frame says which it is; so many frames as the clip's hash has it."""

    def __init__(self, rate: float = 100.0) -> None:
        self.front_end = SimpleNamespace(spec=InputSpec(width=1, rate=rate), declared=InputSpec(width=1, rate=rate))

    def get(self, audio_hash: str, _samples: object) -> np.ndarray:
        return np.arange(int(audio_hash), dtype=np.float32)[:, None]


def spoken(frames: int = 50, **clips: int) -> list[Utterance]:
    """So many clips of each speaker, those of several speakers in turns."""
    numbered = sorted((n, speaker) for speaker, count in clips.items() for n in range(count))
    return [
        Utterance(id=f"{speaker}{n}", audio="nowhere", speaker=speaker, audio_hash=f"{frames}")
        for n, speaker in numbered
    ]


def stream(utterances: list[Utterance], batch_size: int = 2, crop: float = 0.1, store: Any = None) -> SpeakerStream:
    return SpeakerStream(utterances, store or Held(), batch_size=batch_size, crop=crop)


def draws(speakers: SpeakerStream, count: int, seed: int = 0) -> list[Batch]:
    rng = np.random.default_rng(seed)
    return [speakers.batch(rng) for _ in range(count)]


# --- who is drawn


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_a_speaker_is_once_in_a_batch_while_there_are_enough(batch_size: int) -> None:
    for batch in draws(stream(spoken(a=1, b=2, c=10, d=50), batch_size), 50):
        assert len(set(batch.speaker.tolist())) == len(batch.ids) == batch_size


@pytest.mark.parametrize("batch_size", [2, 10])
def test_speakers_are_drawn_equally_often_and_so_are_the_clips_of_each(batch_size: int) -> None:
    clips = {"a": 1, "b": 2, "c": 5, "d": 40}
    batches = draws(stream(spoken(**clips), batch_size), 1200 // batch_size)
    drawn = Counter(name for batch in batches for name in batch.ids)
    for speaker, count in clips.items():
        own = {name: times for name, times in drawn.items() if name[0] == speaker}
        assert sum(own.values()) == pytest.approx(300, abs=4 * math.sqrt(300 * 0.75)), speaker
        assert len(own) == count
        for name, times in own.items():
            assert times == pytest.approx(300 / count, abs=5 * math.sqrt(300 / count)), name


def test_a_small_corpus_fills_a_large_batch() -> None:
    (batch,) = draws(stream(spoken(a=3, b=3), batch_size=7), 1)
    assert len(batch.ids) == 7


def test_a_speakers_index_is_their_place_among_the_names() -> None:
    speakers = stream(spoken(zoe=2, adam=2, mia=2)[::-1], batch_size=3)
    assert speakers.speakers == 3
    for batch in draws(speakers, 10):
        assert [["adam", "mia", "zoe"][n] for n in batch.speaker] == [name[:-1] for name in batch.ids]
        assert batch.target.shape == (3, 0), "a speaker corpus has no emotions"


def test_a_batch_is_a_function_of_its_generator() -> None:
    first, other = stream(spoken(a=4, b=4, c=4)), stream(spoken(a=4, b=4, c=4))
    draws(other, 3, seed=9)  # whatever was drawn before
    torch.rand(3)
    np.random.default_rng().random(3)
    seen = []
    for seed in (0, 1):
        one, again = draws(first, 4, seed), draws(other, 4, seed)
        assert [b.ids for b in one] == [b.ids for b in again]
        assert all(torch.equal(b.inputs, c.inputs) for b, c in zip(one, again, strict=True))
        seen.append([(b.ids, b.inputs.sum().item()) for b in one])
    assert seen[0] != seen[1]


# --- which part of a clip


def test_a_part_is_as_long_as_the_crop_and_from_anywhere_in_the_clip() -> None:
    starts: Counter[int] = Counter()
    for batch in draws(stream(spoken(frames=19, a=2, b=2)), 500):
        assert batch.lengths.tolist() == [10, 10]
        for clip in batch.inputs:
            first = int(clip[0, 0])
            assert clip[:, 0].tolist() == list(range(first, first + 10))
            starts[first] += 1
    assert sorted(starts) == list(range(10)), "up to the very last frame"
    assert all(times == pytest.approx(100, abs=5 * math.sqrt(90)) for times in starts.values())


def test_short_clips_are_whole_and_the_rest_is_padding() -> None:
    short = [replace(u, audio_hash="7" if u.speaker == "a" else "30") for u in spoken(a=1, b=1)]
    for batch in draws(stream(short), 20):
        n = batch.ids.index("a0")
        assert batch.lengths[n] == 7
        assert batch.inputs[n, :, 0].tolist() == [*range(7), 0, 0, 0]
        assert batch.lengths[1 - n] == 10


def test_mfcc_are_frames_of_the_stored_features_decoded_once(
    made_up_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = {u.id: u for u in made_up_manifest}
    store = Store(tmp_path, Mfcc(voice_activity=False))
    speakers = SpeakerStream(list(clips.values()), store, batch_size=6, crop=0.2)
    for batch in draws(speakers, 3):
        assert batch.inputs.shape == (6, 20, 39)
        for name, part in zip(batch.ids, batch.inputs.numpy(), strict=True):
            whole = store.get(str(clips[name].audio_hash), lambda: pytest.fail("the stream has stored it"))
            places = [n for n in range(len(whole) - 19) if np.array_equal(whole[n : n + 20], part)]
            assert len(places) == 1
    monkeypatch.setattr(sound, "read", lambda *_: pytest.fail("it is stored"))
    assert [batch.ids for batch in draws(speakers, 3)]


@pytest.fixture
def ramps(tmp_path: Path) -> list[Utterance]:
    """Two speakers' files of three seconds whose samples count up, the clips from 0.5 s to 2.5 s."""
    paths = {name: tmp_path / f"{name}.wav" for name in "ab"}
    for path in paths.values():
        soundfile.write(path, np.arange(48_000) / 65_536, 16_000, subtype="FLOAT")
    return [Utterance(id=n, audio=str(path), speaker=n, start=0.5, duration=2.0) for n, path in paths.items()]


@pytest.mark.parametrize("crop", [0.25, 1.9999, 8.0])
def test_of_a_waveform_only_the_part_is_decoded(
    crop: float, ramps: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sound.read(ramps[0].audio, 0.5, 2.0)
    decoded: list[int] = []

    def noting(read: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def note(*asked: Any) -> np.ndarray:
            samples = read(*asked)
            decoded.append(len(samples))
            return samples

        return note

    monkeypatch.setattr(sound, "read", noting(sound.read))
    starts, length = [], round(min(crop, 2.0) * 16_000)
    for batch in draws(stream(ramps, crop=crop, store=Store(tmp_path / "store", Waveform())), 60):
        assert batch.inputs.shape == (2, length, 1)
        for part in batch.inputs[:, :, 0].numpy():
            starts.append(round(float(part[0]) * 65_536) - 8_000)
            np.testing.assert_array_equal(part, whole[starts[-1] : starts[-1] + length])
    assert decoded == [length] * 120
    assert not (tmp_path / "store").exists()
    room = 32_000 - length
    assert 0 <= min(starts) <= 0.1 * room
    assert 0.9 * room <= max(starts) <= room
    assert np.mean(starts) == pytest.approx(room / 2, abs=4 * room / math.sqrt(12 * 120) + 0.5)


def test_of_a_waveform_of_unknown_length_the_part_is_cut_from_the_whole(ramps: list[Utterance], tmp_path: Path) -> None:
    samples = sound.read(ramps[0].audio, 0.5)
    unknown = [replace(u, duration=None, audio_hash=sound.content_hash(samples)) for u in ramps]
    for batch in draws(stream(unknown, crop=0.25, store=Store(tmp_path, Waveform())), 5):
        for part in batch.inputs[:, :, 0].numpy():
            start = round(float(part[0]) * 65_536) - 8_000
            np.testing.assert_array_equal(part, samples[start : start + 4_000])


# --- what is refused, and who is left out


@pytest.mark.parametrize("clips", [{"a": 5}, {}])
def test_fewer_than_two_speakers_are_refused(clips: dict[str, int]) -> None:
    with pytest.raises(SereneError, match=f"has {len(clips)} speakers; telling speakers apart needs at least two"):
        stream(spoken(**clips))


def test_parts_of_stored_outputs_of_whole_clips_are_refused() -> None:
    from serene.models.frozen import Frozen

    assert [kind.declared.rate for kind in (Frozen, Mfcc, Waveform)] == [0, 100, 16_000]
    with pytest.raises(SereneError, match="stored outputs are of whole clips: choose an encoder that reads waveforms"):
        stream(spoken(a=2, b=2), store=Held(rate=Frozen.declared.rate))


def asked(**speakers: Any) -> recipe.Recipe:
    """A recipe of two corpora, or of one, the first for emotion alone."""
    tree = {"corpus": {"name": "synthetic"}, "protocol": {"name": "speaker_folds"}, "method": {"name": "baseline"}}
    if speakers:
        tree |= {"method": {"name": "speaker_normalization"}, "speakers": {"name": "synthetic", **speakers}}
    return recipe.check(tree, "asked")


def fold_of(clips: list[Utterance]) -> Split:
    """Speaker d is tested, c validates."""
    parts = {name: tuple(u for u in clips if u.speaker in who) for name, who in (("train", "ab"), ("validation", "c"))}
    test = tuple(u for u in clips if u.speaker == "d")
    return Split(protocol="by hand", version=1, fold="1", validation_rule="another", test=test, **parts)


def of(corpus: str, **clips: int) -> list[Utterance]:
    made = spoken(**clips)
    return [replace(u, id=f"{corpus}-{u.id}", corpus=corpus, audio_hash=f"{corpus}-{u.id}") for u in made]


def names(speakers: SpeakerStream | None) -> list[list[str]]:
    assert speakers is not None
    return [[u.id for u in clips] for clips in speakers.clips]


def test_whoever_validates_or_tests_is_left_out_should_both_corpora_be_one() -> None:
    both = of("crema_d", a=2, b=1, c=3, d=2)
    fold = fold_of([u for u in both if u.id not in ("crema_d-c2", "crema_d-d1")])  # left out for their emotion, say
    speakers = stream_of(asked(crop=3.0, batch_size=5), Utterances.of(both), fold, Held())  # pyright: ignore
    assert names(speakers) == [["crema_d-a0", "crema_d-a1"], ["crema_d-b0"]]
    assert speakers is not None
    assert (speakers.crop, speakers.batch_size, speakers.speakers) == (3.0, 5, 2)
    alone = tuple(u for u in both if u.speaker != "b")
    with pytest.raises(SereneError, match="has 1 speakers"):
        stream_of(asked(crop=3.0), Utterances.of(alone), fold_of(both), Held())  # pyright: ignore[reportArgumentType]


def test_of_training_speakers_who_validate_only_the_validating_clips_are_left_out() -> None:
    both = of("crema_d", a=2, b=2, d=1)
    train, validation = tuple(both[:2]), tuple(both[3:5])  # each first clip, each second one
    fold = replace(fold_of(both), train=train, validation=validation, validation_rule="random20")
    speakers = stream_of(asked(crop=3.0), Utterances.of(both), fold, Held())  # pyright: ignore[reportArgumentType]
    assert names(speakers) == [["crema_d-a0"], ["crema_d-b0"]]


def test_of_another_corpus_only_the_audio_that_is_tested_is_left_out() -> None:
    acted, others = of("crema_d", a=1, b=1, c=1, d=1), of("voxceleb1", c=2, d=2)  # the same names, other people
    fold = fold_of(acted)
    copied = [replace(u, audio_hash="crema_d-c0" if u.id == "voxceleb1-c1" else u.audio_hash) for u in others]
    copied += [replace(others[0], id="copy", speaker="e", audio_hash="crema_d-d0")]
    speakers = stream_of(asked(crop=3.0), Utterances.of(copied), fold, Held())  # pyright: ignore[reportArgumentType]
    assert names(speakers) == [["voxceleb1-c0"], ["voxceleb1-d0", "voxceleb1-d1"]]


def test_a_method_without_a_speaker_corpus_has_no_stream() -> None:
    acted = of("crema_d", a=1, b=1, c=1, d=1)
    assert stream_of(asked(), (), fold_of(acted), Held()) is None  # pyright: ignore[reportArgumentType]
