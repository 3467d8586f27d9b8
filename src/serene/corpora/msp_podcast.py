"""MSP-Podcast: English, spontaneous, from podcasts; arousal, valence, dominance, 9 emotions (Lotfian and Busso 2019).

Layout: `Audios/MSP-PODCAST_0001_0008.wav` = podcast, clip (and sometimes a part of it). What listeners said lies in
`Labels`, in other files from release to release (`serene.corpora.msp_podcast_labels`).

`emotion` is the listeners' plurality (unknown where there was none); ratings are their means on a scale from 1 to 7.
Listeners may name an emotion of their own, which is a vote for `other`. `split` is the official part: train,
validation (the corpus calls it Development), test1, test2, test3. `session` is the podcast. Transcripts are not read.

Known defects: nobody has identified some of the speakers. They all bear the name `Unknown`, and may be anybody, a test
speaker too; `only: {speaker: "[0-9]*"}` leaves them out. Test parts share speakers with each other. Test3's labels are
kept back in some releases, so its sounds are left out; release 2.0 lists `MSP-PODCAST_1909_1017` without its sound.
"""

from __future__ import annotations

import re
from pathlib import Path

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.folder import gather, not_found, sounds
from serene.corpora.manifest import LeftOut, Manifest, Utterance
from serene.corpora.msp_podcast_labels import Label, labels_file, read_labels
from serene.errors import SereneError

HOME = "MSP-Podcast is officially had from https://lab-msp.com/MSP/MSP-Podcast.html (on a signed agreement)."
LICENCE = "the University of Texas at Dallas's own, for academic research"
CITATION = (
    "R. Lotfian, C. Busso: Building naturalistic emotionally balanced speech corpus by retrieving emotional speech "
    "from existing podcast recordings. IEEE Transactions on Affective Computing 10(4), 471-483, 2019"
)

NAME = re.compile(r"MSP-PODCAST_(?P<podcast>\d{4}|test\d)_\d{4}(?:_\d{3,4})?")


def read(folder: Path) -> Manifest:
    """Read label files and names; no sound is decoded. A file that is not there is remarked, and what it says unknown.

    Args:
        folder: the release, the folder that holds it, or its `Audios` or `Labels`.

    Raises:
        SereneError: no labels of MSP-Podcast are there, they are of other clips than the sounds, or a line of them is
            not what it should be: a rating outside 1 to 7, an unknown emotion or part (the message names the clip).
    """
    expected = "Audios/MSP-PODCAST_0001_0008.wav and further clips, and Labels/labels_consensus.csv (or Labels.txt)"
    missing = not_found("MSP-Podcast", folder, expected, HOME, LICENCE)
    root = _root(folder)
    source = labels_file(root)
    if source is None:
        raise missing
    labels, remarks = read_labels(root)
    audio = next((root / name for name in ("Audios", "Audio") if (root / name).is_dir()), root)
    paths = sounds(audio)
    files = {path.stem: path for path in reversed(paths)}  # of several files of a clip the first
    listed = {label.clip for label in labels}
    if files and listed and not listed & files.keys():
        raise SereneError(
            f"The labels are not of these sounds: {source} lists {len(listed)} clips, such as {min(listed)}, and "
            f"{audio} holds {len(files)} others, such as {min(files)}. Take both from one release."
        )
    clips = [_clip(label, files.get(label.clip), source) for label in labels]
    clips += [_unlabelled(path, source) for path in paths if path.stem not in listed]
    nameless = sum(isinstance(clip, Utterance) and clip.speaker == UNKNOWN_SPEAKER for clip in clips)
    if nameless:
        remarks.append(f"Of {nameless} clips nobody knows who speaks: their speaker is {UNKNOWN_SPEAKER}.")
    return gather(clips, missing, remarks)


def _root(folder: Path) -> Path:
    if not folder.is_dir():
        return folder
    above = [folder.parent] if folder.name.lower() in ("audios", "audio", "labels", "label") else []
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    return next((place for place in (*above, folder, *inside) if labels_file(place)), folder)


def _clip(label: Label, audio: Path | None, source: Path) -> Utterance | LeftOut:
    name = NAME.fullmatch(label.clip)
    if name is None:
        return LeftOut(label.clip, str(audio or source), f"not a name of the corpus: '{label.clip}' in {source.name}")
    if audio is None:
        return LeftOut(label.clip, str(source), "labelled, but its sound is not in Audios")
    return Utterance(
        id=label.clip,
        audio=str(audio),
        corpus="msp_podcast",
        speaker=label.speaker,
        emotion=label.emotion,
        votes=dict(label.votes) or None,
        arousal=label.arousal,
        valence=label.valence,
        dominance=label.dominance,
        session=name["podcast"],
        split=label.part,
        gender=label.gender,
        language="english",
    )


def _unlabelled(path: Path, source: Path) -> LeftOut:
    return LeftOut(path.stem, str(path), f"a sound without a label in {source.name}")
