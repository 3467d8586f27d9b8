"""What an audit finds, overlaps of parts above all, and how it is said on a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serene.corpora.spelling import speakers_alike, words
from serene.errors import quoted

FAILING = {"speaker": "speakers", "audio": "audio"}  # what no two of training, validation and test may share
EXAMPLES = 5


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


@dataclass(frozen=True)
class Copies:
    """Identical audio within a manifest: what its copies differ in, how many copies, the ids of some."""

    differ_in: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """What was compared and what is shared.

    Attributes:
        parts: part -> number of clips, over all folds.
        folds: names of the folds; one empty name where there is one only.
        overlaps: whatever is shared, what fails the split first.
        copies: identical audio in the manifest itself; looked for only where no split files are given.
        unmatched: part -> names of entries that the manifest does not hold.
        unknown: kind -> number of compared clips of which the manifest does not say it.
        clips: number of compared clips.
        alike: groups of speakers of them who may be one person.
        remarks: what was skipped or guessed in split files.
    """

    parts: dict[str, int]
    folds: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    copies: tuple[Copies, ...]
    unmatched: dict[str, tuple[str, ...]]
    unknown: dict[str, int]
    clips: int
    alike: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no two of training, validation and test share a speaker or identical audio."""
        return not any(overlap.fails for overlap in self.overlaps)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values for `json.dumps`."""
        return {"passed": self.passed} | asdict(self)

    def lines(self) -> list[str]:
        """Say the result in lines for a terminal, what fails the split first."""
        folds = f", {len(self.folds)} folds" if len(self.folds) > 1 else ""
        nothing = "No parts to compare: the manifest has no split column."
        lines = [f"Compared: {words(self.parts)}{folds}." if self.parts else nothing]
        pairs = defaultdict(list)
        for overlap in self.overlaps:
            pairs[overlap.kind, overlap.first, overlap.second].append(overlap)
        lines += [_line(found, len(self.folds)) for found in pairs.values()]
        notes = [f"identical audio, {t.differ_in}: {t.count} ({_some(t.examples, t.count)})" for t in self.copies]
        for part, names in self.unmatched.items():
            notes.append(f"{len(names)} entries of {part} are not in the manifest ({_some(names, len(names))})")
        for kind, count in self.unknown.items():
            instead = "; there only the same file counts as the same" if kind == "audio hash" else ""
            notes.append(f"{kind} not known for {count} of {self.clips} clips{instead}")
        notes += [*speakers_alike(self.alike), *self.remarks]
        if self.parts and "train" not in self.parts:
            notes.append("no part is called train: what training shares with the others was not looked at")
        lines += [f"note  {note}" for note in notes]
        if self.parts:
            among = f" among the {self.clips} clips that were found" if self.unmatched else ""
            shared = " and ".join(FAILING[kind] for kind in FAILING if any(o.kind == kind for o in self.overlaps))
            lines.append(
                f"The split shares {shared} between its parts."
                if shared
                else f"No speaker and no audio is shared between parts{among}."
            )
        return lines


def _line(found: Sequence[Overlap], folds: int) -> str:
    """Say one kind of overlap of one pair of parts, over all its folds."""
    worst = max(found, key=lambda overlap: overlap.count / overlap.total)
    where = f" in {len(found)} of {folds} folds; fold {worst.fold}:" if folds > 1 else ":"
    return (
        f"{'OVERLAP' if worst.fails else 'note'}  {worst.kind}, {worst.first} and {worst.second}{where} "
        f"{worst.count} of {worst.total} in {worst.second} are also in {worst.first} "
        f"({_some(worst.examples, worst.count)})"
    )


def _some(names: Sequence[str], count: int) -> str:
    shown = names[:EXAMPLES]
    return quoted(", ".join(shown)) + (f" and {count - len(shown)} more" if count > len(shown) else "")
