"""RAVDESS: English, acted, 24 speakers, 8 emotions, 1440 spoken clips (Livingstone and Russo 2018).

Layout: `Actor_07/03-01-05-01-02-01-07.wav` = modality, channel, emotion, intensity, statement, repetition, actor.
Only speech (channel 01) in the audio-only form (modality 03) is read; song and the sound of the videos are left out.

Known defects: `Actor_07/03-01-03-01-02-01-07` and `...-02-07` are the same audio. Copies hold files of one actor in
another's folder: such a file is left out. Neutral has no strong intensity, and half as many clips as the others.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from serene.corpora.folder import by_name, gather, not_found, sounds
from serene.corpora.manifest import Manifest

HOME = "RAVDESS is officially had from https://zenodo.org/record/1188976 (Audio_Speech_Actors_01-24.zip)."
LICENCE = "CC BY-NC-SA 4.0"
CITATION = (
    "S. R. Livingstone, F. A. Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
    "PLoS ONE 13(5): e0196391, 2018"
)

NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])-0[12]"
    r"-(?P<actor>0[1-9]|1\d|2[0-4])"
)
EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")  # 01 to 08
INTENSITIES = {"01": "normal", "02": "strong"}
FOLDER = re.compile(r"Actor_(\d{2})")


def read(folder: Path) -> Manifest:
    """Read the names below a folder; no sound is decoded.

    Raises:
        SereneError: no clip of RAVDESS is there; the message says where it is officially had.
    """
    expected = "sound files such as Actor_01/03-01-01-01-01-01-01.wav"
    name = "seven numbers, such as 03-01-05-01-02-01-07"
    clips = by_name(sounds(folder), NAME, name, _facts, corpus="ravdess", language="english")
    return gather(clips, not_found("RAVDESS", folder, expected, HOME, LICENCE))


def _facts(path: Path, name: re.Match[str]) -> dict[str, Any] | str:
    folder = FOLDER.fullmatch(path.parent.name)
    if folder and folder[1] != name["actor"]:
        return f"name and folder disagree: actor {name['actor']} in {path.parent.name}"
    if name["channel"] != "01":
        return "song, not speech (channel 02)"
    if name["modality"] != "03":
        return "not the audio-only recording (modality 01 or 02)"
    return {
        "speaker": name["actor"],
        "emotion": EMOTIONS[int(name["emotion"]) - 1],
        "intensity": INTENSITIES[name["intensity"]],
        "gender": "male" if int(name["actor"]) % 2 else "female",
        "text_id": name["statement"],
    }
