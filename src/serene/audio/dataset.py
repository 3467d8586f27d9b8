"""Utterances become batches: features from the store, targets, enrolment, and batches of like length."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from serene import sound
from serene.audio.augment import Augment
from serene.audio.batch import Batch
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Utterance
from serene.errors import AudioError, SereneError
from serene.protocols.split import enrolment_clips
from serene.task import Task

MOST_SAMPLES = 120 * 16_000  # of a scored batch of waveforms, two minutes: an encoder's first layers hold a lot of each
JITTER = 0.08  # how far (in log length) clips may stray from the order of their lengths, so that batches vary


@dataclass(frozen=True)
class Enrolment:
    """What is known of a speaker from some of their own clips.

    Attributes:
        statistics: float32 (2, feature), mean and deviation over the clips' frames.
        frames: how many those were.
    """

    statistics: np.ndarray
    frames: int


class Dataset:
    """Clips of one part of a split, read from the store when a batch asks for them.

    Args:
        utterances: the clips.
        store: keeps their features; a clip's are opened when a batch needs them, and closed again.
        task: what is to be learnt of them.
        speakers: training speakers, in the order of their indices.
        known: speakers whom the model knows by name, in the order of their indices; corpus and name, as `person` joins
            them.
        enrolment: speaker -> what is known of them, or None.
        voices: speaker -> mean cepstra (coefficient,), or None.
        augment: changes waveforms at random, in training.
        crop: frames of each clip that training hears, from a random place; shorter clips are heard whole, as all are
            without it.

    Raises:
        SereneError: a clip's votes are not shares of the classes.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        store: Store,
        *,
        task: Task,
        speakers: Sequence[str],
        known: Sequence[str] = (),
        enrolment: Mapping[str, Enrolment] | None = None,
        voices: Mapping[str, np.ndarray] | None = None,
        augment: Augment | None = None,
        crop: int | None = None,
    ) -> None:
        """Compute nothing but what is not in the store yet."""
        self.utterances = tuple(utterances)
        self.task = task
        self.store = store
        self.enrolment = enrolment
        self.voices = voices
        self.augment, self.crop = augment, crop
        self.lengths = np.array([frames_of(utterance, store) for utterance in self.utterances], dtype=np.int64)
        speaker_index = {name: i for i, name in enumerate(speakers)}
        self.targets = torch.from_numpy(task.targets(self.utterances))
        self.speakers = torch.tensor([speaker_index.get(u.speaker, -1) for u in self.utterances])
        self.known_persons, self.known = tuple(known), known_indices(self.utterances, known)

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.utterances)

    def batch(self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Collect clips into a batch padded to the longest of them.

        Args:
            indices: of the clips.
            rng: of training; where it is given, clips are cut and augmented as the constructor's arguments say.
        """
        chosen = [self.utterances[i] for i in indices]
        inputs, lengths = padded([self._heard(utterance, rng) for utterance in chosen])
        own = torch.minimum(torch.from_numpy(self.lengths[indices]), lengths)
        ids = tuple(u.id for u in chosen)
        batch = Batch(inputs, lengths, self.targets[indices], self.speakers[indices], ids, own)
        batch = replace(batch, known=self.known[indices])
        if self.enrolment is not None:
            batch = with_enrolment(batch, [self.enrolment[u.speaker] for u in chosen])
        if self.voices is not None:
            batch = replace(batch, voice=torch.from_numpy(np.stack([self.voices[u.speaker] for u in chosen])))
        return batch

    def _heard(self, utterance: Utterance, rng: np.random.Generator | None) -> np.ndarray:
        if rng is None:
            return features(utterance, self.store)
        if self.augment is None:
            return self._cut(features(utterance, self.store), rng)
        heard = self._cut(self.store.maker(samples_of(utterance, self.store.maker.shortest)), rng)
        return self.augment(heard[:, 0], rng)[:, None]  # of a waveform as the encoder would hear it

    def _cut(self, whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.crop is None or len(whole) <= self.crop:
            return whole
        start = rng.integers(len(whole) - self.crop + 1)
        return whole[start : start + self.crop]

    @classmethod
    def joined(cls, parts: Sequence[Dataset]) -> Dataset:
        """Put the clips of several parts of one split into one dataset."""
        whole = copy.copy(parts[0])
        whole.utterances = tuple(u for part in parts for u in part.utterances)
        whole.lengths = np.concatenate([part.lengths for part in parts])
        whole.targets = torch.cat([part.targets for part in parts])
        whole.speakers = torch.cat([part.speakers for part in parts])
        whole.known = torch.cat([part.known for part in parts])
        return whole

    def enrolled_by_own_clips(self, indices: Sequence[int] | np.ndarray, clips: int | None = None) -> Dataset:
        """Return some of the clips, each speaker enrolled by these alone: by all, or by so many `clips`."""
        part = copy.copy(self)
        part.utterances = tuple(self.utterances[i] for i in indices)
        part.lengths, part.targets, part.speakers = self.lengths[indices], self.targets[indices], self.speakers[indices]
        part.known = self.known[indices]
        part.enrolment = enrolment_of(part.utterances, self.store, clips)
        return part

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Give every clip once, from the shortest to the longest: for scoring.

        Batches of waveforms hold no more than `MOST_SAMPLES`, padding included, but for a clip that is longer alone.
        """
        order = np.argsort(self.lengths, kind="stable")
        most = math.inf if self.store.maker.stored else MOST_SAMPLES
        start = 0
        while start < len(order):
            end = min(start + batch_size, len(order))
            while end > start + 1 and self.lengths[order[end - 1]] * (end - start) > most:
                end -= 1
            yield self.batch(order[start:end])
            start = end


def known_indices(utterances: Sequence[Utterance], known: Sequence[str]) -> torch.Tensor:
    """Give the place of each clip's speaker among the persons that a model knows by name, -1 for strangers."""
    place = {name: i for i, name in enumerate(known)}
    return torch.tensor([place.get(u.person, -1) for u in utterances])


def padded(arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack features (frame, feature) of several clips into (batch, frame, feature); with their lengths (batch,)."""
    tensors = [torch.from_numpy(np.array(array)) for array in arrays]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), torch.tensor([len(t) for t in tensors])


def with_enrolment(batch: Batch, known: Sequence[Enrolment]) -> Batch:
    """Add what is known of each clip's speaker to a batch."""
    statistics = torch.from_numpy(np.stack([k.statistics for k in known]))
    return replace(batch, enrolment=statistics, enrolled=torch.tensor([k.frames for k in known]))


def features(utterance: Utterance, store: Store) -> np.ndarray:
    """Return the features (frame, feature) of a clip, decoding it only where they are not stored.

    Raises:
        SereneError, AudioError: as `samples_of`, where the clip has to be decoded.
    """
    return store.get(_hash_of(utterance), lambda: samples_of(utterance, store.maker.shortest))


def samples_of(utterance: Utterance, shortest: int = 1) -> np.ndarray:
    """Decode a clip to samples (sample,), and make sure that it is the sound that the manifest speaks of.

    Raises:
        SereneError: the clip's audio has no hash (`serene.corpora.prepare.hashed` gives it one), or the file no longer
            holds the audio that the hash is of.
        AudioError: the clip cannot be decoded, or has fewer samples than `shortest`; the message names the file.
    """
    samples = sound.read(utterance.audio, utterance.start, utterance.duration)
    if sound.content_hash(samples) != _hash_of(utterance):
        raise SereneError(f"{utterance.audio} has changed since its manifest was made; prepare the corpus again.")
    if len(samples) < shortest:
        raise AudioError(
            f"{utterance.audio} has {len(samples)} samples at 16 kHz; this encoder needs at least {shortest}. "
            "Leave the clip out of the manifest."
        )
    return samples


def _hash_of(utterance: Utterance) -> str:
    if utterance.audio_hash is None:
        raise SereneError(f"The audio of '{utterance.id}' has no hash; prepare the corpus without --fast.")
    return utterance.audio_hash


def frames_of(utterance: Utterance, store: Store) -> int:
    """Count a clip's own frames; those of a waveform by its duration, decoding it only where that is not known."""
    if isinstance(store.maker, Waveform):
        seconds = utterance.duration or len(samples_of(utterance)) / sound.SAMPLE_RATE
        return store.maker.frames_in(seconds)
    return len(features(utterance, store))


def warm(utterances: Sequence[Utterance], store: Store, progress: Callable[[int, int], None] | None = None) -> None:
    """Compute what the store lacks, one clip after the other; nothing where features are not stored."""
    if not store.maker.stored:
        return
    for done, utterance in enumerate(utterances, 1):
        features(utterance, store)
        if progress:
            progress(done, len(utterances))


def duration_batches(lengths: np.ndarray, most: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Deal every clip once into batches of like length and of at most so many frames, padding included.

    Args:
        lengths: (clip,) frames or samples.
        most: frames of a batch; a clip that is longer makes a batch of its own.
        rng: the only source of randomness.

    Returns:
        Arrays of clip indices, in random order.
    """
    order = np.argsort(np.log(lengths) + rng.uniform(-JITTER, JITTER, len(lengths)))
    batches: list[list[int]] = [[]]
    for clip in order.tolist():
        longest = max(lengths[clip], *lengths[batches[-1]], 0)
        if batches[-1] and longest * (len(batches[-1]) + 1) > most:
            batches.append([])
        batches[-1].append(clip)
    return [np.array(batches[i]) for i in rng.permutation(len(batches))]


def length_buckets(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Deal every clip once into batches of like length, the batches in random order.

    Lengths are jittered by a few per cent before they are sorted, so that a small corpus does not meet the same
    batches every epoch; `benchmarks/padding.py` measures what that costs.

    Args:
        lengths: (clip,) frames or samples.
        batch_size: clips per batch; the last of the sorted batches may be smaller.
        rng: the only source of randomness.

    Returns:
        Arrays of clip indices.
    """
    keys = np.log(lengths) + rng.uniform(-JITTER, JITTER, len(lengths))
    order = np.argsort(keys)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:  # a clip on its own has no batch statistics
        batches[-2:] = [np.concatenate(batches[-2:])]
    return [batches[i] for i in rng.permutation(len(batches))]


def frame_statistics(utterances: Sequence[Utterance], store: Store) -> np.ndarray:
    """Mean and population deviation of every feature over all frames of some clips, which are read twice.

    Returns:
        float32 (2, feature): mean, deviation (at least 1e-5, so that a constant feature divides safely).
    """
    frames = sum(len(features(u, store)) for u in utterances)
    mean = sum(features(u, store).sum(axis=0, dtype=np.float64) for u in utterances) / frames
    variance = sum(((features(u, store) - mean) ** 2).sum(axis=0) for u in utterances) / frames
    return np.stack([mean, np.maximum(np.sqrt(variance), 1e-5)]).astype(np.float32)


def enrolment_of(utterances: Sequence[Utterance], store: Store, clips: int | None = None) -> dict[str, Enrolment]:
    """Give each speaker the mean and deviation of their own clips' frames; labels are not looked at.

    Args:
        utterances: of any number of speakers.
        store: keeps their features.
        clips: so many of each speaker, drawn by a hash of their ids; all without it.
    """
    own: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        own[utterance.speaker].append(utterance)
    chosen = {speaker: enrolment_clips(said, clips) for speaker, said in own.items()}
    return {
        speaker: Enrolment(frame_statistics(said, store), sum(frames_of(u, store) for u in said))
        for speaker, said in chosen.items()
    }


def voices_of(utterances: Sequence[Utterance], store: Store) -> dict[str, np.ndarray]:
    """Give each speaker the mean over their clips of the clips' mean features: float32 (feature,)."""
    own: dict[str, list[np.ndarray]] = defaultdict(list)
    for utterance in utterances:
        own[utterance.speaker].append(features(utterance, store).mean(axis=0))
    return {speaker: np.stack(means).mean(axis=0) for speaker, means in own.items()}
