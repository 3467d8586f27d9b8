"""Clips become padded batches of like length: nobody is lost, nobody is alone, little is padding."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from serene.audio.batch import Batch, duration_batches, length_buckets, padded
from serene.audio.dataset import Dataset, contexts_of, features, frames_of, statistics_of, warm
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.audio.store import Store
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import AudioError, SereneError
from serene.models.masking import mask_of
from serene.speaker import SpeakerContext, Statistics
from serene.task import Task


class Chunks(FrontEnd):
    """A front end for tests: four samples are a frame; every clip a frame longer than the one before."""

    identity, declared = "chunks", InputSpec(width=4, rate=4000.0)

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        self.made += 1
        return samples[: 4 * (5 + self.made)].reshape(-1, 4)


@pytest.fixture
def dataset(made_up_manifest: Manifest, tmp_path) -> Dataset:
    """A dozen clips of speakers of whom all but the last are in training."""
    chosen = made_up_manifest.utterances[::4]
    emotions = sorted({str(u.emotion) for u in made_up_manifest})
    speakers = sorted({u.speaker for u in chosen})
    contexts = {
        f"synthetic/{name}": SpeakerContext(features=Statistics(np.full((2, 4), i + 1, dtype=np.float32), 100 * i))
        for i, name in enumerate(speakers)
    }
    store = Store(tmp_path, Chunks())
    return Dataset(chosen, store, task=Task(tuple(emotions)), speakers=speakers[:-1], contexts=contexts)


def test_a_batch_is_padded_with_zeros_to_its_longest_clip(dataset: Dataset) -> None:
    batch = dataset.batch([4, 0, 2])
    assert batch.lengths.tolist() == dataset.lengths[[4, 0, 2]].tolist() == [10, 6, 8]
    assert batch.inputs.shape == (3, 10, 4)
    assert mask_of(batch.lengths, batch.inputs.shape[1]).tolist() == [
        [frame < length for frame in range(10)] for length in (10, 6, 8)
    ]
    for row, (index, length) in enumerate(zip([4, 0, 2], [10, 6, 8], strict=True)):
        alone = dataset.batch([index])
        assert torch.equal(batch.inputs[row, :length], alone.inputs[0])
        assert not batch.inputs[row, length:].any()
        assert batch.ids[row] == dataset.utterances[index].id


def test_targets_speakers_and_contexts_follow_the_clips(dataset: Dataset, made_up_manifest: Manifest) -> None:
    emotions = sorted({str(u.emotion) for u in made_up_manifest})
    names = sorted({u.speaker for u in dataset.utterances})
    batch = dataset.batch(np.arange(len(dataset)))
    assert batch.context is not None and batch.context.features is not None
    for row, utterance in enumerate(dataset.utterances):
        assert batch.target[row].tolist() == [float(name == utterance.emotion) for name in emotions]
        known = names.index(utterance.speaker)
        assert batch.speaker[row] == (-1 if known == len(names) - 1 else known)
        assert (batch.context.features.moments[row] == known + 1).all()
        assert batch.context.features.count[row] == 100 * known
    assert -1 in batch.speaker
    assert batch.context.cepstra is None


def test_training_takes_a_part_of_each_clip_and_scoring_the_whole(dataset: Dataset) -> None:
    dataset.crop = 9
    assert dataset.batch([0, 2, 6]).lengths.tolist() == [6, 8, 12], "no generator: nothing is cut"
    starts = set()
    for seed in range(40):
        batch = dataset.batch([0, 2, 6], np.random.default_rng(seed))
        assert batch.lengths.tolist() == [6, 8, 9], "shorter clips are taken whole"
        whole = features(dataset.utterances[6], dataset.store)
        part = batch.inputs[2, :9].numpy()
        starts |= {start for start in range(4) if np.array_equal(part, whole[start : start + 9])}
    assert starts == {0, 1, 2, 3}, "from any place, its very beginning and end among them"
    one, same = (dataset.batch([6], np.random.default_rng(1)).inputs for _ in range(2))
    assert torch.equal(one, same)


def test_a_speakers_cepstra_are_the_mean_of_the_means_of_their_clips(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serene.audio.dataset.CEPSTRA", dataset.store.front_end)
    contexts = contexts_of(dataset.utterances, ("cepstra",), dataset.store)
    for person in {u.person for u in dataset.utterances}:
        clips = [features(u, dataset.store) for u in dataset.utterances if u.person == person]
        assert len(clips) == 2
        assert len(clips[0]) != len(clips[1]), "a mean over all frames would be another"
        by_hand = [sum(sum(map(float, clip[:, f])) / len(clip) for clip in clips) / 2 for f in range(4)]
        assert contexts[person].cepstra.tolist() == pytest.approx(by_hand, rel=1e-4, abs=1e-7)
    dataset.contexts = contexts
    told = dataset.batch([3, 0]).context
    assert told is not None
    assert told.features is None
    expected = np.stack([contexts[dataset.utterances[i].person].cepstra for i in (3, 0)])
    assert np.array_equal(told.cepstra.numpy(), expected)


def test_clips_are_stacked_with_zeros_after_their_ends() -> None:
    inputs, lengths = padded([np.ones((2, 3), np.float32), np.full((4, 3), 2, np.float32)])
    assert lengths.tolist() == [2, 4]
    assert inputs[:, :, 0].tolist() == [[1, 1, 0, 0], [2, 2, 2, 2]]
    assert (inputs.shape, inputs.dtype) == ((2, 4, 3), np.float32)


def test_a_batch_moves_with_all_its_tensors() -> None:
    numbers = torch.zeros(2, 3, 4)
    two = torch.tensor([0, 1])
    told = SpeakerContext(identity=two, embeddings=Statistics(numbers[:, :2], two), cepstra=numbers[:, 0])
    batch = Batch(numbers, torch.tensor([3, 1]), numbers[:, 0], two, ("a", "b"), context=told)
    moved = batch.to("meta")
    own = moved.context
    assert own is not None and own.embeddings is not None
    of_clips = [moved.inputs, moved.lengths, moved.target, moved.speaker]
    of_speakers = [own.identity, own.cepstra, own.embeddings.moments, own.embeddings.count]
    assert {tensor.device.type for tensor in of_clips + of_speakers} == {"meta"}
    assert (moved.ids, own.features) == (("a", "b"), None)
    assert batch.inputs.device.type == "cpu"


def test_a_mask_is_true_where_there_is_sound() -> None:
    assert mask_of(torch.tensor([2, 0, 3]), 3).tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_scoring_takes_every_clip_once_from_the_shortest_on(dataset: Dataset) -> None:
    batches = list(dataset.in_order(5))
    assert sorted(i for batch in batches for i in batch.ids) == sorted(u.id for u in dataset.utterances)
    lengths = [n for batch in batches for n in batch.lengths.tolist()]
    assert lengths == sorted(lengths)
    assert [len(batch.ids) for batch in batches] == [5, 5, 2]


def test_parts_join_in_order(dataset: Dataset) -> None:
    first, second = (dataset.enrolled_by_own_clips(part) for part in (np.arange(5), np.arange(5, 12)))
    first.contexts = second.contexts = dataset.contexts  # the parts of a split share theirs
    whole = Dataset.joined([first, second])
    assert whole.utterances == dataset.utterances
    assert whole.lengths.tolist() == dataset.lengths.tolist()
    ours, theirs = whole.batch([4, 5, 11]), dataset.batch([4, 5, 11])
    for name in ("inputs", "lengths", "target", "speaker"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    for name in ("moments", "count"):
        assert torch.equal(*(getattr(batch.context.features, name) for batch in (ours, theirs)))


def test_a_half_is_enrolled_by_its_own_clips_alone(dataset: Dataset) -> None:
    half = dataset.enrolled_by_own_clips(np.arange(0, 12, 2))
    assert half.contexts is not None
    for person in {u.person for u in half.utterances}:
        own = [u for u in half.utterances if u.person == person]
        known = half.contexts[person].features
        assert known is not None
        assert known.moments == pytest.approx(statistics_of(own, dataset.store).moments)
        assert known.count == sum(len(features(u, dataset.store)) for u in own)
    assert dataset.contexts is not half.contexts


def test_statistics_are_those_of_all_frames_together(dataset: Dataset) -> None:
    clips = dataset.utterances[:3]
    arrays = [features(clip, dataset.store) for clip in clips]
    statistics = statistics_of(clips, dataset.store).moments
    for f in range(4):
        values = [float(v) for array in arrays for v in array[:, f]]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        assert statistics[:, f] == pytest.approx([mean, deviation], rel=1e-4)


def test_a_constant_feature_has_a_deviation_that_divides_safely(dataset: Dataset, tmp_path) -> None:
    class Sevens(Chunks):
        identity = "sevens"

        def __call__(self, samples: np.ndarray) -> np.ndarray:
            return np.full((3, 4), 7, dtype=np.float32)

    statistics = statistics_of(dataset.utterances[:2], Store(tmp_path, Sevens())).moments
    assert statistics.tolist() == [[7.0] * 4, [pytest.approx(1e-5)] * 4]


def test_the_clips_that_enrol_are_drawn_by_a_hash_of_their_ids(dataset: Dataset) -> None:
    chosen: dict[str, tuple[bytes, Utterance]] = {}
    for clip in dataset.utterances:
        mine = hashlib.blake2b(f"0\0enrolment\0{clip.id}".encode()).digest(), clip
        chosen[clip.person] = min(mine, chosen.get(clip.person, mine), key=lambda drawn: drawn[0])
    assert {clip.id for _, clip in chosen.values()} != {u.id for u in dataset.utterances[::2]}, "not simply the first"
    contexts = contexts_of(tuple(reversed(dataset.utterances)), ("features",), dataset.store, clips=1)
    assert contexts.keys() == chosen.keys()
    for person, (_, clip) in chosen.items():
        known = contexts[person].features
        assert known is not None
        assert known.moments == pytest.approx(statistics_of([clip], dataset.store).moments)
        assert known.count == frames_of(clip, dataset.store) == len(features(clip, dataset.store))


def test_clips_are_warmed_one_by_one(made_up_manifest: Manifest, tmp_path) -> None:
    clips = made_up_manifest.utterances[:3]
    store, told = Store(tmp_path, Chunks()), []
    warm(clips, store, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    warm(clips, store)
    assert store.front_end.made == 3, "the same sound is found again under its hash"


def test_audio_that_is_gone_changed_or_has_no_hash_is_named(made_up_manifest: Manifest, tmp_path) -> None:
    clip, other = made_up_manifest.utterances[:2]
    store = Store(tmp_path, Chunks())
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        features(replace(clip, audio="nowhere.wav", audio_hash="unknown"), store)
    with pytest.raises(SereneError, match="has changed since its manifest was made"):
        features(replace(clip, audio=other.audio), store)
    with pytest.raises(SereneError, match=f"'{clip.id}' has no hash"):
        features(replace(clip, audio_hash=None), store)


def test_a_clip_that_is_too_short_for_the_front_end_is_named(made_up_manifest: Manifest, tmp_path) -> None:
    class Long(Chunks):
        declared = InputSpec(width=4, rate=4000.0, shortest=9000)

    clip = made_up_manifest.utterances[0]
    with pytest.raises(AudioError) as caught:
        features(clip, Store(tmp_path, Long()))
    assert str(caught.value) == (
        f"{clip.audio} has {round(16_000 * clip.duration)} samples at 16 kHz; this encoder needs at least 9000. "
        "Leave the clip out of the manifest."
    )
    assert not list(tmp_path.rglob("*.shard"))


def iemocap_like(n_clips: int = 5531) -> np.ndarray:
    """Frames of clips of 0.6 to 34 s, 4.5 s on average, as IEMOCAP's are."""
    seconds = np.random.default_rng(0).lognormal(math.log(4.5) - 0.65**2 / 2, 0.65, n_clips).clip(0.6, 34)
    assert seconds.mean() == pytest.approx(4.5, abs=0.1)
    return np.round(100 * seconds).astype(np.int64)


@pytest.mark.parametrize("n_clips", [1, 2, 31, 32, 33, 64, 65, 100, 5531])
def test_every_clip_is_in_exactly_one_batch_and_none_is_alone(n_clips: int) -> None:
    batches = length_buckets(iemocap_like()[:n_clips], 32, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(n_clips))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 33
    assert min(sizes) > 1 or n_clips == 1
    assert sum(size != 32 for size in sizes) <= 1, "only the longest clips' batch may differ in size"


def test_the_generator_is_the_only_source_of_randomness() -> None:
    lengths = iemocap_like()[:200]
    first, again, other = (length_buckets(lengths, 8, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    composition = [{frozenset(batch.tolist()) for batch in batches} for batches in (first, other)]
    assert len(composition[0] & composition[1]) < len(first) / 4, "epochs meet other batches, not only another order"


@pytest.mark.parametrize("seed", range(5))
def test_padding_costs_a_tenth_at_most(seed: int) -> None:
    lengths = iemocap_like()
    batches = length_buckets(lengths, 32, np.random.default_rng(seed))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert 1.0 < padded / lengths.sum() <= 1.10


def test_batches_come_in_random_order() -> None:
    """Sorted batches would show the network the short clips first, every epoch."""
    lengths = iemocap_like()[:640]
    means = [lengths[batch].mean() for batch in length_buckets(lengths, 32, np.random.default_rng(0))]
    rises = sum(a < b for a, b in pairwise(means))
    assert 4 <= rises <= 15


@pytest.mark.parametrize("n_clips", [1, 2, 31, 1000])
@pytest.mark.parametrize("most", [1500.0, 12_000.0])
def test_batches_by_duration_hold_so_much_and_every_clip_once(n_clips: int, most: float) -> None:
    lengths = iemocap_like()[:n_clips]
    batches = duration_batches(lengths, most, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(n_clips))
    for batch in batches:
        padded = len(batch) * max(lengths[batch])
        assert padded <= most or len(batch) == 1, "a clip that is longer than a batch is alone"
    if n_clips == 1000:
        assert (max(lengths) > most) == (most == 1500), "both cases are met"
        assert sum(lengths) / sum(len(b) * max(lengths[b]) for b in batches) > 0.9, "little is padding"
        full = [len(b) * max(lengths[b]) for b in batches]
        assert np.mean(full) > 0.75 * most, "batches are as large as they may be"


def test_batches_by_duration_are_of_like_length_and_in_random_order() -> None:
    lengths = iemocap_like()[:640]
    batches = duration_batches(lengths, 6000, np.random.default_rng(0))
    means = [lengths[batch].mean() for batch in batches]
    ranges = sorted((lengths[batch].min(), lengths[batch].max()) for batch in batches)
    jitter = math.exp(2 * 0.08)
    assert all(after[0] * jitter >= before[1] for before, after in pairwise(ranges)), (
        "but for the jitter they are sorted"
    )
    rises = sum(a < b for a, b in pairwise(means))
    assert 0.3 < rises / len(means) < 0.7


def test_batches_by_duration_are_the_generators_alone() -> None:
    lengths = iemocap_like()[:200]
    first, again, other = (duration_batches(lengths, 4000, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    composition = [{frozenset(batch.tolist()) for batch in batches} for batches in (first, other)]
    assert len(composition[0] & composition[1]) < len(first) / 4, "epochs meet other batches, not only another order"
