"""Timelines of recordings whose emotions are known: how much of the time is right, and how far borders are off.

    python benchmarks/timeline.py crema_d.jsonl ravdess.jsonl emodb.jsonl [--speakers 1007 ...] [-o timeline.json]

Each speaker's clips, two to six of one emotion after another, are joined to one recording: with all emotions that the
bundled model knows, with two or with one of them that are drawn for the speaker. Each is answered as it is, and adapted
to itself (`--adapt recording`). Given is the share of the time that has the right label, with an interval over speakers
(percentile bootstrap), and of the borders between emotions how many a border of the timeline comes within half a second
of, how many of the timeline's are such, and the median distance of those that are paired (nearest first, 3 s at most).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serene import sound
from serene.corpora.manifest import Manifest, Utterance
from serene.files import write_text
from serene.inference.recognizer import Recognizer
from serene.inference.segments import Segment
from serene.inference.timeline import timeline
from serene.sound import SAMPLE_RATE

EMOTIONS = {"all emotions": None, "two of each speaker": 2, "one of each speaker": 1}
TOGETHER = (2, 6)  # clips of one emotion after another, at least and at most
NEAR, FAR = 0.5, 3.0  # seconds: a border that is found, and one that is not paired at all
DRAWS = 1000


@dataclass(frozen=True)
class Recording:
    """Samples (sample,) at 16 kHz, and what is said in them: segments with labels."""

    samples: np.ndarray
    truth: tuple[Segment, ...]


def recording(clips: Sequence[Utterance], draw: np.random.Generator) -> Recording:
    """Join clips, some of one emotion after another; emotions that follow each other differ where that is possible."""
    runs = list[list[Utterance]]()
    for emotion in sorted({str(clip.emotion) for clip in clips}):
        own = [clip for clip in clips if clip.emotion == emotion]
        own = [own[place] for place in draw.permutation(len(own))]
        while own:
            count = int(draw.integers(TOGETHER[0], TOGETHER[1] + 1))
            runs.append(own[:count])
            own = own[count:]
    runs = [runs[place] for place in draw.permutation(len(runs))]
    samples, truth, last = list[np.ndarray](), list[Segment](), None
    while runs:
        run = runs.pop(next((place for place, own in enumerate(runs) if own[0].emotion != last), 0))
        begin, last = sum(map(len, samples)), run[0].emotion
        samples += [sound.read(clip.audio, clip.start, clip.duration) for clip in run]
        start, end = begin / SAMPLE_RATE, sum(map(len, samples)) / SAMPLE_RATE
        if truth and truth[-1].label == last:
            start = truth.pop().start
        truth.append(Segment(start, end, last))
    return Recording(np.concatenate(samples), tuple(truth))


def right(found: Sequence[Segment], truth: Sequence[Segment]) -> tuple[float, float]:
    """Give the seconds that have the right label, and all."""
    shared = (
        max(0.0, min(own.end, true.end) - max(own.start, true.start))
        for own in found
        for true in truth
        if own.label == true.label
    )
    return sum(shared), truth[-1].end


def paired(found: Sequence[Segment], truth: Sequence[Segment]) -> list[float]:
    """Give the distances, in seconds, of borders and the timeline's that are paired, the nearest first."""
    ours, theirs = ([own.start for own in several[1:]] for several in (found, truth))
    apart = sorted((abs(own - true), i, j) for i, own in enumerate(ours) for j, true in enumerate(theirs))
    used, distances = set[tuple[str, int]](), list[float]()
    for distance, i, j in apart:
        if distance <= FAR and not used & {("ours", i), ("theirs", j)}:
            used |= {("ours", i), ("theirs", j)}
            distances.append(distance)
    return distances


def measured(recordings: Sequence[Recording], recognizer: Recognizer, adapt: bool) -> dict[str, object]:
    """Answer for some recordings, one of each speaker."""
    shares, distances, ours, theirs = list[tuple[float, float]](), list[float](), 0, 0
    for own in recordings:
        found = timeline(own.samples, recognizer, SAMPLE_RATE, adapt=adapt).emotion.segments
        shares.append(right(found, own.truth))
        distances += paired(found, own.truth)
        ours, theirs = ours + len(found) - 1, theirs + len(own.truth) - 1
    near, seconds = sum(distance <= NEAR for distance in distances), np.array(shares)
    drawn = np.random.default_rng(0).integers(len(shares), size=(DRAWS, len(shares)))
    sums = seconds[drawn].sum(axis=1)
    total = seconds.sum(axis=0)
    return {
        "time_right": total[0] / total[1],
        "interval": np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975]).tolist(),
        "speakers": len(shares),
        "minutes": total[1] / 60,
        "borders": theirs,
        "borders_given": ours,
        "borders_found": near / theirs if theirs else None,
        "borders_given_right": near / ours if ours else None,
        "median_distance": float(np.median(distances)) if distances else None,
    }


def study(manifest: Path, speakers: Sequence[str], recognizer: Recognizer) -> dict[str, dict[str, object]]:
    """Measure all of `EMOTIONS`, adapted and not."""
    known = [own for own in Manifest.read(manifest) if own.emotion in recognizer.labels]
    found: dict[str, dict[str, object]] = {}
    for kind, count in EMOTIONS.items():
        recordings = []
        for speaker in sorted({own.speaker for own in known if not speakers or own.speaker in speakers}):
            draw = np.random.default_rng([len(kind), *speaker.encode()])
            clips = [own for own in known if own.speaker == speaker]
            shown = draw.permutation(sorted({str(own.emotion) for own in clips}))[:count]
            recordings.append(recording([own for own in clips if own.emotion in shown], draw))
        found[kind] = {name: measured(recordings, recognizer, name == "adapted") for name in ("as it is", "adapted")}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--speakers", nargs="*", default=[], help="of the first manifest alone; all without it")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    recognizer = Recognizer.load()
    result = {}
    for place, manifest in enumerate(options.manifests):
        result[manifest.stem] = study(manifest, options.speakers if place == 0 else [], recognizer)
        print(json.dumps({manifest.stem: result[manifest.stem]}, indent=1), flush=True)
    if options.output:
        write_text(options.output, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
