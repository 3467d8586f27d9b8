"""VoxCeleb1: interviews from YouTube, 1251 speakers, no emotion labels, 153516 clips (Nagrani et al. 2017).

A corpus to learn speakers from: `emotion` stays unknown.

Layout: `dev/wav/id10001/1zcIwhmdeo4/00001.wav` and `test/wav/...`, or all under one `wav` = speaker, video, clip. The
three names together are a clip's id, in whatever container it lies; the video is its `session`. `iden_split.txt`, which
some tools call `veri_test_class.txt`, parts the clips for speaker identification in lines such as
`3 id10003/na8-QEFmj44/00003.wav`: 1 is train (138361 clips), 2 validation (6904), 3 test (8251). Every speaker is in
all three: no test of unseen speakers. The folders `dev` and `test` part the speakers for verification, which is another
matter than `split`. `vox1_meta.csv`, separated by tabs, knows each speaker's gender.

Known defects: copies lack the lists, or hold them elsewhere. A clip that the split file does not list is kept, with no
`split`; where the split file knows its video under other speakers only, the clip was misplaced and is left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from serene.corpora.folder import differences, gather, not_found, rows, sounds, stray
from serene.corpora.manifest import LeftOut, Manifest, Utterance
from serene.errors import SereneError

HOME = "VoxCeleb1 is officially had from https://www.robots.ox.ac.uk/~vgg/data/voxceleb (its audio on request)."
LISTS_HOME = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/"
LICENCE = "CC BY 4.0, the copyright of the videos being their owners'"
CITATION = (
    "A. Nagrani, J. S. Chung, A. Zisserman: VoxCeleb: a large-scale speaker identification dataset. "
    "Interspeech 2017, 2616-2620"
)

NAME = re.compile(r"(?P<speaker>id1[01]\d{3})/(?P<video>[\w-]{11})/\d{5}", re.ASCII)
LINE = re.compile(rf"(?P<part>[123])\s+(?P<clip>{NAME.pattern})\.\w+", re.ASCII)
SPLIT_FILES = ("iden_split.txt", "veri_test_class.txt")
EXAMPLE = "3 id10003/na8-QEFmj44/00003.wav"
SPLITS = {"1": "train", "2": "validation", "3": "test"}
SPEAKERS = "vox1_meta.csv"
ADVICE = f"Fields separated by tabs were expected; the file is had from {LISTS_HOME}{SPEAKERS}."
GENDERS = {"m": "male", "f": "female"}


def read(folder: Path) -> Manifest:
    """Read folders, split file and speaker list; no sound is decoded. A list that is not there is remarked.

    Args:
        folder: the corpus, or its `wav`, `dev`, `test`; the lists may lie there, one folder below, or in the corpus.

    Raises:
        SereneError: no clip of VoxCeleb1 is there, or a list is not what its name says.
    """
    split_file, speaker_file = _list_file(folder, SPLIT_FILES), _list_file(folder, (SPEAKERS,))
    splits = _splits(split_file) if split_file else {}
    found = rows(speaker_file, ("VoxCeleb1 ID", "Gender"), ADVICE, "\t") if speaker_file else ()
    genders = {row["VoxCeleb1 ID"].strip(): GENDERS.get(row["Gender"].strip()) for _, row in found}
    owners = defaultdict(set)  # of each video: whom the split file has it under
    for clip in splits:
        speaker, video, _ = clip.split("/")
        owners[video].add(speaker)
    clips = [_clip(path, splits, owners, genders) for path in sounds(folder)]
    remarks = [_absent(SPLIT_FILES[0], "parts are")]
    if split_file:
        said = f"Not in {split_file.name}, so without a part", f"In {split_file.name}, but not among the files"
        remarks = differences(clips, splits, *said)
    if not speaker_file:
        remarks.append(_absent(SPEAKERS, "genders are"))
    expected = "sound files such as wav/id10001/1zcIwhmdeo4/00001.wav (WAV, FLAC or Ogg, not M4A)"
    return gather(clips, not_found("VoxCeleb1", folder, expected, HOME, LICENCE), remarks)


def _list_file(folder: Path, names: Sequence[str]) -> Path | None:
    places = [folder.absolute()]
    while places[-1].name in ("wav", "dev", "test"):
        places.append(places[-1].parent)
    near = [place / name for name in names for place in places]
    below = [path for name in names for path in sorted(folder.glob(f"*/{name}"))]
    return next((path for path in near + below if path.is_file()), None)


def _splits(path: Path) -> Mapping[str, str]:
    """Give the part of each clip that the split file lists."""
    splits = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        row = LINE.fullmatch(line.strip())
        agrees = row and splits.setdefault(row["clip"], SPLITS[row["part"]]) == SPLITS[row["part"]]
        if line.strip() and not agrees:
            wrong = "contradicts an earlier line" if row else f"is no part and clip, such as '{EXAMPLE}'"
            raise SereneError(
                f"{path}, line {number}: '{line.strip()[:60]}' {wrong}. "
                f"The file is had from {LISTS_HOME}{SPLIT_FILES[0]}."
            )
    return splits


def _clip(
    path: Path, splits: Mapping[str, str], owners: Mapping[str, set[str]], genders: Mapping[str, str | None]
) -> Utterance | LeftOut:
    clip = "/".join(path.absolute().with_suffix("").parts[-3:])
    name = NAME.fullmatch(clip)
    if not name:
        return stray(path, "speaker, video and clip, such as id10001/1zcIwhmdeo4/00001")
    speaker, video = name["speaker"], name["video"]
    if clip not in splits and video in owners and speaker not in owners[video]:
        others = ", ".join(sorted(owners[video]))
        return LeftOut(clip, str(path), f"folder and list disagree: video of {others} by list, of {speaker} by folder")
    return Utterance(
        id=clip,
        audio=str(path),
        corpus="voxceleb1",
        speaker=speaker,
        session=video,
        split=splits.get(clip),
        gender=genders.get(speaker),
    )


def _absent(name: str, what: str) -> str:
    other = f" (nor {SPLIT_FILES[1]}, its other name)" if name == SPLIT_FILES[0] else ""
    return f"{name} is not there{other}: {what} unknown. It is had from {LISTS_HOME}{name}."
