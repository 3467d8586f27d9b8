"""speechocean762: English read by Mandarin speakers, 250 speakers, no emotion labels, 5000 clips (Zhang et al. 2021).

A corpus to learn speakers from: `emotion` stays unknown. 122 speakers are children of 6 to 15 years. The
pronunciation scores, which it was made for, are not read.

Layout: `WAVE/SPEAKER0001/000010011.WAV` = speaker (a zero and 4 digits), recording (4 digits); the lists `utt2spk`,
`spk2gender`, `spk2age` and `text`, in Kaldi's form, once under `train` and once under `test`. Each part has 125
speakers and 2500 clips, and no speaker is in both: speaker identification partitions every speaker's clips anew.

Known defects: ten of speaker 9628's thirty clips (`096280001` to `096280010`) are in no list. They are sound speech of
a known speaker, so they are kept, with no `split`; `only: {split: t*}` gives the corpus as its lists have it.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from serene.corpora.folder import by_name, differences, gather, not_found, root_and_sounds
from serene.corpora.manifest import Manifest
from serene.errors import SereneError

HOME = "speechocean762 is officially had from https://www.openslr.org/101 (no registration)."
LICENCE = "free for commercial and non-commercial use, as its authors state"
CITATION = (
    "J. Zhang, Z. Zhang, Y. Wang, Z. Yan, Q. Song, Y. Huang, K. Li, D. Povey, Y. Wang: speechocean762: An open-source "
    "non-native English speech corpus for pronunciation assessment. Interspeech 2021, 3710-3714"
)

NAME = re.compile(r"0(?P<speaker>\d{4})\d{4}")
FOLDER = re.compile(r"SPEAKER(\d{4})")
PARTS = ("train", "test")
GENDERS = {"m": "male", "f": "female"}
LISTS = {  # file -> what its values look like, and what is unknown without it
    "utt2spk": (r"\d{4}", "parts are"),
    "spk2gender": (r"[mf]", "genders are"),
    "spk2age": (r"\d{1,3}", "ages are"),
    "text": (r".+", "texts are"),
}

Lists = Mapping[str, Mapping[str, str]]


def read(folder: Path) -> Manifest:
    """Read names and lists; no sound is decoded. A list that is not there is remarked, and what it says unknown.

    Args:
        folder: the corpus, the folder that holds it, or its `WAVE`.

    Raises:
        SereneError: no clip of speechocean762 is there, or a list is not what its name says, or both parts list a clip.
    """
    root, paths = root_and_sounds(folder, "WAVE")
    by_part = {name: {part: _list(root / part / name) for part in PARTS} for name in LISTS}
    lists = {name: dict(ChainMap(*parts.values())) for name, parts in by_part.items()}
    if twice := sorted(by_part["utt2spk"]["train"].keys() & by_part["utt2spk"]["test"]):
        raise SereneError(
            f"{root}: train/utt2spk and test/utt2spk both list {len(twice)} clips, such as {twice[0]}. "
            "No clip may be in both parts: fetch the two lists again."
        )
    lists["part"] = {clip: part for part, rows in by_part["utt2spk"].items() for clip in rows}
    name = "speaker and recording, nine digits such as 000010011"
    facts = partial(_facts, lists=lists)
    clips = list(by_name(paths, NAME, name, facts, corpus="speechocean762", language="english"))
    remarks = [
        f"{' and '.join(absent)} {'are' if len(absent) > 1 else 'is'} not there: {LISTS[name][1]} unknown."
        for name, parts in by_part.items()
        if (absent := [f"{part}/{name}" for part in PARTS if not parts[part]])
    ]
    expected = "WAVE/SPEAKER0001/000010011.WAV and further clips, and the lists under train and test"
    missing = not_found("speechocean762", folder, expected, HOME, LICENCE)
    said = "In no list, so without a part", "In a list, but not among the files"
    return gather(clips, missing, remarks + (differences(clips, lists["part"], *said) if lists["part"] else []))


def _list(path: Path) -> dict[str, str]:
    """Read lines of a key, white space and a value; a list that is not there is empty."""
    if not path.is_file():
        return {}
    rows = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        row = re.fullmatch(rf"(\d+)\s+({LISTS[path.name][0]})\s*", line)
        if row:
            rows[row[1]] = row[2]
        elif line.strip():
            raise SereneError(
                f"{path}, line {number}: '{line.strip()[:60]}' was not expected in {path.name}. Fetch the file again."
            )
    return rows


def _facts(path: Path, name: re.Match[str], lists: Lists) -> dict[str, Any] | str:
    clip, speaker = path.stem, name["speaker"]
    folder, listed = FOLDER.fullmatch(path.parent.name), lists["utt2spk"].get(clip, speaker)
    if folder and folder[1] != speaker:
        return f"name and folder disagree: speaker {speaker} in {path.parent.name}"
    if listed != speaker:
        return f"name and list disagree: speaker {speaker} by name, {listed} by list"
    age = lists["spk2age"].get(speaker)
    return {
        "speaker": speaker,
        "split": lists["part"].get(clip),
        "gender": GENDERS.get(lists["spk2gender"].get(speaker, "")),
        "age": float(age) if age else None,
        "text_id": lists["text"].get(clip),
    }
