"""SpeakerContext: what a model may be told of who speaks, as plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from serene.errors import SereneError

Need = Literal["identity", "features", "embeddings", "cepstra"]  # fields of a SpeakerContext that a model may ask for
SMALLEST = 1e-5  # of a deviation, so that what is constant divides safely


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and deviation of vectors; of several speakers side by side where it is carried by a Batch.

    Attributes:
        moments: float32 (2, feature), mean and population deviation (at least `SMALLEST`); or (batch, 2, feature).
        count: how many vectors they were taken over; or (batch,).
    """

    moments: Any
    count: Any

    @classmethod
    def of(cls, read: Callable[[], Iterable[np.ndarray]]) -> Self:
        """Take them over all rows of some arrays (row, feature), which are read twice and need not be held at once."""
        count, total = 0, np.zeros(0)
        for rows in read():
            count, total = count + len(rows), rows.sum(axis=0, dtype=np.float64) + (total if count else 0.0)
        mean = total / count
        variance = sum(((rows - mean) ** 2).sum(axis=0) for rows in read()) / count
        return cls(np.stack([mean, np.maximum(np.sqrt(variance), SMALLEST)]).astype(np.float32), count)

    def joined(self, other: Statistics) -> Statistics:
        """Give those over the vectors of both, in float32."""
        count = self.count + other.count
        (mean, deviation), (their_mean, their_deviation) = (
            np.asarray(own.moments, dtype=np.float64) for own in (self, other)
        )
        share = other.count / count
        apart = share * (1 - share) * np.square(their_mean - mean)
        variance = (1 - share) * np.square(deviation) + share * np.square(their_deviation) + apart
        moments = np.stack([mean + share * (their_mean - mean), np.maximum(np.sqrt(variance), SMALLEST)])
        return Statistics(moments.astype(np.float32), count)

    def shrunk(self, above: Statistics, prior: float) -> Statistics:
        """Blend in so many vectors' worth (`prior`) of the level above, whose count the result has."""
        share = self.count / (self.count + prior)
        (mean, deviation), (above_mean, above_deviation) = self.moments, above.moments
        mean = share * mean + (1 - share) * above_mean
        variance = share * np.square(deviation) + (1 - share) * np.square(above_deviation)
        return Statistics(np.stack([mean, np.sqrt(variance)]), above.count)

    def counting(self, share: float) -> Statistics:
        """Give the same, taken over so much less: a share of the count, rounded."""
        return Statistics(self.moments, round(share * self.count))

    @classmethod
    def of_nothing(cls, width: int) -> Self:
        """Give mean 0 and deviation 1, taken over nothing: of a speaker of whom nothing is known."""
        return cls(np.stack([np.zeros(width, np.float32), np.ones(width, np.float32)]), 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class SpeakerContext:
    """What is known of a speaker; or of each clip's speaker, side by side, where a Batch carries it.

    Statistics and cepstra come from some of the speaker's clips, whose labels are not looked at.

    Attributes:
        identity: place among the persons whom a model knows by name, -1 for anybody else; or (batch,).
        features: over the frames of the speaker's clips.
        embeddings: over the embeddings of the speaker's clips, a count of clips.
        cepstra: float32 (coefficient,), mean over the clips of their mean cepstra; or (batch, coefficient).
    """

    identity: Any = -1
    features: Statistics | None = None
    embeddings: Statistics | None = None
    cepstra: Any = None

    @classmethod
    def stack(cls, contexts: Sequence[SpeakerContext]) -> SpeakerContext:
        """Put what is known of several speakers side by side, all of whom are known in the same respects."""

        def together(name: str) -> Statistics | None:
            own = [getattr(context, name) for context in contexts]
            if own[0] is None:
                return None
            counts = np.array([one.count for one in own], dtype=np.int64)
            return Statistics(np.stack([one.moments for one in own]), counts)

        return cls(
            identity=np.array([context.identity for context in contexts], dtype=np.int64),
            features=together("features"),
            embeddings=together("embeddings"),
            cepstra=None if contexts[0].cepstra is None else np.stack([context.cepstra for context in contexts]),
        )

    def mapped(self, change: Callable[[Any], Any]) -> SpeakerContext:
        """Change every array, such as to a tensor or to some of its rows."""

        def changed(own: Statistics | None) -> Statistics | None:
            return None if own is None else Statistics(change(own.moments), change(own.count))

        return SpeakerContext(
            identity=change(self.identity),
            features=changed(self.features),
            embeddings=changed(self.embeddings),
            cepstra=None if self.cepstra is None else change(self.cepstra),
        )

    def counting(self, share: float) -> SpeakerContext:
        """Give the same, its statistics taken over so much less."""
        own = {"features": self.features, "embeddings": self.embeddings}
        return replace(self, **{name: held and held.counting(share) for name, held in own.items()})

    def need(self, name: Need) -> Any:
        """Give one of the fields; a SereneError says where a model asks for what is not known."""
        value = getattr(self, name)
        if value is None:
            raise SereneError(f"This model needs some of the speaker's clips, for their {name}; no label is needed.")
        return value
