"""The label files of MSP-Podcast's releases: what they say of each clip, its speaker and its part.

The newest form that is there is read:

======================  ==============================================================================================
`labels_consensus.csv`  clip, emotion, ratings, speaker, gender, part; `labels_concensus.csv` before release 1.10
`labels_detailed.csv`   beside it, a row per listener: with a column for the emotion (releases 1.6 and 2.0), or with a
                        line as `Labels.txt` has it (1.7 to 1.12)
`Labels.txt`            the oldest releases have nothing else: a line per clip, then a line per listener
`Partitions.txt`        beside it: `Test1; MSP-PODCAST_0001_0008.wav`
`Speaker_ids.txt`       beside it: `Speaker_30; Male`, then `MSP-PODCAST_0001_0008.wav; 30`
======================  ==============================================================================================
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serene.corpora import UNKNOWN_SPEAKER
from serene.errors import SereneError

EMOTIONS = {
    "A": "anger",
    "S": "sadness",
    "H": "happiness",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
    "X": None,  # the listeners' votes have no plurality
}
WORDS = {"angry": "anger", "sad": "sadness", "happy": "happiness"} | {
    word: word for word in ("surprise", "fear", "disgust", "contempt", "neutral")
}
PARTS = {"train": "train", "development": "validation", "validation": "validation"}  # and Test, Test1, Test2, ...
GENDERS = ("female", "male")
LOWEST, HIGHEST = 1, 7  # of the ratings

CONSENSUS = ("labels_consensus.csv", "labels_concensus.csv")
DETAILED, TEXT = ("labels_detailed.csv",), ("labels.txt",)
PARTITIONS, SPEAKERS = ("partitions.txt", "partition.txt"), ("speaker_ids.txt",)
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Split_Set")

CLIP = re.compile(
    r"(MSP-PODCAST[^\s;]+)\s*;\s*(\w)\s*;\s*A:([^;]*);\s*V:([^;]*);\s*D:([^;]*)"
)  # name, emotion, arousal, valence, dominance
LISTENER = re.compile(r"WORKER\w*\s*;\s*([^;]*?)\s*;")


@dataclass(kw_only=True)
class Label:
    """What the label files say of one clip.

    Attributes:
        clip: its name, without extension.
        emotion: the listeners' plurality; None where there is none.
        arousal, valence, dominance: their mean ratings, from 1 to 7.
        speaker: `UNKNOWN_SPEAKER` where nobody has identified them.
        gender: the speaker's.
        part: train, validation, test1, ...
        votes: emotion -> number of listeners; none where the files do not tell.
    """

    clip: str
    emotion: str | None
    arousal: float
    valence: float
    dominance: float
    speaker: str = UNKNOWN_SPEAKER
    gender: str | None = None
    part: str | None = None
    votes: Counter[str] = field(default_factory=Counter)


def labels_file(root: Path) -> Path | None:
    """Find the file that lists a release's clips; None where there is none."""
    return _file(root, CONSENSUS) or _file(root, TEXT)


def read_labels(root: Path) -> tuple[list[Label], list[str]]:
    """Read what a release says of its clips, in its own order, and remark which files are not there.

    Raises:
        SereneError: a table lacks a column or is cut short, or a line is not what it should be; the message names the
            line, and the clip where a rating is not between 1 and 7 or an emotion or part is none of the corpus's.
    """
    consensus = _file(root, CONSENSUS)
    if consensus:
        return _from_tables(consensus, _file(root, DETAILED))
    text = _file(root, TEXT)
    return _from_texts(text, _file(root, PARTITIONS), _file(root, SPEAKERS)) if text else ([], [])


def _file(root: Path, names: Sequence[str]) -> Path | None:
    """Find a file of one of these names, in any case, in the folder or its `Labels`; an earlier name comes first."""
    if not root.is_dir():
        return None
    places = [path for path in sorted(root.iterdir()) if path.name.lower() in ("labels", "label") and path.is_dir()]
    found = {path.name.lower(): path for place in (*places, root) for path in place.iterdir()}
    return next((found[name] for name in names if name in found), None)


def _from_tables(consensus: Path, detailed: Path | None) -> tuple[list[Label], list[str]]:
    labels = []
    for where, row in _rows(consensus, COLUMNS):
        label = _label(row["FileName"], row["EmoClass"], (row["EmoAct"], row["EmoVal"], row["EmoDom"]), where)
        label.speaker = _speaker(row["SpkrID"])
        label.gender = _gender(row.get("Gender") or "")
        label.part = _part(row["Split_Set"], label.clip, where)
        labels.append(label)
    if detailed is None:
        return labels, ["labels_detailed.csv is not there: votes are unknown."]
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for where, row in _rows(detailed, ("FileName",)):
        votes[_stem(row["FileName"])].update(_vote(_chosen(row, where)))
    for label in labels:
        label.votes = votes[label.clip]
    return labels, []


def _chosen(row: Mapping[str, str], where: str) -> str:
    """Give the emotion that one listener chose."""
    line = LISTENER.match(row.get("EmoDetail") or "")
    if line is None and "EmoClass_Major" not in row:
        raise SereneError(
            f"{where}: no listener's emotion is there; a column EmoClass_Major was expected, or EmoDetail with lines "
            "such as 'WORKER00000018; Neutral; Neutral; A:1.0; V:4.0; D:2.0;'. Fetch the file again."
        )
    return line[1] if line else row["EmoClass_Major"]


def _from_texts(text: Path, partitions: Path | None, speakers: Path | None) -> tuple[list[Label], list[str]]:
    labels: list[Label] = []
    for number, line in enumerate(_lines(text), 1):
        where = f"{text}, line {number}"
        if clip := CLIP.match(line):
            labels.append(_label(clip[1], clip[2], (clip[3], clip[4], clip[5]), where))
        elif line.startswith("MSP-PODCAST"):
            raise SereneError(
                f"{where}: '{line[:60]}' is no clip with its labels, such as 'MSP-PODCAST_0001_0008.wav; N; A:2.2; "
                "V:4.0; D:2.6;'. Fetch the file again."
            )
        elif labels and (listener := LISTENER.match(line)):
            labels[-1].votes.update(_vote(listener[1]))
    parts = {clip: _part(part, clip, str(partitions)) for part, clip in _pairs(partitions)}
    listed = list(_pairs(speakers))
    genders = {_speaker(name): _gender(gender) for name, gender in listed if name.startswith("Speaker")}
    voices = {_stem(clip): _speaker(name) for clip, name in listed if not clip.startswith("Speaker")}
    for label in labels:
        label.part = parts.get(label.clip)
        label.speaker = voices.get(label.clip, UNKNOWN_SPEAKER)
        label.gender = genders.get(label.speaker)
    absent = {"Partitions.txt": (partitions, "parts"), "Speaker_ids.txt": (speakers, "speakers and genders")}
    return labels, [f"{name} is not there: {what} are unknown." for name, (path, what) in absent.items() if not path]


def _pairs(path: Path | None) -> Iterator[tuple[str, str]]:
    """Give the two fields of every line; other lines are comments."""
    for line in _lines(path) if path else ():
        fields = [text.strip() for text in line.split(";")]
        if len(fields) > 1:
            yield fields[0], _stem(fields[1])


def _rows(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give a table's rows, each with its place for messages."""
    name = str(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.DictReader(file)
        absent = [column for column in columns if column not in (table.fieldnames or ())]
        if absent:
            raise SereneError(f"{path} has no column '{absent[0]}'. Expected the corpus's own table; fetch it again.")
        for row in table:
            where = f"{name}, line {table.line_num}"
            if None in row.values():
                raise SereneError(f"{where}: the row has fewer fields than the header. Fetch the file again.")
            yield where, row


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def _label(name: str, code: str, given: tuple[str, str, str], where: str) -> Label:
    clip = _stem(name)
    if code.strip() not in EMOTIONS:
        raise SereneError(f"{where}: the emotion of {clip} is '{code}'; one of {', '.join(EMOTIONS)} was expected.")
    names = ("arousal", "valence", "dominance")
    arousal, valence, dominance = (_rating(g, n, clip, where) for g, n in zip(given, names, strict=True))
    return Label(clip=clip, emotion=EMOTIONS[code.strip()], arousal=arousal, valence=valence, dominance=dominance)


def _rating(given: str, name: str, clip: str, where: str) -> float:
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not LOWEST <= value <= HIGHEST:
        raise SereneError(
            f"{where}: the {name} of {clip} is '{given.strip()}'; a mean rating from {LOWEST} to {HIGHEST} was "
            "expected. Fetch the file again."
        )
    return value


def _part(given: str, clip: str, where: str) -> str:
    name = given.strip().lower()
    if name not in PARTS and not re.fullmatch(r"test\d*", name):
        raise SereneError(
            f"{where}: the part of {clip} is '{given}'; Train, Development, Validation or Test1, ... was expected."
        )
    return PARTS.get(name, name)


def _stem(name: str) -> str:
    return name.strip().removesuffix(".wav")


def _speaker(given: str) -> str:
    name = given.strip().removeprefix("Speaker_")
    return UNKNOWN_SPEAKER if name.lower() in ("", "unknown") else name


def _gender(given: str) -> str | None:
    return given.strip().lower() if given.strip().lower() in GENDERS else None


def _vote(emotion: str) -> list[str]:
    """Give one vote, for `other` where the word is none of the eight; none where there is no word."""
    return [WORDS.get(emotion.strip().lower(), "other")] if emotion.strip() else []
