"""A second corpus, read only for who speaks: batches balanced over its speakers, cut at random places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from serene import sound
from serene.audio.batch import Batch, padded
from serene.audio.dataset import Contexts, context_of, contexts_of, features, tensors
from serene.audio.store import Store
from serene.corpora.manifest import Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError


class SpeakerStream:
    """Batches of the speaker corpus of Gat et al. 2022, without end and without order.

    A batch is a function of its random generator alone, so that the stream needs no state to be taken up again after
    an interruption, and does not depend on how long the emotion corpus is.

    Args:
        utterances: of at least two speakers; a speaker's index is their place among the sorted names.
        store: keeps their features, of the emotion corpus's front end.
        batch_size: clips per batch.
        crop: seconds of each clip, from a random place, silence already dropped; shorter clips are taken whole.
        enrol: bring the statistics of each speaker's own clips, for models that standardise by speaker.
        enrolment_clips: over so many of them; all without it.

    Raises:
        SereneError: fewer than two speakers, or a front end of which no part can be taken.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        store: Store,
        *,
        batch_size: int,
        crop: float,
        enrol: bool = False,
        enrolment_clips: int | None = None,
    ) -> None:
        """Group the clips by speaker; nothing is decoded."""
        own = Utterances.of(utterances).groups("speaker")
        if len(own) < 2:
            raise SereneError(f"The speaker corpus has {len(own)} speakers; telling speakers apart needs at least two.")
        if not store.front_end.spec.rate:
            raise SereneError(
                "A speaker corpus is read in random crops, and a frozen encoder's stored outputs are of whole clips: "
                "choose an encoder that reads waveforms or MFCC."
            )
        self.clips = [own[speaker] for speaker in sorted(own)]
        self.store, self.batch_size, self.crop = store, batch_size, crop
        self.enrol, self.enrolment_clips = enrol, enrolment_clips

    @property
    def utterances(self) -> Utterances:
        """All clips that may be drawn."""
        return Utterances.joined(self.clips)

    @property
    def speakers(self) -> int:
        """How many speakers there are to tell apart."""
        return len(self.clips)

    def batch(self, rng: np.random.Generator, rows: slice = slice(None)) -> Batch:
        """Draw a batch: different speakers as far as there are enough, one random clip of each, a random part of it.

        Of its clips only some `rows` are read, which are the same whoever reads the others.
        """
        again = self.batch_size > self.speakers
        drawn = rng.choice(self.speakers, self.batch_size, replace=again)
        chosen = [self.clips[speaker][rng.integers(len(self.clips[speaker]))] for speaker in drawn]
        places = [rng.random() for _ in chosen][rows]
        drawn, chosen = drawn[rows], chosen[rows]
        inputs, lengths = tensors(padded([self._part(*one) for one in zip(chosen, places, strict=True)]))
        target, speaker, ids = torch.zeros(len(chosen), 0), torch.from_numpy(drawn), tuple(u.id for u in chosen)
        known = {"context": context_of(chosen, self._contexts), "encoded": self.store.front_end.declared.encoded}
        return Batch(inputs, lengths, target, speaker, ids, **known)

    @cached_property
    def _contexts(self) -> Contexts | None:
        if not self.enrol:
            return None
        return contexts_of(self.utterances, ("features",), self.store, clips=self.enrolment_clips)

    def _part(self, utterance: Utterance, place: float) -> np.ndarray:
        """Take `crop` seconds of a clip's features; `place` says where, from 0 (its beginning) to 1 (its end)."""
        front_end = self.store.front_end
        if front_end.spec.sliced and utterance.duration is not None:
            rest = max(0.0, utterance.duration - self.crop)
            start = utterance.start + place * rest
            return front_end(sound.read(utterance.audio, start, min(self.crop, utterance.duration)))
        whole, frames = features(utterance, self.store), front_end.spec.frames(self.crop)
        start = int(place * (max(0, len(whole) - frames) + 1))
        return whole[start : start + frames]
