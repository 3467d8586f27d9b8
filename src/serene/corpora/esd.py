"""ESD: Mandarin and English, acted, 20 speakers, 5 emotions, 35000 clips of parallel texts (Zhou et al. 2021).

Layout: `0011/Angry/0011_000351.wav`; some copies part each emotion's folder into `train`, `evaluation` and `test`,
which is kept as `split` (every part holds every speaker: no test of unseen speakers). `0011/0011.txt` lists id, text
and emotion, for the Mandarin speakers with Chinese words, in one of several encodings. Speakers 0001-0010 read
Mandarin, 0011-0020 English; the sentences are numbered by emotion in blocks of 350, in the same order for every
speaker of a language.

Known defects: copies lack the emotion folders or the lists; a clip whose folder and list disagree is left out.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from serene.corpora.folder import by_name, gather, not_found, sounds
from serene.corpora.manifest import Manifest

HOME = "ESD is officially had from https://github.com/HLTSingapore/Emotional-Speech-Data (a link to the archive)."
LICENCE = "for research only, with a citation of Zhou et al. 2021"
CITATION = (
    "K. Zhou, B. Sisman, R. Liu, H. Li: Seen and unseen emotional style transfer for voice conversion with a new "
    "emotional speech dataset. ICASSP 2021, 920-924"
)

NAME = re.compile(r"(?P<speaker>00(?:0[1-9]|1\d|20))_(?P<number>\d{6})")
EMOTIONS = {
    **{"angry": "anger", "happy": "happiness", "neutral": "neutral", "sad": "sadness", "surprise": "surprise"},
    **{"生气": "anger", "快乐": "happiness", "中立": "neutral", "伤心": "sadness", "惊喜": "surprise"},
}
SPLITS = {"train": "train", "evaluation": "validation", "test": "test"}  # folder -> part
# as the corpus's own list has it
FEMALE = ("0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019")
SENTENCES = 350  # per speaker and emotion


def read(folder: Path) -> Manifest:
    """Read names, folders and the speakers' lists; no sound is decoded.

    Raises:
        SereneError: no clip of ESD is there; the message says where it is officially had.
    """
    lists: dict[Path, dict[str, str]] = {}  # each speaker's list is parsed once
    expected = "sound files such as 0011/Angry/0011_000351.wav"
    facts = partial(_facts, root=folder, lists=lists)
    clips = by_name(sounds(folder), NAME, "speaker and number, such as 0011_000351", facts, corpus="esd")
    return gather(clips, not_found("ESD", folder, expected, HOME, LICENCE))


def _facts(path: Path, name: re.Match[str], root: Path, lists: dict[Path, dict[str, str]]) -> dict[str, Any] | str:
    above = path.relative_to(root).parts[:-1]
    speaker = next((folder for folder in above if re.fullmatch(r"\d{4}", folder)), name["speaker"])
    if speaker != name["speaker"]:
        return f"name and folder disagree: speaker {name['speaker']} in the folder {speaker}"
    folder = next((EMOTIONS[word.lower()] for word in above if word.lower() in EMOTIONS), None)
    listed = _listed(path, root, speaker, lists)
    if folder and listed and folder != listed:
        return f"folder and list disagree: {folder} by folder, {listed} by list"
    if not (folder or listed):
        return "no emotion: neither a folder nor the speaker's list names it"
    language = "mandarin" if speaker <= "0010" else "english"
    return {
        "speaker": speaker,
        "emotion": folder or listed,
        "split": next((SPLITS[word] for word in above if word in SPLITS), None),
        "gender": "female" if speaker in FEMALE else "male",
        "language": language,
        "text_id": f"{language}_{(int(name['number']) - 1) % SENTENCES:03d}",
    }


def _listed(path: Path, root: Path, speaker: str, lists: dict[Path, dict[str, str]]) -> str | None:
    """Look a clip up in `<speaker>.txt`, which lies in one of the folders between the root and the clip."""
    folders = [parent for parent in path.parents if parent == root or root in parent.parents]
    file = next((file for file in (parent / f"{speaker}.txt" for parent in folders) if file.is_file()), None)
    if file is None:
        return None
    if file not in lists:
        rows = (line.split("\t") for line in _text(file.read_bytes()).splitlines())
        lists[file] = {row[0].strip(): EMOTIONS.get(row[-1].strip().lower(), "") for row in rows if len(row) > 1}
    return lists[file].get(path.stem) or None


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030", errors="replace")
