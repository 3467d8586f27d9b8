"""CREMA-D: English, acted, 91 speakers, 6 emotions, 7442 clips with their raters' votes (Cao et al. 2014).

Layout: `AudioWAV/1001_IEO_HAP_LO.wav` = actor, sentence, intended emotion, level; `VideoDemographics.csv`;
`processedResults/tabulatedVotes.csv`, where the first digit of a row's id is what raters were given: 1 the voice
alone, 2 the face, 3 both. Votes and ratings are taken from the voice alone, since a model is given nothing else.

What the actor intended (`emotion`) and what listeners perceived (`emotion_perceived`, their majority, absent in a tie)
are different labels: they agree for 41.6 % of the clips. `expressed_intensity` is the sum over the five emotions
other than neutral of votes times mean response, divided by the number of responses (0 to 100).

Known defects: `1076_MTI_SAD_XX` is silent; `1040_ITH_SAD_XX` is named `1040_ITH_SAD_X` in some copies; three pairs
(`1006_TIE_{HAP,NEU}_XX`, `1013_WSI_{DIS,SAD}_XX`, `1017_IWW_{ANG,FEA}_XX`) are one audio under two labels each. A
clone made without Git LFS holds pointers instead of sound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from serene.corpora.folder import by_name, gather, not_found, root_and_sounds, rows
from serene.corpora.manifest import Manifest

HOME = "CREMA-D is officially had from https://github.com/CheyneyComputerScience/CREMA-D (with Git LFS)."
LICENCE = "Open Database License 1.0, its contents Database Contents License 1.0"
CITATION = (
    "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma: CREMA-D: Crowd-sourced Emotional "
    "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 377-390, 2014"
)

NAME = re.compile(
    r"(?P<actor>1\d{3})_(?P<sentence>IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<level>LO|MD|HI|XX?)"
)
EMOTIONS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
RESPONSES = {  # the mean response of those who voted for an emotion; -1 where nobody did, which no votes cancel
    "A": "meanAngerResp",
    "D": "meanDisgustResp",
    "F": "meanFearResp",
    "H": "meanHappyResp",
    "S": "meanSadResp",
}
ADVICE = "Fetch the corpus's own table again; where it is a Git LFS pointer, run `git lfs pull` in the clone."
VOTES, ACTORS = Path("processedResults", "tabulatedVotes.csv"), Path("VideoDemographics.csv")

Row = Mapping[str, str]


def read(folder: Path) -> Manifest:
    """Read names, votes and demographics; no sound is decoded. Without its csv files only names are read, as remarked.

    Args:
        folder: the corpus, the folder that holds it, or its `AudioWAV`.

    Raises:
        SereneError: no clip of CREMA-D is there, or a csv file is not what its name says.
    """
    root, paths = root_and_sounds(folder, "AudioWAV")
    votes = _keyed(root / VOTES, "fileName", ("", *EMOTIONS))
    actors = _keyed(root / ACTORS, "ActorID", ("Age", "Sex", "Race"))
    remarks = [
        f"{root / path} is not there: {what} unknown."
        for path, table, what in ((VOTES, votes, "votes are"), (ACTORS, actors, "gender, age and ethnicity are"))
        if not table
    ]
    missing = not_found("CREMA-D", folder, "AudioWAV/1001_DFA_ANG_XX.wav and further clips", HOME, LICENCE)
    name = "actor, sentence, emotion and level, such as 1001_IEO_HAP_LO"
    facts = partial(_facts, votes=votes, actors=actors)
    return gather(by_name(paths, NAME, name, facts, corpus="crema_d", language="english"), missing, remarks)


def _keyed(path: Path, key: str, columns: tuple[str, ...]) -> Mapping[str, Row]:
    """Read a table's rows by a column, of the votes those on the voice alone; none where there is no table."""
    found = rows(path, (key, *columns), ADVICE) if path.is_file() else ()
    return {row[key]: row for _, row in found if row.get("", "1")[:1] == "1"}


def _facts(path: Path, name: re.Match[str], votes: Mapping[str, Row], actors: Mapping[str, Row]) -> dict[str, Any]:
    identity = path.stem + "X" if name["level"] == "X" else path.stem  # 1040_ITH_SAD_X, see above
    facts = {
        "id": identity,
        "speaker": name["actor"],
        "emotion": EMOTIONS[name["emotion"][0]],
        "intensity": LEVELS[identity[-2:]],
        "text_id": name["sentence"],
    }
    if actor := actors.get(name["actor"]):
        facts |= {"gender": actor["Sex"].lower(), "age": float(actor["Age"]), "ethnicity": actor["Race"].lower()}
    if row := votes.get(identity):
        counts = {word: int(row[letter]) for letter, word in EMOTIONS.items() if int(row[letter])}
        facts |= {"votes": counts, "emotion_perceived": _majority(counts)}
        facts["numbers"] = {"expressed_intensity": _expressed_intensity(row)}
    return facts


def _majority(counts: Mapping[str, int]) -> str | None:
    first = [word for word, count in counts.items() if count == max(counts.values())]
    return first[0] if len(first) == 1 else None


def _expressed_intensity(row: Row) -> float:
    total = sum(int(row[letter]) * float(row[column]) for letter, column in RESPONSES.items())
    return round(total / int(row["numResponses"]), 4)
