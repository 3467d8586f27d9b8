"""Where the batches of an update come from, and its random numbers: functions of seed, epoch and step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serene.audio.batch import Batch
from serene.audio.dataset import Dataset
from serene.audio.speaker_stream import SpeakerStream
from serene.errors import SereneError
from serene.methods.method import Stream

TAGS: dict[Stream, int] = {"emotion": 0, "speakers": 1, "partners": 2}  # of each stream's own random numbers


class Streams:
    """Where the batches of a update come from; what is drawn is a function of seed, epoch and step."""

    def __init__(self, train: Dataset, speakers: SpeakerStream | None, seed: int) -> None:
        """Note where they come from."""
        self.train, self.speakers, self.seed = train, speakers, seed

    def draw(self, streams: Sequence[Stream], indices: np.ndarray, at: tuple[int, ...]) -> list[Batch]:
        """Give a batch of each stream: the emotion corpus's is of these clips."""
        return [self._one(stream, indices, np.random.default_rng([self.seed, *at, TAGS[stream]])) for stream in streams]

    def _one(self, stream: Stream, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        if stream == "emotion":
            return self.train.batch(indices, rng)
        if stream == "partners":
            return self.train.batch(rng.integers(len(self.train), size=len(indices)), rng)
        if self.speakers is None:
            raise SereneError("This method learns from a speaker corpus, and was given none.")
        return self.speakers.batch(rng)


def seed_of(*numbers: int) -> int:
    """Mix numbers into one seed, so that every step of every run draws from a generator of its own."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
