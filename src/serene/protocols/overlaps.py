"""What the parts of a split share: speakers, identical audio, sessions, texts."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.manifest import Utterance

KINDS = ("speaker", "audio", "session", "text")
FAILING = {"speaker": "speakers", "audio": "audio"}  # what no two of training, validation and test may share
EXAMPLES = 5
ORDER = ("train", "validation")  # of parts in a pair; tests and all others come after

Place = tuple[str, str]  # fold and part


class Clip(NamedTuple):
    """What is kept of an utterance; None where the manifest does not say. `hashed`: `audio` is of decoded samples."""

    id: str
    speaker: str | None
    audio: str
    session: str | None
    text: str | None
    hashed: bool

    @classmethod
    def of(cls, u: Utterance) -> Clip:
        """Keep what overlaps are looked for in; without a hash the same stretch of the same file is the same audio."""
        audio = u.audio_hash or f"{u.audio} @{u.start:g}"
        return cls(u.id, u.speaker, audio, u.session, u.text_id, bool(u.audio_hash))


@dataclass(frozen=True)
class Overlap:
    """What two parts of one fold share.

    Attributes:
        kind: `speaker`, `audio` (identical samples, or the same file), `session` or `text`.
        fold: the fold's name; empty where there is one only.
        first: a part that is learnt from, or selected on.
        second: the part that is judged after it.
        count: how many speakers (clips, sessions, texts) are shared.
        total: how many the second part has.
        examples: the first few of them; for audio the ids on both sides.
        fails: whether sharing this fails the split: a speaker or identical audio.
    """

    kind: str
    fold: str
    first: str
    second: str
    count: int
    total: int
    examples: tuple[str, ...]
    fails: bool


class Tally:
    """Which speakers, audio, sessions and texts each part of each fold holds, with one clip's id for each.

    Attributes:
        sizes: (fold, part) -> number of clips.
        unknown: kind -> number of clips of which it is not known.
        clips: number of clips.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.sizes: Counter[Place] = Counter()
        self.unknown: Counter[str] = Counter()
        self.clips = 0
        self._seen: dict[str, defaultdict[str, dict[Place, str]]] = {kind: defaultdict(dict) for kind in KINDS}

    def add(self, clip: Clip, places: Iterable[Place]) -> None:
        """Count a clip in the parts of folds that hold it."""
        places = list(places)
        self.clips += 1
        self.sizes.update(places)
        self.unknown["audio hash"] += not clip.hashed
        for kind in KINDS:
            value = getattr(clip, kind)
            self.unknown[kind] += value is None or (kind == "speaker" and value == UNKNOWN_SPEAKER)
            if value is None:
                continue
            for place in places:
                self._seen[kind][value].setdefault(place, clip.id)

    def add_unmatched(self, name: str, place: Place) -> None:
        """Note a clip that the manifest does not hold: in two parts, the same name is the same audio."""
        self._seen["audio"][f"not in the manifest: {name}"].setdefault(place, name)

    def overlaps(self) -> Iterator[Overlap]:
        """Give what is shared, the kinds that fail the split first."""
        for kind in KINDS:
            shared: defaultdict[tuple[Place, Place], list[str]] = defaultdict(list)
            totals: Counter[Place] = Counter()
            for value, holders in self._seen[kind].items():
                totals.update(holders.keys())
                for a, b in _pairs(holders):
                    shared[a, b].append(f"{holders[a]} = {holders[b]}" if kind == "audio" else value)
            for (a, b), values in sorted(shared.items()):
                examples = tuple(sorted(values)[:EXAMPLES])
                fold = a[0] or b[0]
                yield Overlap(kind, fold, a[1], b[1], len(values), totals[b], examples, kind in FAILING)


def rank(part: str) -> tuple[int, str]:
    """Order parts: train, validation, those of no known name, tests."""
    return (ORDER.index(part) if part in ORDER else 2 + part.startswith("test"), part)


def _pairs(places: Iterable[Place]) -> Iterator[tuple[Place, Place]]:
    """Pair the parts of each fold, the one learnt from first; parts without a fold belong to all, tests never pair."""
    by_fold: defaultdict[str, list[Place]] = defaultdict(list)
    for place in places:
        by_fold[place[0]].append(place)
    for fold, own in by_fold.items():
        anywhere = by_fold.get("", []) if fold else []
        for pair in (*itertools.combinations(own, 2), *itertools.product(own, anywhere)):
            a, b = sorted(pair, key=lambda place: rank(place[1]))
            if a[1] != b[1] and not a[1].startswith("test"):
                yield a, b
