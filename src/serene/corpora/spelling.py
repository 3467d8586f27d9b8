"""How a corpus writes what it says: missing values, emotions' spellings, odd labels, and speakers who may be one."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from serene.errors import quoted

MISSING = frozenset(("nan", "nat", "n/a", "na", "#n/a", "<na>", "null", "none"))  # as tables write what is not there

EMOTIONS = (
    *("anger", "happiness", "sadness", "neutral", "fear", "disgust", "surprise"),
    *("contempt", "boredom", "calm", "excitement", "frustration", "other"),
)
WHOLE_WORD = {
    **{"ang": "anger", "angry": "anger", "hap": "happiness", "happy": "happiness", "sad": "sadness", "neu": "neutral"},
    **{"fea": "fear", "fearful": "fear", "dis": "disgust", "disgusted": "disgust", "sur": "surprise"},
    **{"surprised": "surprise", "con": "contempt", "bor": "boredom", "bored": "boredom", "exc": "excitement"},
    **{"excited": "excitement", "fru": "frustration", "frustrated": "frustration", "oth": "other"},
    **{"disgusting": "disgust", "frightened": "fear", "calmness": "calm", "neutrality": "neutral"},
    **dict.fromkeys(("ps", "pleasant_surprise", "pleasant_surprised"), "pleasant_surprise"),
}
ALIKE = 0.85  # of difflib's ratio, from which on a label may be another one, misspelt


def is_missing(value: Any) -> bool:
    """Tell whether a value stands for one that is not there: None, NaN, blank, or a word such as nan or N/A."""
    if not isinstance(value, str):
        return value is None or value != value
    return not value.strip() or value.strip().lower() in MISSING


def plain(name: str) -> str:
    """Write a column's or an emotion's name in lower case, with `_` for blanks and hyphens within it."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def whole_words(rows: Iterable[dict[str, Any]], remarks: list[str]) -> Iterator[dict[str, Any]]:
    """Give rows on, with emotion names as whole words in lower case; after the last, remark those that were not."""
    joined: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for row in rows:
        for column in ("emotion", "emotion_perceived"):
            value = row.get(column)
            given = value.strip() if isinstance(value, str) else ""
            if given and is_missing(given):
                missing[given] += 1
                row[column] = None
            elif given:
                name = given.lower()
                row[column] = WHOLE_WORD.get(plain(given), name)
                joined.update([f"{name} -> {row[column]}"] if row[column] != name else [])
        yield row
    found = (("Emotion names made whole words", joined), ("Read as no emotion", missing))
    remarks += [f"{what}: {words(counts)}." for what, counts in found if counts]


def words(counts: Mapping[str, int] | Iterable[tuple[str, int]]) -> str:
    """Join counts for a message: `anger 127, sadness 62`."""
    return quoted(", ".join(f"{name} {count}" for name, count in dict(counts).items()))


def odd_labels(counts: Mapping[str, int]) -> list[str]:
    """Remark the labels that nobody may have meant: numbers, several in one, and such as are almost another one."""
    odd = []
    for label, count in sorted(counts.items()):
        others = {*EMOTIONS, *(name for name, more in counts.items() if more > count)}
        near = [] if label in EMOTIONS else difflib.get_close_matches(label, sorted(others), 1, ALIKE)
        if near or not re.search(r"[^\W\d_]", label) or re.search(r"[;,/|+&]", label):
            odd.append(" ".join([f"'{label}' {count}", *(f"({name}?)" for name in near)]))
    return [f"Odd labels, kept as they are: {quoted(', '.join(odd))}."] if odd else []


def alike(speakers: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Group the ids that differ in case, blanks, leading zeros or `.0` only: they may be one person.

    >>> alike(["S1", "s 1", "S01", "S2"])
    (('S01', 'S1', 's 1'),)
    """
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for speaker in speakers:
        plain = re.sub(r"\.0+$", "", re.sub(r"\s", "", speaker.casefold()))
        groups[re.sub(r"(?<![\d.])0+(?=\d)", "", plain)].add(speaker)
    return tuple(tuple(sorted(group)) for _, group in sorted(groups.items()) if len(group) > 1)


def speakers_alike(groups: Sequence[Sequence[str]]) -> list[str]:
    """Remark speakers who may be one, of whom `alike` gives the groups."""
    shown = "; ".join(" and ".join(f"'{name}'" for name in group) for group in groups[:5])
    more = f"; and {len(groups) - 5} more" if len(groups) > 5 else ""
    what = "Speakers that may be one, since only case, blanks, leading zeros or .0 tell them apart"
    return [f"{what}: {quoted(shown)}{more}."] if groups else []
