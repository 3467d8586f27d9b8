"""Utterances become batches: features from the store, targets, and what is known of who speaks."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from serene import sound
from serene.audio.augment import Augment
from serene.audio.batch import Batch, by_length, padded
from serene.audio.mfcc import CEPSTRA
from serene.audio.store import Store
from serene.corpora.manifest import Utterance
from serene.corpora.utterances import Utterances
from serene.errors import AudioError, FrontEndError, SereneError
from serene.protocols.split import enrolment_clips
from serene.speaker import Need, SpeakerContext, Statistics
from serene.task import Task

Contexts = Mapping[str, SpeakerContext]
"""Person, as `Utterance.person` names one -> what is known of them."""


class Dataset:
    """Clips of one part of a split, read from the store when a batch asks for them.

    Args:
        utterances: the clips.
        store: keeps their features.
        task: what is to be learnt of them.
        speakers: training speakers, in the order of their indices.
        contexts: what a model is told of who speaks, all of whom are known in the same respects; None for a model that
            is told nothing.
        augment: changes waveforms at random, in training.
        copies: stores of changed copies; training reads the clip itself or any of them, drawn anew every time.
        crop: frames of each clip that training takes, from a random place; shorter clips are taken whole.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        store: Store,
        *,
        task: Task,
        speakers: Sequence[str],
        contexts: Contexts | None = None,
        augment: Augment | None = None,
        copies: Sequence[Store] = (),
        crop: int | None = None,
    ) -> None:
        """Compute nothing but what is not in the store yet."""
        self.utterances, self.store, self.task, self.contexts = Utterances.of(utterances), store, task, contexts
        self.augment, self.copies, self.crop = augment, copies, crop
        self.lengths = np.fromiter((frames_of(u, store) for u in self.utterances), np.int64, len(self))
        place = {name: i for i, name in enumerate(speakers)}
        self.targets = torch.from_numpy(task.targets(self.utterances))
        known = (place.get(speaker, -1) for speaker in self.utterances.values("speaker"))
        self.speakers = torch.from_numpy(np.fromiter(known, np.int64, len(self)))

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.utterances)

    def batch(self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Collect clips into a batch of tensors, padded to the longest; `rng`, in training, cuts and augments them."""
        chosen = [*self.utterances.take(np.asarray(indices))]
        inputs, lengths = tensors(padded([self._features(utterance, rng) for utterance in chosen]))
        own = torch.minimum(torch.from_numpy(self.lengths[indices]), lengths)
        context = context_of(chosen, self.contexts)
        ids = tuple(u.id for u in chosen)
        known = {"context": context, "encoded": self.store.front_end.declared.encoded}
        return Batch(inputs, lengths, self.targets[indices], self.speakers[indices], ids, own, **known)

    def _features(self, utterance: Utterance, rng: np.random.Generator | None) -> np.ndarray:
        if rng is None:
            return features(utterance, self.store)
        if self.augment is None:
            store = (self.store, *self.copies)[rng.integers(len(self.copies) + 1)] if self.copies else self.store
            return self._cut(features(utterance, store), rng)
        clip = self._cut(self.store.front_end(samples_of(utterance, self.store.front_end.spec.shortest)), rng)
        return self.augment(clip[:, 0], rng)[:, None]  # of a waveform as the encoder would read it

    def _cut(self, whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.crop is None or len(whole) <= self.crop:
            return whole
        start = rng.integers(len(whole) - self.crop + 1)
        return whole[start : start + self.crop]

    @classmethod
    def joined(cls, parts: Sequence[Dataset]) -> Dataset:
        """Put the clips of several parts of one split into one dataset."""
        whole = copy.copy(parts[0])
        whole.utterances = Utterances.joined(part.utterances for part in parts)
        whole.lengths = np.concatenate([part.lengths for part in parts])
        whole.targets = torch.cat([part.targets for part in parts])
        whole.speakers = torch.cat([part.speakers for part in parts])
        return whole

    def enrolled_by_own_clips(self, indices: Sequence[int] | np.ndarray, clips: int | None = None) -> Dataset:
        """Return some of the clips, each speaker enrolled with these alone, unlabelled: all, or so many `clips`."""
        part = copy.copy(self)
        part.utterances = self.utterances.take(np.asarray(indices))
        part.lengths, part.targets, part.speakers = self.lengths[indices], self.targets[indices], self.speakers[indices]
        told, own = self.contexts or {}, contexts_of(part.utterances, ("features",), self.store, clips=clips)
        part.contexts = {name: replace(told.get(name, known), features=known.features) for name, known in own.items()}
        return part

    def in_order(self, batch_size: int, first: int = 0, step: int = 1) -> Iterator[Batch]:
        """Give every clip once, from the shortest to the longest: for scoring; or from some batch on every so many."""
        batches = by_length(self.lengths, self.store.front_end.spec.width, batch_size)
        for indices in itertools.islice(batches, first, None, step):
            yield self.batch(indices)


def tensors(arrays: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
    """Make tensors of arrays, which share their memory."""
    return map(torch.from_numpy, arrays)


def features(utterance: Utterance, store: Store) -> np.ndarray:
    """Return the features (frame, feature) of a clip, decoding it by `samples_of` only where they are not stored."""
    try:
        return store.get(_hash_of(utterance), lambda: samples_of(utterance, store.front_end.spec.shortest))
    except FrontEndError as error:
        raise AudioError(f"{utterance.audio}: {error}") from error


def samples_of(utterance: Utterance, shortest: int = 1) -> np.ndarray:
    """Decode a clip to samples (sample,), and make sure that it is the sound that the manifest speaks of.

    Raises:
        SereneError: the clip's audio has no hash, or the file no longer holds the audio that the hash is of.
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


def frames_of(utterance: Utterance, store: Store) -> int:
    """Count a clip's own frames: by its duration where that tells, and only else by its features."""
    if not store.front_end.declared.sliced:
        return len(features(utterance, store))
    seconds = utterance.duration or len(samples_of(utterance)) / sound.SAMPLE_RATE
    return store.front_end.spec.frames_of(seconds)


def warm(utterances: Sequence[Utterance], store: Store, progress: Callable[[int, int], None] | None = None) -> None:
    """Compute what the store lacks, one clip after the other; nothing where features are not stored."""
    if not store.front_end.declared.stored:
        return
    for done, utterance in enumerate(utterances, 1):
        features(utterance, store)
        if progress:
            progress(done, len(utterances))


def statistics_of(utterances: Sequence[Utterance], store: Store) -> Statistics:
    """Take mean and deviation of every feature over all frames of some clips."""
    return Statistics.of(lambda: (features(u, store) for u in utterances))


def contexts_of(
    utterances: Sequence[Utterance],
    needs: Collection[Need],
    store: Store,
    *,
    clips: int | None = None,
    known: Sequence[str] = (),
) -> dict[str, SpeakerContext]:
    """Tell what a model needs of the speakers of some clips, whose labels are not looked at.

    Statistics of features are over so many `clips` of each speaker, drawn by a hash of their ids; all without it.
    Persons whom the model knows by name, in the order of their indices, are `known`; they need no clips.
    """
    own = _by_person(Utterances.of(utterances))
    place = {name: i for i, name in enumerate(known)}
    beside = Store(store.folder.parent, CEPSTRA)
    return {
        person: SpeakerContext(
            identity=place.get(person, -1),
            features=statistics_of(enrolment_clips(said, clips), store) if "features" in needs and said else None,
            cepstra=_mean_cepstra(said, beside) if "cepstra" in needs and said else None,
        )
        for person, said in {**dict.fromkeys(known, ()), **own}.items()
    }


def _by_person(utterances: Utterances) -> dict[str, Utterances]:
    """Group clips as `Utterance.person` tells who speaks."""
    own = (clips for corpus in utterances.groups("corpus").values() for clips in corpus.groups("speaker").values())
    return {clips[0].person: clips for clips in own}


def context_of(utterances: Sequence[Utterance], contexts: Contexts | None) -> SpeakerContext | None:
    """Put what is known of each clip's speaker side by side, as tensors; None where nothing is told."""
    if contexts is None:
        return None
    known = [contexts.get(u.person, SpeakerContext()) for u in utterances]
    return SpeakerContext.stack(known).mapped(torch.from_numpy)


def _mean_cepstra(utterances: Sequence[Utterance], store: Store) -> np.ndarray:
    """Take the mean over clips of the clips' mean cepstra: float32 (coefficient,)."""
    return np.stack([features(u, store).mean(axis=0) for u in utterances]).mean(axis=0)


def _hash_of(utterance: Utterance) -> str:
    if utterance.audio_hash is None:
        raise SereneError(f"The audio of '{utterance.id}' has no hash; prepare the corpus without --fast.")
    return utterance.audio_hash
