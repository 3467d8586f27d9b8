"""Audit of anybody's splits: speakers, sessions, texts and identical audio that two parts share.

A split fails if test, validation and training share a speaker or the same audio: what is measured is then partly
memory. Shared sessions and texts are reported and fail nothing: acted corpora repeat their sentences for every
speaker, and two talkers of one session may stand on both sides by intention.

The manifest is read once, line by line; memory grows with the clips that the splits name, not with the manifest (only
where no splits are given, and so every clip is compared, does a line of each stay in memory).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.manifest import Utterance, utterances_of
from serene.corpora.rows import part_of
from serene.corpora.spelling import alike
from serene.errors import SereneError, quoted
from serene.protocols.audit_result import EXAMPLES, FAILING, Audit, Copies, Overlap
from serene.protocols.split_files import Entry, find, read_split_files

KINDS = ("speaker", "audio", "session", "text")
ORDER = ("train", "validation")  # of parts in a pair; tests and all others come after

Place = tuple[str, str]  # fold and part


class _Clip(NamedTuple):
    """What is kept of an utterance; None where the manifest does not say. `hashed`: `audio` is of decoded samples."""

    id: str
    speaker: str
    audio: str
    session: str | None
    text: str | None
    hashed: bool

    @classmethod
    def of(cls, u: Utterance) -> _Clip:
        audio = u.audio_hash or f"{u.audio} @{u.start:g}"  # the same stretch of the same file is the same audio
        return cls(u.id, u.speaker, audio, u.session, u.text_id, bool(u.audio_hash))


class _Tally:
    """Which speakers, audio, sessions and texts each part of each fold holds, with one clip's id for each."""

    def __init__(self) -> None:
        self.sizes: Counter[Place] = Counter()  # of clips
        self.unknown: Counter[str] = Counter()  # kind -> number of clips of which it is not known
        self.clips, self.speakers = 0, set[str]()
        self._seen: dict[str, defaultdict[str, dict[Place, str]]] = {kind: defaultdict(dict) for kind in KINDS}

    def add(self, clip: _Clip, places: Collection[Place]) -> None:
        self.clips += 1
        self.speakers.add(clip.speaker)
        self.sizes.update(places)
        self.unknown["audio hash"] += not clip.hashed
        for kind in KINDS:
            value = getattr(clip, kind)
            self.unknown[kind] += value is None or (kind == "speaker" and value == UNKNOWN_SPEAKER)
            if value is not None:
                for place in places:
                    self._seen[kind][value].setdefault(place, clip.id)

    def add_unmatched(self, name: str, place: Place) -> None:
        # in two parts, the same name is the same audio
        self._seen["audio"][f"not in the manifest: {name}"].setdefault(place, name)

    def overlaps(self) -> Iterator[Overlap]:
        for kind in KINDS:
            shared: defaultdict[tuple[Place, Place], list[str]] = defaultdict(list)
            totals: Counter[Place] = Counter()
            for value, holders in self._seen[kind].items():
                totals.update(holders.keys())
                for a, b in _pairs(holders):
                    shared[a, b].append(f"{holders[a]} = {holders[b]}" if kind == "audio" else value)
            for (a, b), values in sorted(shared.items()):
                examples = tuple(sorted(values)[:EXAMPLES])
                yield Overlap(kind, a[0] or b[0], a[1], b[1], len(values), totals[b], examples, kind in FAILING)


def _rank(part: str) -> tuple[int, str]:
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
            a, b = sorted(pair, key=lambda place: _rank(place[1]))
            if a[1] != b[1] and not a[1].startswith("test"):
                yield a, b


def audit(manifest: str | Path, splits: Sequence[str | Path] = (), encoding: str | None = None) -> Audit:
    """Look for what the parts of a split share.

    Args:
        manifest: JSON lines as `serene prepare` writes them, of any size.
        splits: files, folders of them or patterns (`serene.protocols.split_files` lists the kinds). Without them the
            manifest's own column `split` is audited, and the manifest itself for identical audio.
        encoding: of the split files' text, such as `latin-1`; UTF-8, or what a byte-order mark says, without it.

    Raises:
        SereneError: a file cannot be read, there are fewer than two parts, or a part has no clip in the manifest.
    """
    tally, copies = _Tally(), _CopySearch()
    unmatched, remarks = dict[str, tuple[str, ...]](), list[str]()
    if splits:
        entries, remarks = read_split_files(splits, encoding)
        unmatched = _match(entries, utterances_of(Path(manifest)), tally)
    else:
        for utterance in utterances_of(Path(manifest)):
            clip = _Clip.of(utterance)
            copies.add(clip, utterance.emotion)
            tally.add(clip, [("", part_of(utterance.split) or utterance.split)] if utterance.split else [])
        if not tally.clips:
            raise SereneError(f"The manifest {manifest} is empty.")
    parts: Counter[str] = Counter()
    for (_, part), size in tally.sizes.items():
        parts[part] += size
    return Audit(
        parts={part: parts[part] for part in sorted(parts, key=_rank)},
        folds=tuple(sorted({fold for fold, _ in tally.sizes if fold})) or ("",),
        overlaps=tuple(tally.overlaps()),
        copies=copies.found(),
        unmatched=unmatched,
        unknown={kind: count for kind, count in sorted(tally.unknown.items()) if count},
        clips=tally.clips,
        alike=alike(tally.speakers),
        remarks=tuple(remarks),
    )


class _CopySearch:
    """Identical audio within one manifest, by what its copies disagree about."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str | None, str | None]] = {}
        self._found: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, clip: _Clip, emotion: str | None) -> None:
        first, speaker, label = self._first.setdefault(clip.audio, (clip.id, clip.speaker, emotion))
        if first != clip.id:
            ways = ("two speakers", speaker != clip.speaker), ("two labels", label != emotion), ("two names only", True)
            self._found[next(what for what, differs in ways if differs)].append(f"{first} = {clip.id}")

    def found(self) -> tuple[Copies, ...]:
        return tuple(Copies(what, len(pairs), tuple(pairs[:EXAMPLES])) for what, pairs in sorted(self._found.items()))


def _match(entries: Sequence[Entry], utterances: Iterable[Utterance], tally: _Tally) -> dict[str, tuple[str, ...]]:
    """Count the clips of every entry in its part; return the names of entries that have none."""
    found = find(entries, ((u.id, u.audio, _Clip.of(u)) for u in utterances))
    places_of: defaultdict[_Clip, set[Place]] = defaultdict(set)
    for entry, clips in found.items():
        for clip in clips:
            places_of[clip].add((entry.fold, entry.part))
    for clip, places in places_of.items():
        tally.add(clip, places)
    return _unmatched([entry for entry in entries if entry not in found], tally)


def _unmatched(missing: Sequence[Entry], tally: _Tally) -> dict[str, tuple[str, ...]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for entry in missing:
        place = (entry.fold, entry.part)
        if place not in tally.sizes:
            part = quoted(entry.part) + (f" of fold {entry.fold}" if entry.fold else "")
            raise SereneError(
                f"No clip of the part {part} is in the manifest, for example '{quoted(entry.name)}'. "
                "Entries are found by the manifest's ids, or by their file's name."
            )
        names[entry.part].append(entry.name)
        tally.add_unmatched(entry.path, place)
    return {part: tuple(sorted(set(names[part]))) for part in sorted(names)}
