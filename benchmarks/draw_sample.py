"""Draws the sample of CREMA-D that comes with the package: 288 clips of 24 speakers, six emotions.

    python benchmarks/draw_sample.py CREMA_D.jsonl -o src/serene/sample

Speakers are drawn by a hash of their ids, as many women as men, half of them to be tested and half to be trained on.
Each says every emotion twice, with four sentences that all share, so that a speaker probe can be split by text.
Files are copied as they are: from an Opus copy of the corpus, some 8 kB a clip.
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.sample import AUDIO, TABLE
from serene.protocols.split import shuffled

SEED, WHAT = 0, "sample"  # of the hash
PER_PART = {"test": 6, "train": 6}  # speakers of each gender
TEXTS = ("DFA", "ITS", "TIE", "WSI")
EACH = 2  # clips of every emotion of a speaker


def drawn(manifest: Manifest) -> Iterator[Utterance]:
    """Give the clips, with the part of their speaker as `split`."""
    own: dict[str, list[Utterance]] = defaultdict(list)
    for clip in manifest:
        if clip.text_id in TEXTS:
            own[clip.speaker].append(clip)
    for gender in ("female", "male"):
        people = shuffled([name for name, clips in own.items() if clips[0].gender == gender], SEED, WHAT)
        for part, count in PER_PART.items():
            for turn, speaker in enumerate(sorted(people[:count])):
                yield from (replace(clip, split=part) for clip in _of_speaker(own[speaker], turn))
            people = people[count:]


def _of_speaker(clips: list[Utterance], turn: int) -> Iterator[Utterance]:
    """Take every sentence three times, in other emotions from speaker to speaker: no sentence tells an emotion."""
    emotions = sorted({str(clip.emotion) for clip in clips})
    for place, emotion in enumerate(emotions):
        for number in range(EACH):
            text = TEXTS[(EACH * place + place // 2 + number + turn) % len(TEXTS)]
            yield next(clip for clip in clips if (clip.emotion, clip.text_id) == (emotion, text))


def main() -> None:
    """Copy the clips and write their table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifest", type=Path, help="of CREMA-D, by `serene prepare crema_d`")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    (options.output / AUDIO).mkdir(parents=True, exist_ok=True)
    clips = []
    for clip in sorted(drawn(Manifest.read(options.manifest)), key=lambda clip: clip.id):
        path = options.output / AUDIO / f"{clip.id}{Path(clip.audio).suffix}"
        shutil.copyfile(clip.audio, path)
        path.chmod(0o644)
        clips.append(replace(clip, audio=str(path)))
    Manifest(tuple(clips)).check().write(options.output / TABLE)
    print(f"{len(clips)} clips, {sum(p.stat().st_size for p in (options.output / AUDIO).iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
