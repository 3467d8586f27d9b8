"""IEMOCAP: English, acted and improvised dialogs, 10 speakers in 5 sessions, 10039 turns (Busso et al. 2008).

Layout, per session: `Session1/dialog/EmoEvaluation/Ses01F_impro01.txt` holds for each turn a line with its times,
name, consensus label and mean ratings (valence, activation, dominance, in this order, 1 to 5), then a line per rater;
`Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M002.wav` is the turn's sound.

The speaker is the one who talks: the letter in the last token of the turn's name. The prefix of the dialog says who
wore the motion-capture markers; taken for the speaker it is wrong for 2750 of the 5531 turns of the usual four
classes.

Every turn keeps its own label; joining excitement to happiness and choosing four classes is the recipe's business.
Turns without a majority (`xxx`) stay, with votes and ratings and no `emotion`. `text_id` is the scenario without the
marker prefix, `impro01` or `script01_1`, so that `{"text_id": "impro*"}` selects the improvised turns.

Known defects: the rater lines hold free comments in parentheses, and macOS companions (`._*`) lie beside the label
files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from serene.corpora.folder import gather, not_found, sounds
from serene.corpora.manifest import LeftOut, Manifest, Utterance
from serene.corpora.spelling import WHOLE_WORD
from serene.files import regular

HOME = "IEMOCAP is officially had from https://sail.usc.edu/iemocap/iemocap_release.htm (a signed request form)."
LICENCE = "the University of Southern California's own, for research"
CITATION = (
    "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan: IEMOCAP: "
    "interactive emotional dyadic motion capture database. Language Resources and Evaluation 42, 335-359, 2008"
)

NAME = re.compile(
    r"Ses0(?P<session>[1-5])[FM]_(?P<scenario>(?:impro|script)\d{2}(?:_\d)?[ab]?)_(?P<talker>[FM])[0-9X]{3}"
)
NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
LINE = re.compile(rf"\[.*?\]\s+(?P<name>\S+)\s+(?P<label>\S+)\s+\[{NUMBER},{NUMBER},{NUMBER}\]")
RATER = re.compile(r"C-E\d*:\s*(?P<labels>[^(]*)")
CODES = ("ang", "hap", "exc", "sad", "neu", "fru", "fea", "sur", "dis", "oth")
EMOTIONS = {code: WHOLE_WORD[code] for code in CODES} | {"xxx": None}  # the raters' votes have no majority
RATED = {"neutral state": "neutral", "excited": "excitement"}  # raters' words that are not ours in lower case
GENDERS = {"F": "female", "M": "male"}


@dataclass
class _Turn:
    name: str
    label: str
    ratings: tuple[float, ...]  # valence, activation (= arousal), dominance
    votes: Counter[str] = field(default_factory=Counter)


def read(folder: Path) -> Manifest:
    """Read label files and names; no sound is decoded.

    Args:
        folder: the one that holds `Session1` to `Session5`, or the one above it. With fewer sessions a remark says so.

    Raises:
        SereneError: no labelled turn with its sound is there; the message says where IEMOCAP is officially had.
    """
    sessions = sorted(folder.glob("Session[1-5]")) or sorted(folder.glob("*/Session[1-5]"))
    expected = (
        "Session1 to Session5, each with dialog/EmoEvaluation/Ses01F_impro01.txt and "
        "sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    )
    remarks = [] if len(sessions) == 5 else [f"Only {len(sessions)} of IEMOCAP's 5 sessions are there."]
    clips = (clip for session in sessions for clip in _clips(session))
    return gather(clips, not_found("IEMOCAP", folder, expected, HOME, LICENCE), remarks)


def _clips(session: Path) -> Iterator[Utterance | LeftOut]:
    paths = sounds(session / "sentences" / "wav")
    files = {path.stem: path for path in reversed(paths)}  # of several files of a turn the first
    labelled = set()
    for labels in sorted((session / "dialog" / "EmoEvaluation").glob("[!.]*.txt")):
        for turn in _turns(labels):
            labelled.add(turn.name)
            yield _clip(turn, files.get(turn.name), labels, session)
    for path in paths:
        if path.stem not in labelled:
            yield LeftOut(path.stem, str(path), "a sound without a label in dialog/EmoEvaluation")
        elif path != files[path.stem]:
            yield LeftOut(path.stem, str(path), f"the same clip again: {files[path.stem]} is used")


def _turns(path: Path) -> Iterator[_Turn]:
    """Read one dialog's label file; self-reports (C-F1, C-M1) are no votes, a rater's two labels are two."""
    turn = None
    for line in regular(path).read_text(encoding="latin-1").splitlines():
        if match := LINE.match(line):
            if turn:
                yield turn
            turn = _Turn(match["name"], match["label"], tuple(float(match[i]) for i in (3, 4, 5)))
        elif turn and (match := RATER.match(line)):
            labels = [label.strip().lower() for label in match["labels"].split(";")]
            turn.votes.update(RATED.get(label, label) for label in labels if label)
    if turn:
        yield turn


def _clip(turn: _Turn, audio: Path | None, labels: Path, session: Path) -> Utterance | LeftOut:
    name = NAME.fullmatch(turn.name)
    dialog = turn.name.rpartition("_")[0]
    if not name or turn.label not in EMOTIONS:
        what = f"label '{turn.label}'" if name else f"turn '{turn.name}'"
        return LeftOut(turn.name, str(audio or labels), f"not a name of the corpus: the {what} in {labels.name}")
    if audio is None:
        return LeftOut(turn.name, str(labels), "labelled, but its sound is not in sentences/wav")
    if (dialog, dialog, f"Session{name['session']}") != (labels.stem, audio.parent.name, session.name):
        reason = f"name and folder disagree: labelled in {session.name}, {labels.name}; sound in {audio.parent.name}"
        return LeftOut(turn.name, str(audio), reason)
    valence, arousal, dominance = turn.ratings
    return Utterance(
        id=turn.name,
        audio=str(audio),
        corpus="iemocap",
        speaker=f"Ses0{name['session']}{name['talker']}",
        emotion=EMOTIONS[turn.label],
        votes=dict(turn.votes) or None,
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        session=name["session"],
        gender=GENDERS[name["talker"]],
        language="english",
        text_id=name["scenario"],
    )
