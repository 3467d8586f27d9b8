"""Audit of anybody's splits: speakers, sessions, texts and identical audio that two parts share.

A split fails if test, validation and training share a speaker or the same audio: what is measured is then partly
memory. Shared sessions and texts are reported and fail nothing: acted corpora repeat their sentences for every
speaker, and two talkers of one session may stand on both sides by intention.

The manifest is read line by line, twice where splits are given; memory grows with the clips that these name, not with
the manifest (only where no splits are given, and so every clip is compared, does each take some 200 bytes).
"""

from __future__ import annotations

import itertools
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.manifest import Utterance, utterances_of
from serene.corpora.rows import part_of
from serene.corpora.spelling import alike
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, quoted
from serene.protocols.audit_result import EXAMPLES, FAILING, Audit, Copies, Overlap
from serene.protocols.split_files import Entry, find, read_split_files

KINDS = {"speaker": "speaker", "audio": "audio_hash", "session": "session", "text": "text_id"}  # -> column
ORDER = ("train", "validation")  # of parts in a pair; tests and all others come after

Place = tuple[str, str]  # fold and part


class _Tally:
    """The clips that are compared, and which parts of which folds each of them stands in."""

    def __init__(self) -> None:
        self.sizes: Counter[Place] = Counter()  # of clips
        self.unknown: Counter[str] = Counter()  # kind -> number of clips of which it is not known
        self.clips = Utterances.of(())  # with an identity of their audio in the place of its hash
        self._codes: dict[Place, int] = {}
        self._rows, self._places = array("I"), array("H")  # a clip in a part

    def add(self, found: Iterable[tuple[Utterance, Collection[Place]]]) -> None:
        """Take clips with the parts that they stand in."""
        self.clips = Utterances.of(itertools.starmap(self._counted, enumerate(found)))

    def add_unmatched(self, entries: Iterable[Entry]) -> None:
        """Take entries that the manifest does not hold: in two parts, the same name is the same audio."""
        counted, found = len(self.clips), list[Utterance]()
        for entry in entries:
            found.append(
                Utterance(id=entry.path, audio="", speaker="", audio_hash=f"not in the manifest: {entry.path}")
            )
            self._put(counted + len(found) - 1, (entry.fold, entry.part))
        self.clips = Utterances.joined((self.clips, found))

    def _counted(self, row: int, found: tuple[Utterance, Collection[Place]]) -> Utterance:
        clip, places = found
        self.sizes.update(places)
        for place in places:
            self._put(row, place)
        self.unknown["audio hash"] += not clip.audio_hash
        for kind, column in KINDS.items():
            value = clip.audio if kind == "audio" else getattr(clip, column)
            self.unknown[kind] += value is None or (kind == "speaker" and value == UNKNOWN_SPEAKER)
        # the same stretch of the same file is the same audio
        return clip if clip.audio_hash else replace(clip, audio_hash=f"{clip.audio} @{clip.start:g}")

    def _put(self, row: int, place: Place) -> None:
        self._rows.append(row)
        self._places.append(self._codes.setdefault(place, len(self._codes)))

    def overlaps(self) -> Iterator[Overlap]:
        for kind in KINDS:
            shared: defaultdict[tuple[Place, Place], _Examples] = defaultdict(_Examples)
            totals: Counter[Place] = Counter()
            for holders in self._holders(KINDS[kind], totals):
                for a, b in _pairs(holders):
                    clips = [self.clips[holders[place]] for place in (a, b)]
                    shared[a, b].add(" = ".join(c.id for c in clips) if kind == "audio" else _of(clips[0], kind))
            for (a, b), found in sorted(shared.items()):
                examples = found.smallest()
                yield Overlap(kind, a[0] or b[0], a[1], b[1], found.count, totals[b], examples, kind in FAILING)

    def _holders(self, column: str, totals: Counter[Place]) -> Iterator[dict[Place, int]]:
        """Give the parts that hold a value, each with its first clip, for each value of several parts; count values."""
        rows, codes, names = (
            np.frombuffer(self._rows, np.uint32),
            np.frombuffer(self._places, np.uint16),
            [*self._codes],
        )
        is_known = np.fromiter(map(bool, self.clips.values(column)), bool, len(self.clips))[rows]
        rows, codes = rows[is_known], codes[is_known]
        keys = self.clips.keys(column)[rows]
        order = np.lexsort((rows, codes, keys))
        rows, codes, keys = rows[order], codes[order], keys[order]
        first = np.flatnonzero((np.diff(keys, prepend=~keys[:1]) != 0) | (np.diff(codes.astype(int), prepend=-1) != 0))
        rows, codes, keys = rows[first], codes[first], keys[first]
        totals.update({names[code]: count for code, count in enumerate(np.bincount(codes).tolist()) if count})
        bounds = np.flatnonzero(np.diff(keys, prepend=~keys[:1], append=~keys[-1:]))
        for n in np.flatnonzero(np.diff(bounds) > 1):
            own = slice(bounds[n], bounds[n + 1])
            yield {names[code]: row for code, row in zip(codes[own].tolist(), rows[own].tolist(), strict=True)}


def _of(clip: Utterance, kind: str) -> str:
    return getattr(clip, KINDS[kind])


class _Examples:
    """A count of texts, and the few of them that come first."""

    def __init__(self) -> None:
        self.count, self._some = 0, list[str]()

    def add(self, text: str) -> None:
        self.count += 1
        self._some.append(text)
        if len(self._some) > 100:
            self._some = sorted(self._some)[:EXAMPLES]

    def smallest(self) -> tuple[str, ...]:
        return tuple(sorted(self._some)[:EXAMPLES])


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
    tally, path = _Tally(), Path(manifest)
    unmatched, remarks, copies = dict[str, tuple[str, ...]](), list[str](), tuple[Copies, ...]()
    if splits:
        entries, remarks = read_split_files(splits, encoding)
        unmatched = _match(entries, path, tally)
    else:
        tally.add((u, [("", part_of(u.split) or u.split)] if u.split else []) for u in utterances_of(path))
        copies = _copies(tally.clips)
        if not tally.clips:
            raise SereneError(f"The manifest {manifest} is empty.")
    counted = tally.clips.where("speaker", bool)
    parts: Counter[str] = Counter()
    for (_, part), size in tally.sizes.items():
        parts[part] += size
    return Audit(
        parts={part: parts[part] for part in sorted(parts, key=_rank)},
        folds=tuple(sorted({fold for fold, _ in tally.sizes if fold})) or ("",),
        overlaps=tuple(tally.overlaps()),
        copies=copies,
        unmatched=unmatched,
        unknown={kind: count for kind, count in sorted(tally.unknown.items()) if count},
        clips=len(counted),
        alike=alike(counted.counts("speaker")),
        remarks=tuple(remarks),
    )


def _copies(clips: Utterances) -> tuple[Copies, ...]:
    """Find identical audio within one manifest, by what its copies disagree about."""
    pairs: defaultdict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for places in clips.repeated("audio_hash"):
        first, *others = clips.take(places)
        for other in others:
            differ = {"two speakers": first.speaker != other.speaker, "two labels": first.emotion != other.emotion}
            what = next((what for what, differs in differ.items() if differs), "two names only")
            counts[what] += 1
            if counts[what] <= EXAMPLES:
                pairs[what].append(f"{first.id} = {other.id}")
    return tuple(Copies(what, counts[what], tuple(pairs[what])) for what in sorted(counts))


def _match(entries: Sequence[Entry], path: Path, tally: _Tally) -> dict[str, tuple[str, ...]]:
    """Count the clips of every entry in its part; return the names of entries that have none."""
    found = find(entries, ((u.id, u.audio, row) for row, u in enumerate(utterances_of(path))))
    places: defaultdict[int, set[Place]] = defaultdict(set)
    for entry, rows in found.items():
        for row in rows:
            places[row].add((entry.fold, entry.part))
    tally.add((u, places[row]) for row, u in enumerate(utterances_of(path)) if row in places)
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
    tally.add_unmatched(missing)
    return {part: tuple(sorted(set(names[part]))) for part in sorted(names)}
