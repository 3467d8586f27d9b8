"""Utterance and Manifest: what a corpus says about its clips; read, write, check, summarise."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.left_out import LeftOut, NothingLeft, beside, portable, read_left_out, write_left_out
from serene.corpora.spelling import is_missing, words
from serene.errors import SereneError, quoted, unknown
from serene.files import regular, whole_file


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
NO_MANIFEST = "A table of your own becomes a manifest first: run `serene prepare table` on it."
NAMELESS = f"Leave such rows out; a speaker whom nobody has identified is called {UNKNOWN_SPEAKER}."
NUMERIC = ("start", "duration", "arousal", "valence", "dominance", "age")


@dataclass(frozen=True)
class Manifest:
    """The utterances of a corpus in a fixed order, and what was left out of it.

    Attributes:
        utterances: in the order of their ids' file.
        left_out: clips that are not among them, each with its reason.
        remarks: what a reader should know (what `--fast` did not check, identical clips that were kept, ...).
    """

    utterances: tuple[Utterance, ...]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count the utterances."""
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        """Iterate over the utterances in order."""
        return iter(self.utterances)

    @property
    def speakers(self) -> tuple[str, ...]:
        """All speakers, sorted."""
        return tuple(sorted({u.speaker for u in self.utterances}))

    @property
    def digest(self) -> str:
        """Identity of what training and protocols use, wherever the files lie: the `DECISIVE` columns of every clip."""
        return self.digest_of(DECISIVE)

    def digest_of(self, columns: Iterable[str]) -> str:
        """Identify some columns of every clip, in any order of the clips."""
        columns = tuple(columns)
        lines = [json.dumps([getattr(u, column) for column in columns]) for u in self.utterances]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]

    def check(self) -> Manifest:
        """Return the manifest itself, or raise SereneError where it is empty, repeats an id or lacks a speaker."""
        if not self.utterances:
            reasons = words(Counter(item.kind for item in self.left_out))
            detail = f" Left out: {reasons}. The first: {self.left_out[0].reason.rstrip('.')}." if reasons else ""
            raise NothingLeft(f"The manifest is empty: no utterance was found or kept.{detail}", self.left_out)
        if repeated := [name for name, count in Counter(u.id for u in self.utterances).items() if count > 1]:
            raise SereneError(
                f"The manifest repeats {len(repeated)} ids, for example '{quoted(repeated[0])}'; ids must be unique."
            )
        if nameless := [u.id for u in self.utterances if is_missing(u.speaker)]:
            raise SereneError(
                f"{len(nameless)} utterances have no speaker, for example '{quoted(nameless[0])}'. "
                "Every utterance needs one: splits are made by speaker."
            )
        return self

    def only(self, filters: Mapping[str, str], *, where: str = "corpus.only") -> Manifest:
        """Keep the utterances whose columns match shell-style patterns, such as `{"text_id": "impro*"}`.

        Raises:
            SereneError: an unknown column, or nothing matches; the message says `where` the patterns were given.
        """
        for column in filters:
            if column not in COLUMNS:
                raise SereneError(unknown("manifest column", column, COLUMNS))
        kept = self.utterances
        for column, pattern in filters.items():
            kept = tuple(u for u in kept if fnmatch.fnmatchcase(str(getattr(u, column)), pattern))
        if not kept:
            told = "".join(f" {remark}" for remark in self.remarks)
            raise SereneError(f"No utterance matches {quoted(dict(filters))}; check the patterns of `{where}`.{told}")
        return replace(self, utterances=kept)

    def summarise(self) -> dict[str, Any]:
        """Count utterances, speakers, emotions, seconds and what was left out."""
        return {
            "utterances": len(self.utterances),
            "speakers": len(self.speakers),
            "hours": round(sum(u.duration or 0 for u in self.utterances) / 3600, 3),
            "emotions": dict(sorted(Counter(u.emotion or "(none)" for u in self.utterances).items())),
            "left_out": dict(sorted(Counter(item.kind for item in self.left_out).items())),
            "remarks": list(self.remarks),
        }

    def write(self, path: str | Path) -> None:
        """Write JSON lines, whole or not at all; what was left out goes beside it as `<name>.left_out.csv`.

        Audio paths below the manifest's folder are written relative to it, others absolute.
        """
        path = Path(path)
        with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for utterance in self.utterances:
                file.write(json.dumps(utterance.to_dict() | {"audio": portable(utterance.audio, path.parent)}) + "\n")
        write_left_out(self.left_out, beside(path))

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read JSON lines that `write` made; relative audio paths are taken from the manifest's folder.

        Raises:
            SereneError: no such file, a line that is not an utterance (named by its number), or an empty file.
        """
        path = Path(path)
        return cls(tuple(utterances_of(path)), read_left_out(beside(path))).check()


def utterances_of(path: Path) -> Iterator[Utterance]:
    """Read a manifest's utterances one by one; relative audio paths are taken from its folder.

    Raises:
        SereneError: no such file, or a line that is not an utterance (named by its number).
    """
    try:
        with regular(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse(line, f"{path}, line {number}", path.parent)
    except UnicodeDecodeError as error:
        raise SereneError(f"{path} is not UTF-8, as manifests are ({error}). {NO_MANIFEST}") from error
    except OSError as error:
        raise SereneError(f"Cannot read the manifest {path}: {error}") from error


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


def _parse(line: str, where: str, folder: Path) -> Utterance:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SereneError(f"{where}: not a JSON object ({error}). {NO_MANIFEST}") from error
    if not isinstance(row, dict):
        raise SereneError(f"{where}: a JSON object was expected. {NO_MANIFEST}")
    utterance = utterance_from(row, where)
    return replace(utterance, audio=str(folder / utterance.audio))


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
            str(value).encode(
                "utf-8", "surrogateescape"
            )  # half a character of UTF-16 can be neither printed nor written
            return str(value).strip()
    except (TypeError, ValueError, AttributeError, OverflowError):
        pass  # said below
    raise SereneError(f"{where}: '{quoted(column)}' is '{quoted(value)}'; {expected} was expected.")


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number
