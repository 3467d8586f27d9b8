"""MSP-Podcast: English, spontaneous, from podcasts; arousal, valence, dominance, 9 emotions (Lotfian and Busso 2019).

Layout: `Audios/MSP-PODCAST_0001_0008.wav` = podcast, clip (and sometimes a part of it). What listeners said lies in
`Labels`, in other files from release to release; of these the newest form that is there is read:

======================  ==============================================================================================
`labels_consensus.csv`  clip, emotion, ratings, speaker, gender, part; `labels_concensus.csv` before release 1.10
`labels_detailed.csv`   beside it, a row per listener: with a column for the emotion (releases 1.6 and 2.0), or with a
                        line as `Labels.txt` has it (1.7 to 1.12)
`Labels.txt`            the oldest releases have nothing else: a line per clip, then a line per listener
`Partitions.txt`        beside it: `Test1; MSP-PODCAST_0001_0008.wav`
`Speaker_ids.txt`       beside it: `Speaker_30; Male`, then `MSP-PODCAST_0001_0008.wav; 30`
======================  ==============================================================================================

`emotion` is the listeners' plurality (unknown where there was none); ratings are their means on a scale from 1 to 7.
Listeners may name an emotion of their own, which is a vote for `other`. `split` is the official part: train,
validation (the corpus calls it Development), test1, test2, test3. `session` is the podcast. Transcripts are not read.

Known defects: nobody has identified some of the speakers. They all bear the name `Unknown`, and may be anybody, a test
speaker too; `only: {speaker: "[0-9]*"}` leaves them out. Test parts share speakers with each other. Test3's labels are
kept back in some releases, so its sounds are left out; release 2.0 lists `MSP-PODCAST_1909_1017` without its sound.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.folder import gather, not_found, rows, sounds
from serene.corpora.manifest import LeftOut, Manifest, Utterance
from serene.corpora.rows import PARTS
from serene.errors import SereneError
from serene.files import regular

HOME = "MSP-Podcast is officially had from https://lab-msp.com/MSP/MSP-Podcast.html (on a signed agreement)."
LICENCE = "the University of Texas at Dallas's own, for academic research"
CITATION = (
    "R. Lotfian, C. Busso: Building naturalistic emotionally balanced speech corpus by retrieving emotional speech "
    "from existing podcast recordings. IEEE Transactions on Affective Computing 10(4), 471-483, 2019"
)

NAME = re.compile(r"MSP-PODCAST_(?P<podcast>\d{4}|test\d)_\d{4}(?:_\d{3,4})?")
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
GENDERS = ("female", "male")
LOWEST, HIGHEST = 1, 7  # of the ratings

CONSENSUS = ("labels_consensus.csv", "labels_concensus.csv")
DETAILED, TEXT = ("labels_detailed.csv",), ("labels.txt",)
PARTITIONS, SPEAKERS = ("partitions.txt", "partition.txt"), ("speaker_ids.txt",)
ADVICE = "Expected the corpus's own table; fetch it again."
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Split_Set")

# name, emotion, arousal, valence, dominance
CLIP = re.compile(r"(MSP-PODCAST[^\s;]+)\s*;\s*(\w)\s*;\s*A:([^;]*);\s*V:([^;]*);\s*D:([^;]*)")
LISTENER = re.compile(r"WORKER\w*\s*;\s*([^;]*?)\s*;")


@dataclass(kw_only=True)
class _Label:
    """What the label files say of one clip; ratings are means from 1 to 7."""

    id: str  # the clip's name, without extension
    emotion: str | None
    arousal: float
    valence: float
    dominance: float
    speaker: str = UNKNOWN_SPEAKER
    gender: str | None = None
    split: str | None = None
    votes: Counter[str] = field(default_factory=Counter)


def read(folder: Path) -> Manifest:
    """Read label files and names; no sound is decoded. A file that is not there is remarked, and what it says unknown.

    Args:
        folder: the release, the folder that holds it, or its `Audios` or `Labels`.

    Raises:
        SereneError: no labels of MSP-Podcast are there, they are of other clips than the sounds, or a line of them is
            not what it should be: a rating outside 1 to 7, an unknown emotion or part (line and clip are named).
    """
    expected = "Audios/MSP-PODCAST_0001_0008.wav and further clips, and Labels/labels_consensus.csv (or Labels.txt)"
    missing = not_found("MSP-Podcast", folder, expected, HOME, LICENCE)
    root = _root(folder)
    source = _labels_file(root)
    if source is None:
        raise missing
    labels, remarks = _read_labels(root)
    audio = next((root / name for name in ("Audios", "Audio") if (root / name).is_dir()), root)
    paths = sounds(audio)
    files = {path.stem: path for path in reversed(paths)}  # of several files of a clip the first
    listed = {label.id for label in labels}
    if files and listed and not listed & files.keys():
        raise SereneError(
            f"The labels are not of these sounds: {source} lists {len(listed)} clips, such as {min(listed)}, and "
            f"{audio} holds {len(files)} others, such as {min(files)}. Take both from one release."
        )
    clips = [_clip(label, files.get(label.id), source) for label in labels]
    unlabelled = f"a sound without a label in {source.name}"
    clips += [LeftOut(path.stem, str(path), unlabelled) for path in paths if path.stem not in listed]
    nameless = sum(isinstance(clip, Utterance) and clip.speaker == UNKNOWN_SPEAKER for clip in clips)
    if nameless:
        remarks.append(f"Of {nameless} clips nobody knows who speaks: their speaker is {UNKNOWN_SPEAKER}.")
    return gather(clips, missing, remarks)


def _root(folder: Path) -> Path:
    if not folder.is_dir():
        return folder
    above = [folder.parent] if folder.name.lower() in ("audios", "audio", "labels", "label") else []
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    return next((place for place in (*above, folder, *inside) if _labels_file(place)), folder)


def _clip(label: _Label, audio: Path | None, source: Path) -> Utterance | LeftOut:
    name = NAME.fullmatch(label.id)
    if name is None:
        return LeftOut(label.id, str(audio or source), f"not a name of the corpus: '{label.id}' in {source.name}")
    if audio is None:
        return LeftOut(label.id, str(source), "labelled, but its sound is not in Audios")
    facts = vars(label) | {"votes": dict(label.votes) or None, "session": name["podcast"]}
    return Utterance(audio=str(audio), corpus="msp_podcast", language="english", **facts)


def _labels_file(root: Path) -> Path | None:
    """Find the file that lists a release's clips; None where there is none."""
    return _file(root, CONSENSUS) or _file(root, TEXT)


def _read_labels(root: Path) -> tuple[list[_Label], list[str]]:
    """Read what a release says of its clips, in its own order, and remark which files are not there."""
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


def _from_tables(consensus: Path, detailed: Path | None) -> tuple[list[_Label], list[str]]:
    labels = []
    for where, row in rows(consensus, COLUMNS, ADVICE):
        label = _label(row["FileName"], row["EmoClass"], (row["EmoAct"], row["EmoVal"], row["EmoDom"]), where)
        label.speaker = _speaker(row["SpkrID"])
        label.gender = _gender(row.get("Gender") or "")
        label.split = _part(row["Split_Set"], label.id, where)
        labels.append(label)
    if detailed is None:
        return labels, ["labels_detailed.csv is not there: votes are unknown."]
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for where, row in rows(detailed, ("FileName",), ADVICE):
        votes[_stem(row["FileName"])].update(_vote(_chosen(row, where)))
    for label in labels:
        label.votes = votes[label.id]
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


def _from_texts(text: Path, partitions: Path | None, speakers: Path | None) -> tuple[list[_Label], list[str]]:
    labels: list[_Label] = []
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
        label.split = parts.get(label.id)
        label.speaker = voices.get(label.id, UNKNOWN_SPEAKER)
        label.gender = genders.get(label.speaker)
    absent = {"Partitions.txt": (partitions, "parts"), "Speaker_ids.txt": (speakers, "speakers and genders")}
    return labels, [f"{name} is not there: {what} are unknown." for name, (path, what) in absent.items() if not path]


def _pairs(path: Path | None) -> Iterator[tuple[str, str]]:
    """Give the two fields of every line; other lines are comments."""
    for line in _lines(path) if path else ():
        fields = [text.strip() for text in line.split(";")]
        if len(fields) > 1:
            yield fields[0], _stem(fields[1])


def _lines(path: Path) -> list[str]:
    return regular(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()


def _label(name: str, code: str, given: tuple[str, str, str], where: str) -> _Label:
    clip = _stem(name)
    if code.strip() not in EMOTIONS:
        raise SereneError(f"{where}: the emotion of {clip} is '{code}'; one of {', '.join(EMOTIONS)} was expected.")
    names = ("arousal", "valence", "dominance")
    arousal, valence, dominance = (_rating(g, n, clip, where) for g, n in zip(given, names, strict=True))
    return _Label(id=clip, emotion=EMOTIONS[code.strip()], arousal=arousal, valence=valence, dominance=dominance)


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
