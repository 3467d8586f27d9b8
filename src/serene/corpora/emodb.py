"""EmoDB: German, acted, 10 speakers, 7 emotions, 535 clips (Burkhardt et al. 2005).

Layout: `wav/03a01Fa.wav` = speaker (2 digits), text (a letter and 2 digits), emotion (the initial of its German
name), version (a letter).

Known defects: clips that few listeners recognised were taken out by the authors, so the speakers' emotions are far
from balanced. Copies are in circulation that cut or pad every clip to 2 seconds: figures on those are not figures on
EmoDB.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from serene.corpora.folder import by_name, gather, not_found, sounds
from serene.corpora.manifest import Manifest

HOME = "EmoDB is officially had from http://emodb.bilderbar.info (no registration)."
LICENCE = "free for research, with a citation of Burkhardt et al. 2005"
CITATION = (
    "F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss: A database of German emotional speech. "
    "Interspeech 2005, 1517-1520"
)

NAME = re.compile(r"(?P<speaker>03|08|09|1[0-6])(?P<text_id>[ab]\d{2})(?P<emotion>[WLEAFTN])[a-f]")
EMOTIONS = {
    "W": "anger",  # Wut, Ärger
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
SPEAKERS = {  # as the corpus documents them: gender, age
    **{"03": ("male", 31), "08": ("female", 34), "09": ("female", 21), "10": ("male", 32), "11": ("male", 26)},
    **{"12": ("male", 30), "13": ("female", 32), "14": ("female", 35), "15": ("male", 25), "16": ("female", 31)},
}


def read(folder: Path) -> Manifest:
    """Read the names below a folder; no sound is decoded.

    Raises:
        SereneError: no clip of EmoDB is there; the message says where it is officially had.
    """
    expected = "sound files such as wav/03a01Fa.wav"
    name = "speaker, text, emotion and version, such as 03a01Fa"
    clips = by_name(sounds(folder), NAME, name, _facts, corpus="emodb", language="german")
    return gather(clips, not_found("EmoDB", folder, expected, HOME, LICENCE))


def _facts(_path: Path, name: re.Match[str]) -> dict[str, Any]:
    gender, age = SPEAKERS[name["speaker"]]
    return name.groupdict() | {"emotion": EMOTIONS[name["emotion"]], "gender": gender, "age": age}
