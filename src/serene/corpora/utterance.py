"""Utterance: one clip and all that its corpus says about it; made of a mapping, whose values are checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.spelling import is_missing
from serene.errors import SereneError, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One clip and all that its corpus says about it; what a corpus does not say is None.

    Attributes:
        id: unique in its manifest.
        audio: path of the sound file.
        start: where the clip begins in the file, seconds.
        duration: seconds.
        sample_rate: of the file, hertz.
        audio_hash: identity of the decoded samples (`serene.sound.content_hash`).
        speaker: the person who talks.
        emotion: the corpus's main label, a whole word: any, though `serene.corpora.spelling.EMOTIONS` are usual.
        emotion_perceived: the listeners' majority, for corpora whose `emotion` is what the talker intended.
        votes: label -> number of listeners.
        arousal, valence, dominance: ratings on the corpus's native scale.
        session: the recording session, for corpora that have them.
        split: the corpus's official part (train, validation, test or a test's own name).
        text_id: what is said: clips with the same text share it.
        numbers: further numeric columns.
    """

    id: str
    audio: str
    speaker: str
    emotion: str | None = None
    corpus: str | None = None
    start: float = 0.0
    duration: float | None = None
    sample_rate: int | None = None
    audio_hash: str | None = None
    emotion_perceived: str | None = None
    votes: Mapping[str, float] | None = None
    intensity: str | None = None
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None
    session: str | None = None
    split: str | None = None
    gender: str | None = None
    age: float | None = None
    ethnicity: str | None = None
    language: str | None = None
    text_id: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def person(self) -> str:
        """Who speaks, told apart from those of other corpora who bear the same name: `crema_d/1001`."""
        return f"{self.corpus}/{self.speaker}"

    def number(self, name: str) -> float | None:
        """Return a rating or another numeric column; None where this clip has none of that name."""
        return self.numbers.get(name) if name not in NUMERIC else getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, numeric columns beside the named ones; what is unknown is absent."""
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "numbers"}
        return {key: value for key, value in known.items() if value is not None} | dict(self.numbers)


COLUMNS = tuple(f.name for f in fields(Utterance) if f.name != "numbers")
DECISIVE = (
    *("id", "speaker", "emotion", "audio_hash", "start", "session", "split"),
    *("gender", "ethnicity", "language", "text_id"),
)  # what splits, training and probes may depend on
NAMELESS = f"Leave such rows out; a speaker whom nobody has identified is called {UNKNOWN_SPEAKER}."
NUMERIC = ("start", "duration", "arousal", "valence", "dominance", "age")


def utterance_from(row: Mapping[str, Any], where: str) -> Utterance:
    """Make an utterance of a mapping; unknown numeric columns are kept, unknown texts are refused.

    Raises:
        SereneError: a missing or ill-typed column; the message begins with `where`.
    """
    given = {key: value for key, value in row.items() if not is_missing(value)}
    for column in ("id", "audio", "speaker"):
        if column not in given:
            said = f": it holds '{quoted(row[column])}'. {NAMELESS}" if row.get(column) else "."
            raise SereneError(f"{where}: the column '{column}' is missing{said}")
    known = {column: _value(column, value, where) for column, value in given.items()}
    numbers = {column: known.pop(column) for column in given if column not in COLUMNS}
    if known.get("start", 0.0) < 0 or known.get("duration", 1.0) <= 0:
        raise SereneError(f"{where}: start must not be negative, and duration must be positive.")
    return Utterance(**known, numbers=numbers)


def _value(column: str, value: Any, where: str) -> Any:
    """Read a value as its column has them: as a number, as votes, else as a text."""
    expected = "a number"
    try:
        if column == "votes":
            expected = 'an object of labels and their numbers, such as {"anger": 3} in JSON lines,'
            return {str(label): _finite(count) for label, count in value.items()}
        if column in NUMERIC or column not in COLUMNS:
            return _finite(value)
        if column == "sample_rate":
            return int(_finite(value))
        expected = "a text"
        if isinstance(value, str | int | float):
            # half a character can be neither printed nor written; a file may be called so by another system
            str(value).encode("utf-8", "surrogateescape" if column == "audio" else "strict")
            return str(value).strip()
    except (TypeError, ValueError, AttributeError, OverflowError):
        pass  # said below
    raise SereneError(f"{where}: '{quoted(column)}' is '{quoted(value)}'; {expected} was expected.")


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number
